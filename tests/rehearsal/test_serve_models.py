"""Models that answer: the simulator of vLLM in a model's pod, started as the chart says and asked by its probes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from drydock.clusters.api import Api, collection
from drydock.project import Project
from drydock.rehearsal.cluster import RehearsalCluster
from drydock.rehearsal.release import Release
from drydock.suite.charts import assemble_charts
from drydock.suite.environments import load_environment

MODEL = "genai-vllm-llama-3-8b"
SERVICE = f"{collection('v1', 'services', 'genai')}/{MODEL}:http/proxy"


@pytest.fixture(scope="module")
def release(shared_cluster: RehearsalCluster, rehearsal_tools: dict[str, Path], drydock_project: Project) -> Release:
    """The environment `dev`, ready."""
    charts = assemble_charts(drydock_project)
    made = Release(shared_cluster, rehearsal_tools["helm4"], charts, serve_models=True)
    made.seed(load_environment(drydock_project, "dev"))
    made.install()
    outcome = made.wait()
    assert outcome.ready, outcome.verdict
    return made


@pytest.fixture(scope="module")
def api(shared_cluster: RehearsalCluster) -> Api:
    return shared_cluster.await_api()


def pod(api: Api) -> Mapping[str, Any]:
    """The model's."""
    found: list[Mapping[str, Any]] = [
        each
        for each in api.get(collection("v1", "pods", "genai"))["items"]
        if each["metadata"]["name"].startswith(MODEL) and "deletionTimestamp" not in each["metadata"]
    ]
    return found[-1]


def test_a_model_answers_through_the_proxy_of_the_api_server(release: Release, api: Api) -> None:
    (model,) = api.get(f"{SERVICE}/v1/models")["data"]
    assert (model["id"], model["max_model_len"]) == ("llama-3-8b", 8192)
    question = {"model": "llama-3-8b", "prompt": "Who are you?", "max_tokens": 5}
    answer = api.request(f"{SERVICE}/v1/completions", question)
    assert answer["usage"]["completion_tokens"] == 5
    assert 'model_name="llama-3-8b"' in api.text(f"{SERVICE}/metrics")


def test_it_stands_for_the_gpu_of_its_node(release: Release, shared_cluster: RehearsalCluster, api: Api) -> None:
    name = pod(api)["metadata"]["name"]
    log = (shared_cluster.folder.logs / "pods" / f"genai_{name}_vllm.log").read_text()
    node = api.get(f"{collection('v1', 'nodes')}/{pod(api)['spec']['nodeName']}")
    gpu = node["metadata"]["labels"]["karpenter.k8s.aws/instance-gpu-name"]
    assert f"on 1 x {gpu} with profile" in log


def test_one_that_vllm_would_not_start_is_never_ready(release: Release, drydock_project: Project, api: Api) -> None:
    too_long = ("vllm.models.llama-3-8b.engine.maxModelLen=1000000",)
    release.seed(load_environment(drydock_project, "dev").stacked((), too_long))
    release.upgrade()
    (obstacle,) = release.wait().verdict.obstacles
    assert obstacle.subject == f"Pod/genai/{pod(api)['metadata']['name']}"
    assert "max_model_len" in obstacle.reason
    (container,) = pod(api)["status"]["containerStatuses"]
    assert (container["ready"], container["lastState"]["terminated"]["exitCode"]) == (False, 1)
