"""Models of a cluster: found, reached from here and loaded from inside, on a real API server with pods that run."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from tenacity import retry, stop_after_delay, wait_fixed

from drydock.cli.loadtest import command
from drydock.clusters.api import Api, collection
from drydock.errors import DrydockError
from drydock.progress import PlainProgress
from drydock.project import Project
from drydock.rehearsal.cluster import RehearsalCluster
from drydock.rehearsal.kubelet.service_names import REACHABLE
from drydock.rehearsal.rehearse import suite_cluster
from drydock.rehearsal.release import Release
from drydock.rehearsal.runs import new_run_folder
from drydock.suite.charts import AssembledCharts, assemble_charts
from drydock.suite.environments import Environment
from drydock.suite.render import render_chart
from drydock.tools.setup import set_up
from tests.loadtest.kubelet import Kubelet
from tests.loadtest.test_generator_tls import certificate
from tests.rehearsal.small import Content, write_chart

KEY = "sk-a-secret-key"
MODEL = "small"
JOBS = collection("batch/v1", "jobs", "genai")
PODS = collection("v1", "pods", "genai")
VALUES = {
    "models": {
        MODEL: {
            "source": {"huggingFace": {"id": "meta-llama/Meta-Llama-3-8B-Instruct", "gated": False}, "size": "15Gi"},
            "engine": {"maxModelLen": 4096},
            "accelerator": {"kind": "nvidia", "pool": "", "gpuNames": ["h100"]},
            "apiKeySecret": {"name": "keys", "key": "api_key"},
        },
        "asleep": {
            "source": {"huggingFace": {"id": "meta-llama/Meta-Llama-3-8B-Instruct", "gated": False}, "size": "15Gi"},
            "replicas": 0,
        },
    }
}


def node(name: str, kubelet: int, capacity: dict[str, str], **labels: str) -> Content:
    """A machine that is there already: nothing has to be bought; its kubelet listens on that port of this machine."""
    known = {"kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux", "kubernetes.io/hostname": name, **labels}
    resources = {"cpu": "64", "memory": "512Gi", "pods": "100", "ephemeral-storage": "1000Gi", **capacity}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": known},
        "status": {
            "capacity": resources,
            "allocatable": resources,
            "conditions": [{"type": "Ready", "status": "True"}],
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": kubelet}},
        },
    }


@pytest.fixture(scope="module")
def kubelet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubelet]:
    file = tmp_path_factory.mktemp("kubelet") / "kubelet.pem"
    file.write_bytes(certificate())
    with Kubelet(file) as server:
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def cluster(
    drydock_project: Project, tmp_path_factory: pytest.TempPathFactory, kubelet: Kubelet
) -> Iterator[RehearsalCluster]:
    """A cluster with two machines, the chart vllm, and a key in a Secret."""
    tools = set_up(drydock_project, "rehearse", PlainProgress()).tools
    folder = tmp_path_factory.mktemp("small")
    values = folder / "values.yaml"
    values.write_text(yaml.safe_dump(VALUES))
    rendered = render_chart(tools["helm4"], assemble_charts(drydock_project).chart("vllm"), values_files=[values])
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "stringData": {"api_key": KEY}}
    gpu = {"karpenter.k8s.aws/instance-gpu-name": "h100"}
    machines = [node("gpu", kubelet.port, {"nvidia.com/gpu": "8"}, **gpu), node("cpu", kubelet.port, {})]
    write_chart(folder, [*machines, secret, *({**each.content} for each in rendered)])
    with suite_cluster(drydock_project, tools, new_run_folder(drydock_project, "test")) as made:
        release = Release(made, tools["helm4"], AssembledCharts(folder, "small"), live=True)
        release.seed(Environment("small", folder / "none.yaml", "", ()))
        release.install()
        await_ready(made.await_api())
        yield made


@retry(stop=stop_after_delay(240), wait=wait_fixed(0.2), reraise=True)
def await_ready(api: Api) -> None:
    """Until the model answers its probe."""
    status = [each["status"] for each in api.get(PODS)["items"]]
    assert status
    assert "True" in [known["status"] for known in status[0]["conditions"] if known["type"] == "Ready"], status


@pytest.fixture
def api(cluster: RehearsalCluster) -> Api:
    return cluster.await_api()


def loadtest(cluster: RehearsalCluster, *arguments: str, model: str = MODEL) -> Result:
    shared = ("dev", "--model", model, "--kubeconfig", str(cluster.kubeconfig), "--duration", "5", "--concurrency", "2")
    done = CliRunner().invoke(command, [*shared, *arguments])
    assert KEY not in done.output
    return done


def told(done: Result) -> Any:
    return json.loads(done.stdout)


def test_a_model_is_found_and_loaded_from_here(cluster: RehearsalCluster, tmp_path: Path) -> None:
    done = loadtest(cluster, "--json", "-o", str(tmp_path))
    (run,) = told(done)["runs"]
    assert run["ok"] == run["requests"] > 0, done.output
    assert run["server"]["summary"]["ttft_mean_ms"] > 0
    assert KEY not in "".join(file.read_text() for file in tmp_path.rglob("*.[jch]*"))


def test_elsewhere_it_is_reached_by_port_forwards(cluster: RehearsalCluster, api: Api, kubelet: Kubelet) -> None:
    (pod,) = [each["metadata"] for each in api.get(PODS)["items"]]
    there = pod["annotations"][REACHABLE]
    _, _, address = there.partition("=")
    host, _, port = address.rpartition(":")
    kubelet.target = (host, int(port))
    path = f"{PODS}/{pod['name']}"
    api.merge(path, {"metadata": {"annotations": {REACHABLE: None}}})
    try:
        done = loadtest(cluster, "--json")
    finally:
        api.merge(path, {"metadata": {"annotations": {REACHABLE: there}}})
    (run,) = told(done)["runs"]
    assert run["ok"] == run["requests"] > 0, done.output
    assert any("through a port-forward of the API server" in note for note in told(done)["notes"])
    assert f"/portForward/genai/{pod['name']}" in kubelet.forwarded[0]


def test_jobs_load_it_from_inside_and_leave_nothing(
    cluster: RehearsalCluster, api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TENANT", "tenant-of-nobody")
    secret = ("--header-env", "X-Tenant=TENANT", "--query-env", "account=TENANT")
    done = loadtest(cluster, "--in-cluster", "--processes", "2", "--json", "-o", str(tmp_path), *secret)
    assert "tenant-of-nobody" not in done.output + "".join(file.read_text() for file in tmp_path.rglob("*.[jch]*"))
    (run,) = told(done)["runs"]
    assert run["ok"] == run["requests"] > 0, done.output
    assert run["complete"]
    (saved,) = (json.loads(file.read_text()) for file in tmp_path.glob("run-1/run.json"))
    assert len(saved["health"]["workers"]) == 2
    assert {file.name for file in tmp_path.iterdir()} == {
        "loadtest.json", "loads.csv", "report.html", "requests.csv", "run-1",
    }  # fmt: skip
    assert KEY not in "".join(file.read_text() for file in tmp_path.rglob("*.[jch]*"))
    assert not [each["metadata"]["name"] for each in api.get(JOBS)["items"]]
    await_gone(api)


def test_an_interrupt_keeps_what_was_measured_and_removes_the_jobs(
    cluster: RehearsalCluster, api: Api, tmp_path: Path
) -> None:
    where = ("--model", MODEL, "--kubeconfig", str(cluster.kubeconfig), "--in-cluster", "-o", str(tmp_path))
    load = [sys.executable, "-m", "drydock", "loadtest", "dev", *where, "--concurrency", "1", "--duration", "300"]
    with subprocess.Popen(load, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr
        next(line for line in running.stderr if "in flight" in line)
        time.sleep(2)
        running.send_signal(signal.SIGINT)
        assert running.wait(timeout=300) == 130
    assert json.loads((tmp_path / "loadtest.json").read_text())["complete"] is False
    assert not api.get(JOBS)["items"]
    await_gone(api)


@retry(stop=stop_after_delay(240), wait=wait_fixed(0.2), reraise=True)
def await_gone(api: Api) -> None:
    """Until the cluster's garbage collector has removed what belonged to the Job."""
    for plural in ("pods", "services", "configmaps", "secrets", "serviceaccounts"):
        names = [each["metadata"]["name"] for each in api.get(collection("v1", plural, "genai"))["items"]]
        assert not [each for each in names if each.startswith("loadtest-")]


@pytest.mark.parametrize(
    ("arguments", "model", "words"),
    [
        ((), "llama-9", "It serves: asleep, small."),
        ((), "asleep", "has no ready endpoints: it has no pods"),
        (("--namespace", "elsewhere"), MODEL, "The chart vllm is not installed there"),
        (("--context", "no-such"), MODEL, "no access to a cluster"),
        (("--in-cluster", "--api-key-env", "HOME"), MODEL, "takes the API key from the Secret of the model"),
        (("--in-cluster-values", "x.yaml"), MODEL, "--in-cluster-values without --in-cluster"),
    ],
)
def test_what_cannot_be_loaded_is_told(
    cluster: RehearsalCluster, arguments: tuple[str, ...], model: str, words: str
) -> None:
    done = loadtest(cluster, *arguments, model=model)
    assert isinstance(done.exception, DrydockError)
    assert words in str(done.exception)


def test_a_cluster_needs_an_environment() -> None:
    done = CliRunner().invoke(command, ["http://localhost:1", "--model", "x", "--rate", "1", "--in-cluster"])
    assert "Name an environment" in str(done.exception)
