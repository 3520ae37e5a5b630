"""KubeRay's real operator, run in place of its pod with its ServiceAccount's rights, makes a RayCluster ready."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from drydock.clusters.api import Api, collection
from drydock.project import Project
from drydock.rehearsal.cluster import RehearsalCluster
from drydock.rehearsal.kubelet.service_names import REACHABLE
from drydock.rehearsal.rehearse import suite_cluster, suite_crds
from drydock.rehearsal.release import Release
from drydock.rehearsal.runs import new_run_folder
from tests.rehearsal.small import (
    GPU,
    Content,
    Pods,
    device_plugin,
    node_class,
    node_pool,
    small_release,
    workload,
    write_chart,
)

OPERATOR = "operator"
NAMESPACE = "ray"
PODS = collection("v1", "pods", NAMESPACE)
CLUSTER = f"{collection('ray.io/v1', 'rayclusters', NAMESPACE)}/research"
CHEAP = {"karpenter.k8s.aws/instance-category": ["c"], "kubernetes.io/arch": ["amd64"]}
EVERYTHING = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
RIGHTS = {
    "": ("events", "pods", "pods/status", "secrets", "serviceaccounts", "services"),
    "batch": ("jobs",),
    "coordination.k8s.io": ("leases",),
    "networking.k8s.io": ("ingresses", "ingressclasses", "networkpolicies"),
    "ray.io": tuple(
        f"{kind}{part}" for kind in ("rayclusters", "rayjobs", "rayservices") for part in ("", "/status", "/finalizers")
    ),
    "rbac.authorization.k8s.io": ("rolebindings", "roles"),
}


class NotYetError(AssertionError):
    """What is waited for has not come."""


until = retry(
    retry=retry_if_exception_type(NotYetError), stop=stop_after_delay(240), wait=wait_fixed(0.2), reraise=True
)


def operator(pod_verbs: Sequence[str]) -> list[Content]:
    """Its Deployment, and a Role that allows these verbs for pods."""
    rules = [{"apiGroups": [group], "resources": list(names), "verbs": EVERYTHING} for group, names in RIGHTS.items()]
    rules[0]["resources"] = [name for name in RIGHTS[""] if name != "pods"]
    rules.append({"apiGroups": [""], "resources": ["pods"], "verbs": list(pod_verbs)})
    rbac = "rbac.authorization.k8s.io"
    deployment = workload("Deployment", OPERATOR, Pods(pool="cpu", image="quay.io/kuberay/operator:v1.6.2"))
    pod = deployment["spec"]["template"]["spec"]
    pod["serviceAccountName"] = OPERATOR
    pod["containers"][0] |= {
        "command": ["/manager"],
        "args": ["--watch-namespace=ray", "--enable-leader-election=true"],
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/metrics", "port": "http"}, "failureThreshold": 5},
    }
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": OPERATOR}},
        {"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": {"name": OPERATOR}, "rules": rules},
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": OPERATOR},
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": OPERATOR},
            "subjects": [{"kind": "ServiceAccount", "name": OPERATOR, "namespace": NAMESPACE}],
        },
        deployment,
    ]


def ray_cluster(workers: int) -> Content:
    """Its head has no GPU, its workers have one each."""
    image = "rayproject/ray:2.52.0"
    head = Pods({"cpu": "1", "memory": "2Gi"}, pool="cpu", image=image)
    worker = Pods({"cpu": "1", "memory": "4Gi", GPU: "1"}, pool="gpu", tolerate=[GPU], image=image)
    group = {"groupName": "gpu", "replicas": workers, "minReplicas": 0, "maxReplicas": 4, "rayStartParams": {}}
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "metadata": {"name": "research"},
        "spec": {
            "rayVersion": "2.52.0",
            "headGroupSpec": {"rayStartParams": {"num-cpus": "0"}, "template": {"spec": head.spec()}},
            "workerGroupSpecs": [{**group, "template": {"spec": worker.spec()}}],
        },
    }


def objects(workers: int, pod_verbs: Sequence[str] = EVERYTHING) -> list[Content]:
    return [
        node_class("plain"),
        node_pool("cpu", "plain", CHEAP),
        node_pool("gpu", "plain", {"karpenter.k8s.aws/instance-family": ["g6"]}, taints=[GPU]),
        device_plugin("plugin", "gpu"),
        *operator(pod_verbs),
        ray_cluster(workers),
    ]


@pytest.fixture(scope="module")
def cluster(rehearsal_tools: dict[str, Path], drydock_project: Project) -> Iterator[RehearsalCluster]:
    """With Ray's CRDs, which the suite's own chart brings."""
    crds = [*suite_crds(drydock_project), *(drydock_project.charts_dir / "crds/charts/kuberay/crds").iterdir()]
    with suite_cluster(drydock_project, rehearsal_tools, new_run_folder(drydock_project, "test"), crds=crds) as started:
        yield started


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("charts") / NAMESPACE


@pytest.fixture(scope="module")
def release(cluster: RehearsalCluster, rehearsal_tools: dict[str, Path], folder: Path) -> Release:
    made = small_release(cluster, rehearsal_tools["helm4"], folder, objects(workers=1))
    made.install()
    outcome = made.wait()
    assert outcome.ready, outcome.verdict
    return made


@pytest.fixture(scope="module")
def api(cluster: RehearsalCluster) -> Api:
    return cluster.await_api()


def test_a_rayclusters_pods_get_nodes_and_it_is_ready(release: Release, api: Api) -> None:
    cluster = api.get(CLUSTER)
    assert cluster["status"]["state"] == "ready", "a rehearsal waits for it"
    assert (cluster["status"]["readyWorkerReplicas"], cluster["status"]["desiredGPU"]) == (1, "1")
    pods = {each["metadata"]["labels"].get("ray.io/node-type"): each for each in api.get(PODS)["items"]}
    pools = {each["metadata"]["name"]: each["metadata"]["labels"] for each in api.get("/api/v1/nodes")["items"]}
    where = {kind: pools[pods[kind]["spec"]["nodeName"]]["karpenter.sh/nodepool"] for kind in ("head", "worker")}
    assert where == {"head": "cpu", "worker": "gpu"}


def test_it_may_do_what_its_service_account_may(release: Release, api: Api, folder: Path) -> None:
    before = _operator(api)
    write_chart(folder, objects(workers=2, pod_verbs=("get", "list", "watch")))
    release.seed(release.environment)
    release.upgrade()
    _await_refusal(api)
    assert _operator(api)["metadata"]["uid"] == before["metadata"]["uid"], "it lives on"
    assert before["metadata"]["annotations"][REACHABLE].startswith("http=127.")


def _operator(api: Api) -> Any:
    (pod,) = (each for each in api.get(PODS)["items"] if each["metadata"]["labels"].get("app") == OPERATOR)
    return pod


@until
def _await_refusal(api: Api) -> None:
    conditions = {each["type"]: each for each in api.get(CLUSTER)["status"]["conditions"]}
    failure = conditions.get("ReplicaFailure", {"message": str(conditions)})
    if "system:serviceaccount:ray:operator" not in failure["message"]:
        raise NotYetError(failure["message"])
