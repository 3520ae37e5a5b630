"""Models that sleep are woken by a request that waits, and more pods come with more of them: KEDA's own controller and
external metrics, Kubernetes' HorizontalPodAutoscaler, the activator, the engine's server, the charts' objects.

KEDA asks pods by the addresses that the cluster tells. A proxy stands between: it takes those addresses, and behind
them are one activator and one engine on this machine.
"""

import http.client
import http.server
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

import pytest

from drydock.clusters.api import Api, collection
from drydock.clusters.objects import condition, labels_of
from drydock.rehearsal.cluster import RehearsalCluster
from drydock.rehearsal.release import Release
from tests.charts.gateway.processes import (
    ACTIVATOR,
    CHAT,
    QUESTION,
    Answer,
    Mounts,
    NotYetError,
    Running,
    call,
    entry,
    free_port,
    send,
    start,
    start_activator,
    start_model,
    until,
)
from tests.rehearsal.conftest import InstallDev

MODEL = "llama-3-8b"
NAME = f"genai-vllm-{MODEL}"
AWAKE = "always-there"
ACTIVATOR_PORT = 8081
ENGINE_PORT = 8000
COMPONENT = "app.kubernetes.io/component"
OBJECT = f"{collection('keda.sh/v1alpha1', 'scaledobjects', 'genai')}/{NAME}"
SCALERS = collection("autoscaling/v2", "horizontalpodautoscalers", "genai")
DEPLOYMENTS = collection("apps/v1", "deployments", "genai")
SCALING = {"scaleDownSeconds": 0, "keda": {"pollingSeconds": 1, "cooldownSeconds": 5}}
VALUES = {
    "crds": {"keda": {"enabled": True}},
    "karpenter-nodepools": {"nodePools": {"gpu": {"limits": {"nvidia.com/gpu": 4}}}},
    "vllm": {
        "models": {
            MODEL: {"autoscaling": SCALING},
            AWAKE: {
                "source": {"size": "4Gi", "huggingFace": {"id": "Qwen/Qwen3-1.7B"}},
                "engine": {"maxModelLen": 4096},
                "autoscaling": {**SCALING, "minReplicas": 1},
            },
        }
    },
}
METRICS = "v1beta1.external.metrics.k8s.io"
METRICS_SERVICE = "keda-metrics"
API_SERVICES = collection("apiregistration.k8s.io/v1", "apiservices")
SERVICES = collection("v1", "services", "genai")


@dataclass(frozen=True)
class Proxy:
    """Forwards what is asked of the cluster's addresses to this machine's ports, by the port that is asked for."""

    behind: Mapping[int, int]
    asked: set[tuple[str, int, str]] = field(default_factory=set)

    @contextmanager
    def serve(self) -> Iterator[int]:
        """Its port."""
        forward = self._forward

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer = forward(urlsplit(self.path))
                self.send_response(answer.status)
                self.end_headers()
                self.wfile.write(answer.text.encode())

            def log_message(self, *_: object) -> None:
                return

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield server.server_port
            server.shutdown()

    def _forward(self, url: SplitResult) -> Answer:
        port = url.port or 80
        self.asked.add((url.hostname or "", port, url.path))
        try:
            return call(self.behind[port], "GET", url.path)
        except (KeyError, OSError) as error:
            return Answer(502, {}, str(error))


@pytest.fixture(scope="module")
def release(install_dev: InstallDev) -> Release:
    """The environment `dev` whose model sleeps when nobody asks."""
    return install_dev(VALUES, "capacity/scale-to-zero.yaml")


@pytest.fixture(scope="module")
def api(release: Release, shared_cluster: RehearsalCluster) -> Api:
    return shared_cluster.await_api()


@pytest.fixture(scope="module")
def engine_port() -> int:
    """Where the engine listens while its pod is there."""
    return free_port()


