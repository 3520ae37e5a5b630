"""What holds wherever an environment is installed: on a rehearsal, on kind, on EKS, on a cluster of one's own."""

import base64
import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, dynamic, stream, watch

from drydock.clusters.kube import api_client
from drydock.suite.render import RenderedEnvironment
from drydock.testing.integration import Deployed
from drydock.testing.pytest_plugin import RenderEnvironment

WORKLOADS = ("Deployment", "DaemonSet", "StatefulSet")
NODE_SECONDS = 600


@pytest.fixture(scope="module")
def api(kube_config: str) -> Any:
    return api_client(Path(kube_config))


@pytest.fixture
def rendered(drydock_deployed: Deployed, render_environment: RenderEnvironment) -> RenderedEnvironment:
    return render_environment(drydock_deployed.environment.name)


def test_kube_cluster_of_pytest_helm_charts_is_this_cluster(kube_cluster: Any, api: Any) -> None:
    answer = kube_cluster.kube_client.get(url="namespaces/kube-system")
    assert answer.json()["metadata"]["uid"] == client.CoreV1Api(api).read_namespace("kube-system").metadata.uid


def test_the_release_is_deployed(drydock_deployed: Deployed, api: Any) -> None:
    found = client.CoreV1Api(api).list_namespaced_secret(
        drydock_deployed.environment.namespace, label_selector="owner=helm,status=deployed"
    )
    (release,) = found.items
    content = json.loads(gzip.decompress(base64.b64decode(base64.b64decode(release.data["release"]))))
    assert content["chart"]["metadata"]["name"] == "genai-platform"


def test_every_workload_is_ready(rendered: RenderedEnvironment, api: Any) -> None:
    resources = dynamic.DynamicClient(api).resources
    waiting = []
    for each in (one for kind in WORKLOADS for one in rendered.of_kind(kind)):
        kind = resources.get(api_version="apps/v1", kind=each.kind)
        status = kind.get(name=each.name, namespace=each.namespace or "genai").to_dict()["status"]
        wanted = status.get("desiredNumberScheduled", status.get("replicas", 0))
        if status.get("numberReady", status.get("readyReplicas", 0)) != wanted:
            waiting.append(f"{each.kind}/{each.name}: {status}")
    assert not waiting


def test_karpenter_takes_every_node_pool(rendered: RenderedEnvironment, api: Any) -> None:
    pools = dynamic.DynamicClient(api).resources.get(api_version="karpenter.sh/v1", kind="NodePool")
    for each in rendered.of_kind("NodePool"):
        conditions = pools.get(name=each.name).to_dict()["status"]["conditions"]
        assert {"type": "Ready", "status": "True"}.items() <= next(
            c for c in conditions if c["type"] == "Ready"
        ).items()


