"""The chart tenancy on a real API server and scheduler: what tenants may not do, and placeholders that make way."""

from collections.abc import Callable
from typing import Any

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from drydock.project import Project
from drydock.rehearsal.cluster import RehearsalCluster
from drydock.rehearsal.release import Release
from drydock.suite.environments import load_environment
from tests.rehearsal.small import RESTRICTED

MODEL = "genai-vllm-llama-3-8b"
HEADROOM = "genai-tenancy-headroom-spare"
VALUES = (
    "tenancy.enabled=true",
    "tenancy.tenants.search.quota.pods=5",
    "tenancy.headroom.spare.accelerator.kind=nvidia",
    "tenancy.headroom.spare.accelerator.pool=gpu",
    # What dev's model takes: room on another GPU would not be room for it.
    "tenancy.headroom.spare.accelerator.gpuNames={a10g}",
    "vllm.modelDefaults.any.scheduling.priorityClassName=genai-serving",
)


class NotYetError(AssertionError):
    """What is waited for has not come."""


until = retry(retry=retry_if_exception_type(NotYetError), stop=stop_after_delay(600), wait=wait_fixed(1), reraise=True)


def _refusal(spec: dict[str, Any] | None = None, **container: Any) -> str:
    """Why a tenant's pod is refused; empty when it is not."""
    one = {
        "name": "main",
        "image": "example.com/job:1",
        "securityContext": RESTRICTED,
        **container,
    }
    body = {"metadata": {"generateName": "job-"}, "spec": {"containers": [one], **(spec or {})}}
    try:
        client.CoreV1Api().create_namespaced_pod("search", body, dry_run="All")
    except ApiException as error:
        return str(error.body)
    return ""


def _running(application: str) -> dict[str, str]:
    """Nodes of the ready pods of a Deployment, by the pod's name."""
    found = {}
    for pod in client.CoreV1Api().list_namespaced_pod("genai").items:
        ready = any(each.type == "Ready" and each.status == "True" for each in pod.status.conditions or ())
        if pod.metadata.name.startswith(application) and ready and not pod.metadata.deletion_timestamp:
            found[pod.metadata.name] = pod.spec.node_name
    return found


@until
def _await(condition: Callable[[], bool], told: str) -> None:
    if not condition():
        raise NotYetError(told)


@until
def _await_quota() -> None:
    """The quota controller has counted."""
    quotas = client.CoreV1Api().list_namespaced_resource_quota("search").items
    if len(quotas) != 2 or not all(each.status.hard for each in quotas):
        raise NotYetError(str(quotas))


def test_tenants_stay_within_their_bounds_and_placeholders_make_way_for_models(
    rehearsal_release: Release, rehearsal_cluster: RehearsalCluster, drydock_project: Project
) -> None:
    dev = load_environment(drydock_project, "dev")
    rehearsal_release.seed(dev.stacked((), VALUES))
    rehearsal_release.install()
    config.load_kube_config(config_file=str(rehearsal_cluster.kubeconfig))

    _await_quota()
    assert _refusal() == ""
    assert 'violates PodSecurity \\"restricted' in _refusal(securityContext={"privileged": True})
    gpu = {"limits": {"nvidia.com/gpu": "1"}}
    assert "exceeded quota: tenant, requested: requests.nvidia.com/gpu=1" in _refusal(resources=gpu)
    for name in ("genai-serving", "system-cluster-critical"):
        assert "exceeded quota: tenant-denied-priorities" in _refusal({"priorityClassName": name})
    assert _refusal({"priorityClassName": "genai-batch"}) == ""

    _await(lambda: len(_running(HEADROOM)) == len(_running(MODEL)) == 1, "one model, and room for another")
    (warm,) = _running(HEADROOM).values()
    rehearsal_release.seed(dev.stacked((), (*VALUES, "vllm.models.llama-3-8b.replicas=2")))
    rehearsal_release.upgrade()
    # The pool's limits leave no third node: the second pod can only have the placeholder's.
    _await(lambda: len(_running(MODEL)) == 2, "a second pod of the model")
    assert warm in _running(MODEL).values()
    assert not _running(HEADROOM)