@pytest.fixture(scope="module")
def activator(api: Api, engine_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Of the files that its pods mount, but for the place of the model."""
    mounts = Mounts(tmp_path_factory.mktemp("mounts"))
    for name, folder in (("genai-model-gateway-code", "code"), ("genai-model-gateway", "settings")):
        for key, content in api.get(f"{collection('v1', 'configmaps', 'genai')}/{name}")["data"].items():
            mounts.write(f"{folder}/{key}", content)
    mounts.catalogue({MODEL: entry(engine_port, MODEL, scaleToZero=True)})
    running = start_activator(mounts)
    yield running
    running.end()


@pytest.fixture(scope="module")
def awake_port() -> int:
    """Where the engine of the model that never sleeps listens."""
    return free_port()


@pytest.fixture(scope="module")
def proxy(activator: Running, awake_port: int) -> Proxy:
    return Proxy({ACTIVATOR_PORT: activator.look_port, ENGINE_PORT: awake_port})


@pytest.fixture(scope="module")
def keda(
    api: Api,
    shared_cluster: RehearsalCluster,
    drydock_tool: Callable[[str], Path],
    proxy: Proxy,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Running]:
    """KEDA's controller, with the administrator's rights; what it asks of pods goes through the proxy.

    Its external metrics are part of the cluster's API.
    """
    kubeconfig, metrics_port = shared_cluster.kubeconfig, free_port()
    flags = [
        f"--lister-kubeconfig={kubeconfig}",
        "--bind-address=127.0.0.1",
        f"--secure-port={metrics_port}",
        f"--cert-dir={tmp_path_factory.mktemp('certificates')}",
    ]
    with proxy.serve() as port:
        environment = {
            "KUBECONFIG": str(kubeconfig),
            "HTTP_PROXY": f"http://127.0.0.1:{port}",
            "KEDA_CLUSTER_OBJECT_NAMESPACE": "keda",
        }
        running = start([str(drydock_tool("keda-operator")), *flags], 0, 0, environment)
        api.create(SERVICES, metrics_service())
        api.create(API_SERVICES, metrics_api(metrics_port))
        try:
            wait_for_metrics_api(api, running)
            yield running
        finally:
            api.delete(f"{API_SERVICES}/{METRICS}")
            running.stop()


def metrics_service() -> Mapping[str, Any]:
    """Leads to this machine, as seen from the API server."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": METRICS_SERVICE},
        "spec": {"type": "ExternalName", "externalName": "127.0.0.1"},
    }


def metrics_api(port: int) -> Mapping[str, Any]:
    version, _, group = METRICS.partition(".")
    return {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": METRICS},
        "spec": {
            "group": group,
            "version": version,
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "insecureSkipTLSVerify": True,
            "service": {"name": METRICS_SERVICE, "namespace": "genai", "port": port},
        },
    }


@until
def wait_for_metrics_api(api: Api, keda: Running) -> None:
    found = condition(api.get(f"{API_SERVICES}/{METRICS}"), "Available")
    if found.get("status") != "True":
        raise NotYetError(f"{METRICS} is {found}\n{keda.log[-4000:]}")


@until
def wait_for_replicas(api: Api, wanted: int, keda: Running, name: str = NAME) -> None:
    deployment = api.get(f"{DEPLOYMENTS}/{name}")
    there = (deployment["spec"]["replicas"], deployment["status"].get("readyReplicas", 0))
    if there != (wanted, wanted):
        scaler = (api.find(f"{SCALERS}/keda-hpa-{name}") or {}).get("status")
        raise NotYetError(
            f"{there} replicas of {name} are wanted and ready, not {wanted}\n{scaler}\n{keda.log[-4000:]}"
        )


@until
def wait_for_condition(api: Api, kind: str, status: str, keda: Running) -> None:
    found = condition(api.get(OBJECT), kind)
    if found.get("status") != status:
        raise NotYetError(f"{kind} is {found}\n{keda.log[-4000:]}")


