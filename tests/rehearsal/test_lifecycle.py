"""Install, upgrade, rollback and uninstall on the rehearsal cluster, under Helm 3 and Helm 4, without leftovers."""

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from drydock.clusters.api import Api
from drydock.project import Project
from drydock.rehearsal.cluster import RehearsalCluster
from drydock.rehearsal.release import Release
from drydock.suite.charts import AssembledCharts
from drydock.suite.environments import load_environment
from drydock.suite.render import RELEASE

SECRET_LIMIT = 1 << 20
"""Bytes that a Secret may hold (Kubernetes: MaxSecretSize)."""
MORE_MODELS = (
    "vllm.models.second.source.huggingFace.id=Qwen/Qwen3-0.6B",
    "vllm.models.second.source.size=2Gi",
    "vllm.models.second.accelerator.gpuNames={l4}",
)
Objects = dict[tuple[str, str, str], Any]


def released(api: Api) -> Objects:
    """Everything in the cluster that belongs to the release, by (kind, namespace, name)."""
    found: Objects = {}
    for root in _group_versions(api):
        for resource in api.get(root)["resources"]:
            if "list" not in resource["verbs"] or "/" in resource["name"] or resource["kind"] == "Event":
                continue
            for item in api.get(f"{root}/{resource['name']}")["items"]:
                metadata = item["metadata"]
                if metadata.get("annotations", {}).get("meta.helm.sh/release-name") == RELEASE:
                    found[resource["kind"], metadata.get("namespace", ""), metadata["name"]] = item
    return found


def _group_versions(api: Api) -> Iterator[str]:
    yield "/api/v1"
    yield from (f"/apis/{group['preferredVersion']['groupVersion']}" for group in api.get("/apis")["groups"])


def specs(objects: Objects) -> dict[tuple[str, str, str], Any]:
    """What Helm set of each object, without what controllers write."""
    return {key: {part: each.get(part) for part in ("spec", "data")} for key, each in objects.items()}


@pytest.mark.parametrize("helm", ["helm3", "helm4"])
def test_a_release_is_upgraded_rolled_back_and_removed_without_a_trace(
    helm: str,
    rehearsal_cluster: RehearsalCluster,
    drydock_project: Project,
    drydock_charts: AssembledCharts,
    drydock_tool: Callable[[str], Path],
) -> None:
    release = Release(rehearsal_cluster, drydock_tool(helm), drydock_charts)
    small = load_environment(drydock_project, "dev")
    release.seed(small)
    release.install()
    api = rehearsal_cluster.await_api()
    config.load_kube_config(config_file=str(rehearsal_cluster.kubeconfig))
    assert release.wait().ready
    installed = released(api)
    assert {"Deployment", "DaemonSet", "NodePool", "EC2NodeClass", "Service"} <= {kind for kind, _, _ in installed}
    assert _secret_size() < SECRET_LIMIT

    release.seed(small.stacked((), MORE_MODELS))
    release.upgrade()
    assert release.wait().ready
    upgraded = released(api)
    added = {key for key in upgraded if key not in installed}
    assert ("Deployment", "genai", "genai-vllm-second") in added

    release.rollback()
    assert release.wait().ready
    _await(lambda: specs(released(api)), specs(installed))

    release.uninstall()
    for path in ("/apis/karpenter.sh/v1/nodepools", "/api/v1/nodes", "/apis/karpenter.k8s.aws/v1/ec2nodeclasses"):
        _await_none(api, path)
    _await(lambda: released(api), {})


def _secret_size() -> int:
    """Bytes of the newest revision's Secret."""
    secrets = client.CoreV1Api().list_namespaced_secret("genai", label_selector="owner=helm").items
    newest = max(secrets, key=lambda each: int(each.metadata.labels["version"]))
    return len(base64.b64decode(newest.data["release"]))


@retry(retry=retry_if_exception_type(AssertionError), stop=stop_after_delay(240), wait=wait_fixed(1), reraise=True)
def _await(look: Callable[[], Objects], wanted: Objects) -> None:
    """Until nothing else is there: what Deployments and Jobs made is collected a while after them."""
    assert look() == wanted


def _await_none(api: Api, path: str, seconds: int = 480) -> None:
    """Watch a collection until it is empty: finalizers let go of Karpenter's objects one after the other."""
    left, told = set(), False
    for event, item in api.watch(path, seconds=seconds):
        if event == "BOOKMARK":
            told = True
        elif event == "DELETED":
            left.discard(item["metadata"]["name"])
        else:
            left.add(item["metadata"]["name"])
        if told and not left:
            return
    raise AssertionError(f"after {seconds} s there are still {left} in {path}")