@pytest.fixture
def gpu_pod(drydock_deployed: Deployed, api: Any) -> Iterator[Callable[[], Any]]:
    """Makes a pod that asks for a GPU; gives it once it is bound to a node."""
    core, namespace, name = client.CoreV1Api(api), drydock_deployed.environment.namespace, "integration-gpu"
    container = {
        "name": "gpu",
        "image": "registry.k8s.io/pause:3.10.2",
        "resources": {"limits": {"nvidia.com/gpu": "1", "cpu": "100m", "memory": "64Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    spec = {
        "containers": [container],
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65534, "seccompProfile": {"type": "RuntimeDefault"}},
        "terminationGracePeriodSeconds": 0,
    }

    def make() -> Any:
        core.create_namespaced_pod(namespace, {"metadata": {"name": name}, "spec": spec})
        only = {"field_selector": f"metadata.name={name}", "timeout_seconds": NODE_SECONDS}
        for change in watch.Watch().stream(core.list_namespaced_pod, namespace, **only):
            if change["object"].spec.node_name:
                return change["object"]
        raise AssertionError([each.message for each in core.list_namespaced_event(namespace).items[-5:]])

    yield make
    core.delete_namespaced_pod(name, namespace)


def test_a_pod_that_asks_for_a_gpu_gets_a_node_of_a_pool_that_has_one(
    gpu_pod: Callable[[], Any], rendered: RenderedEnvironment, api: Any
) -> None:
    node = client.CoreV1Api(api).read_node(gpu_pod().spec.node_name)
    assert node.metadata.labels["karpenter.sh/nodepool"] in {each.name for each in rendered.of_kind("NodePool")}
    assert int(node.status.allocatable["nvidia.com/gpu"]) >= 1


@pytest.mark.real_pods
def test_every_model_answers(rendered: RenderedEnvironment, api: Any) -> None:
    core = client.CoreV1Api(api)
    models = [each for each in rendered.of_kind("Deployment") if each.chart == "vllm"]
    assert models
    for each in models:
        labels = each.content["spec"]["selector"]["matchLabels"]
        chosen = ",".join(f"{key}={value}" for key, value in labels.items())
        pod = core.list_namespaced_pod(each.namespace or "genai", label_selector=chosen).items[0]
        name = next(
            argument.partition("=")[2]
            for argument in each.content["spec"]["template"]["spec"]["containers"][0]["args"]
            if argument.startswith("--served-model-name=")
        )
        asked = {"model": name, "prompt": "The quick brown fox", "max_tokens": 4}
        answer = _post(core, pod, "/v1/completions", asked)
        assert answer["usage"]["completion_tokens"] == 4


@pytest.mark.accelerator
def test_a_model_sees_its_gpus(rendered: RenderedEnvironment, api: Any) -> None:
    core = client.CoreV1Api(api)
    pods = core.list_pod_for_all_namespaces(label_selector="app.kubernetes.io/name=vllm").items
    assert pods
    for pod in pods:
        command = ["nvidia-smi", "--list-gpus"]
        listed = stream.stream(
            core.connect_get_namespaced_pod_exec,
            pod.metadata.name,
            pod.metadata.namespace,
            command=command,
            stdout=True,
            stderr=True,
            stdin=False,
            tty=False,
        )
        wanted = int(pod.spec.containers[0].resources.limits.get("nvidia.com/gpu", 0))
        assert len(listed.strip().splitlines()) == wanted


@pytest.mark.load_balancer
def test_a_service_gets_a_load_balancer(drydock_deployed: Deployed, api: Any) -> None:
    core, namespace, name = client.CoreV1Api(api), drydock_deployed.environment.namespace, "integration-balancer"
    internal = {  # for AWS's own controller, and for the one in Kubernetes' provider for AWS
        "service.beta.kubernetes.io/aws-load-balancer-scheme": "internal",
        "service.beta.kubernetes.io/aws-load-balancer-internal": "true",
    }
    spec = {"type": "LoadBalancer", "selector": {"app": name}, "ports": [{"port": 80}]}
    core.create_namespaced_service(namespace, {"metadata": {"name": name, "annotations": internal}, "spec": spec})
    try:
        only = {"field_selector": f"metadata.name={name}", "timeout_seconds": NODE_SECONDS}
        changes = watch.Watch().stream(core.list_namespaced_service, namespace, **only)
        assert any(each["object"].status.load_balancer.ingress for each in changes)
    finally:
        core.delete_namespaced_service(name, namespace)


def _post(core: Any, pod: Any, path: str, content: Any) -> Any:
    """Over a forwarded port: the way that no NetworkPolicy closes."""
    import http.client

    port = pod.spec.containers[0].ports[0].container_port
    forward = stream.portforward(
        core.connect_get_namespaced_pod_portforward, pod.metadata.name, pod.metadata.namespace, ports=str(port)
    )
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.sock = forward.socket(port)
    connection.sock.setblocking(True)
    connection.request("POST", path, json.dumps(content), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    return json.loads(answer.read())
