"""An engine over two nodes: LeaderWorkerSet's own controller and webhooks make its pods, on nodes from zero."""

import base64
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from drydock.clusters.api import Api, collection
from drydock.clusters.objects import is_true, labels_of
from drydock.documents import load_yaml
from drydock.progress import SilentProgress
from drydock.project import Project
from drydock.rehearsal.cluster import RehearsalCluster
from drydock.rehearsal.credentials import Credentials
from drydock.rehearsal.release import Release
from drydock.tools.crd_files import ensure_crds
from tests.charts.gateway.processes import NotYetError, Running, free_port, start, until
from tests.rehearsal.conftest import InstallDev

GROUPS = "genai-vllm-deepseek-r1-nodes"
LEADER, WORKER = f"{GROUPS}-0", f"{GROUPS}-0-1"
SETS = collection("leaderworkerset.x-k8s.io/v1", "leaderworkersets", "genai")
OURS = {"matchExpressions": [{"key": "leaderworkerset.sigs.k8s.io/name", "operator": "Exists"}]}
RULES = {
    "leaderworkerset-x-k8s-io-v1-leaderworkerset": ("leaderworkerset.x-k8s.io", "leaderworkersets", {}),
    "-v1-pod": ("", "pods", OURS),
}


def webhooks(kind: str, port: int, authority: bytes) -> Mapping[str, Any]:
    """The configuration of LeaderWorkerSet's webhooks, `Mutating` or `Validating`, for a server on this machine."""
    verb = {"Mutating": "mutate", "Validating": "validate"}[kind]
    made = [
        {
            "name": f"{resource}.{verb}.example.com",
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "objectSelector": selector,
            "clientConfig": {
                "url": f"https://127.0.0.1:{port}/{verb}-{path}",
                "caBundle": base64.b64encode(authority).decode(),
            },
            "rules": [
                {
                    "apiGroups": [group],
                    "apiVersions": ["v1"],
                    "operations": ["CREATE"] if resource == "pods" else ["CREATE", "UPDATE"],
                    "resources": [resource],
                }
            ],
        }
        for path, (group, resource, selector) in RULES.items()
    ]
    name = f"{kind}WebhookConfiguration"
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": name,
        "metadata": {"name": "lws"},
        "webhooks": made,
    }


@until
def wait_for_port(port: int, running: Running) -> None:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError as error:
        raise NotYetError(running.log[-4000:]) from error


@pytest.fixture(scope="module")
def api(shared_cluster: RehearsalCluster) -> Api:
    return shared_cluster.await_api()


@pytest.fixture(scope="module")
def controller(
    api: Api,
    shared_cluster: RehearsalCluster,
    drydock_tool: Callable[[str], Path],
    drydock_project: Project,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Running]:
    """Of LeaderWorkerSet, unmodified, with the administrator's rights and the API server's certificate."""
    for file in ensure_crds(drydock_project, SilentProgress())["lws"].iterdir():
        api.request("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", load_yaml(file.read_text()))
    folder = tmp_path_factory.mktemp("lws")
    credentials = Credentials(shared_cluster.folder.credentials)
    shutil.copy(credentials.server_certificate, folder / "tls.crt")
    shutil.copy(credentials.server_key, folder / "tls.key")
    port = free_port()
    settings = {
        "apiVersion": "config.lws.x-k8s.io/v1alpha1",
        "kind": "Configuration",
        "leaderElection": {"leaderElect": False},
        "internalCertManagement": {"enable": False},
        "webhook": {"host": "127.0.0.1", "port": port, "certDir": str(folder)},
        "metrics": {"bindAddress": "0"},
        "health": {"healthProbeBindAddress": "127.0.0.1:0"},
    }
    (folder / "settings.yaml").write_text(yaml.safe_dump(settings))
    command = [str(drydock_tool("lws-controller")), "--config", str(folder / "settings.yaml")]
    running = start(command, 0, 0, {"KUBECONFIG": str(shared_cluster.kubeconfig)})
    try:
        wait_for_port(port, running)
        for kind in ("Mutating", "Validating"):
            path = f"/apis/admissionregistration.k8s.io/v1/{kind.lower()}webhookconfigurations"
            api.request(path, webhooks(kind, port, credentials.authority.read_bytes()))
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def release(controller: Running, api: Api, install_dev: InstallDev) -> Release:
    """The environment `dev` with DeepSeek-R1 on two p5.48xlarge."""
    made = install_dev({}, "capacity/efa-cluster.yaml", "models/deepseek-r1-multi-node.yaml")
    wait_for_groups(made, api, controller)
    outcome = made.wait()
    assert outcome.ready, outcome.verdict
    return made


@until
def wait_for_groups(release: Release, api: Api, controller: Running) -> None:
    verdict = release.wait(timeout=0).verdict
    assert not verdict.obstacles, verdict
    found = api.get(f"{SETS}/{GROUPS}")
    if not is_true(found, "Available"):
        raise NotYetError(f"{found.get('status')}\n{verdict}\n{controller.log[-4000:]}")


def pods(release: Release) -> Mapping[str, Any]:
    found = {each["metadata"]["name"]: each for each in release.scene.of("Pod")}
    return {name: found[name] for name in (LEADER, WORKER)}


def test_the_pods_of_a_group_are_on_a_node_each_in_one_zone(release: Release) -> None:
    nodes = {each["metadata"]["name"]: each for each in release.scene.of("Node")}
    where = [nodes[pod["spec"]["nodeName"]] for pod in pods(release).values()]
    assert len({node["metadata"]["name"] for node in where}) == 2
    assert {labels_of(node)["node.kubernetes.io/instance-type"] for node in where} == {"p5.48xlarge"}
    assert {labels_of(node)["karpenter.sh/nodepool"] for node in where} == {"gpu-efa"}
    assert len({labels_of(node)["topology.kubernetes.io/zone"] for node in where}) == 1
    for node in where:
        assert (node["status"]["allocatable"]["vpc.amazonaws.com/efa"]) == "32"


def test_the_controller_tells_each_pod_its_rank_and_its_leader(release: Release) -> None:
    for rank, pod in enumerate(pods(release).values()):
        (container,) = (each for each in pod["spec"]["containers"] if each["name"] == "vllm")
        told = {each["name"]: each.get("value") for each in container["env"]}
        assert told["LWS_LEADER_ADDRESS"] == f"{LEADER}.{GROUPS}.genai"
        assert told["LWS_WORKER_INDEX"] == str(rank)
        assert {"--master-addr=$(LWS_LEADER_ADDRESS)", "--node-rank=$(LWS_WORKER_INDEX)"} <= set(container["args"])


def test_only_the_leader_is_asked(release: Release, api: Api) -> None:
    slices = api.get(collection("discovery.k8s.io/v1", "endpointslices", "genai"))["items"]
    behind = {
        endpoint["targetRef"]["name"]
        for each in slices
        if labels_of(each)["kubernetes.io/service-name"] == "genai-vllm-deepseek-r1"
        for endpoint in each["endpoints"]
    }
    assert behind == {LEADER}