def test_a_request_wakes_a_model_and_without_any_it_falls_asleep(
    api: Api, keda: Running, activator: Running, engine_port: int
) -> None:
    wait_for_replicas(api, 0, keda)
    waiting = send(activator.port, f"/models/{MODEL}{CHAT}", {"model": MODEL, **QUESTION}, headers=ACTIVATOR)
    wait_for_replicas(api, 1, keda)
    wait_for_condition(api, "Active", "True", keda)
    engine = start_model(engine_port, MODEL)
    try:
        assert waiting.answer().status == 200
        wait_for_replicas(api, 0, keda)
    finally:
        engine.end()


def test_one_that_is_asked_in_vain_falls_asleep_too(
    api: Api, keda: Running, activator: Running, engine_port: int
) -> None:
    given_up = http.client.HTTPConnection("127.0.0.1", activator.port)
    given_up.request("POST", f"/models/{MODEL}{CHAT}", json.dumps({"model": MODEL, **QUESTION}), ACTIVATOR)
    wait_for_replicas(api, 1, keda)
    given_up.close()
    wait_for_replicas(api, 0, keda)


def test_keda_asks_every_pod_of_the_activator_and_of_engines_that_never_sleep_and_nothing_else(
    api: Api, keda: Running, proxy: Proxy, activator: Running
) -> None:
    wait_for_replicas(api, 0, keda)
    pods = api.get(collection("v1", "pods", "genai"))["items"]
    addresses = [(labels_of(pod).get(COMPONENT), pod["status"]["podIP"]) for pod in pods]
    activators = [address for component, address in addresses if component == "activator"]
    (engine,) = [address for component, address in addresses if component == AWAKE]
    assert len(activators) == 2
    assert proxy.asked == {
        (engine, ENGINE_PORT, "/metrics"),
        *((address, ACTIVATOR_PORT, f"/models/{MODEL}") for address in activators),
    }


def test_more_requests_than_a_pod_should_have_bring_a_second_pod_and_all_go_when_none_is_left(
    api: Api, keda: Running, activator: Running
) -> None:
    wait_for_replicas(api, 0, keda)
    waiting = [http.client.HTTPConnection("127.0.0.1", activator.port) for _ in range(33)]
    for connection in waiting:
        connection.request("POST", f"/models/{MODEL}{CHAT}", json.dumps({"model": MODEL, **QUESTION}), ACTIVATOR)
    wait_for_replicas(api, 2, keda)
    for connection in waiting:
        connection.close()
    wait_for_replicas(api, 0, keda)


def test_a_queue_in_the_engine_brings_a_second_pod_and_goes_with_it(api: Api, keda: Running, awake_port: int) -> None:
    name = f"genai-vllm-{AWAKE}"
    engine = start_model(awake_port, AWAKE, "--max-num-seqs", "1", DRYDOCK_VLLM_SPEED="0.1")
    try:
        engine.up("/health")
        wait_for_replicas(api, 1, keda, name)
        body = {"model": AWAKE, **QUESTION, "max_tokens": 4000, "ignore_eos": True}
        asked = [http.client.HTTPConnection("127.0.0.1", awake_port) for _ in range(7)]
        for connection in asked:
            connection.request("POST", CHAT, json.dumps(body), {"Content-Type": "application/json"})
        wait_for_replicas(api, 2, keda, name)
        for connection in asked:
            connection.close()
        wait_for_replicas(api, 1, keda, name)
    finally:
        engine.end()


def test_a_model_that_sleeps_is_in_order(api: Api, keda: Running) -> None:
    wait_for_replicas(api, 0, keda)
    wait_for_condition(api, "Active", "False", keda)
    wait_for_condition(api, "Ready", "True", keda)
    assert "no endpoints" not in keda.log
    scaler = api.get(f"{SCALERS}/keda-hpa-{NAME}")
    assert scaler["spec"]["scaleTargetRef"]["name"] == NAME
    assert (scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"]) == (1, 2)
    (metric,) = scaler["spec"]["metrics"]
    assert metric["external"]["target"] == {"type": "AverageValue", "averageValue": "32"}
