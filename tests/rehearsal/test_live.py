"""A platform that answers: the gateway and the simulator of vLLM in their pods, started as the charts say."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from drydock.clusters.api import Api, collection
from drydock.clusters.objects import labels_of
from drydock.project import Project
from drydock.rehearsal.cluster import RehearsalCluster
from drydock.rehearsal.faults.fault_list import faults
from drydock.rehearsal.faults.trial import try_fault, try_or_explain
from drydock.rehearsal.journeys.chat import chat
from drydock.rehearsal.journeys.key_limits import limits as key_limits
from drydock.rehearsal.journeys.live_cluster import LiveCluster
from drydock.rehearsal.release import Release
from drydock.suite.charts import assemble_charts
from drydock.suite.environments import Environment, load_environment

MODEL = "genai-vllm-llama-3-8b"
SERVICE = f"{collection('v1', 'services', 'genai')}/{MODEL}:http/proxy"


GATEWAY = {
    "model-gateway": {
        "enabled": True,
        "replicas": 1,
        "audit": {"stdout": True},
        "keys": {"search": {"requestsPerMinute": 20}},
    },
}
SECRETS = {"model-gateway": ("master_key",), "model-gateway-keys": ("search",)}


@pytest.fixture(scope="module")
def environment(drydock_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """`dev` with a gateway."""
    file = tmp_path_factory.mktemp("values") / "gateway.yaml"
    file.write_text(yaml.safe_dump(GATEWAY))
    found = load_environment(drydock_project, "dev").stacked([file], ())
    return replace(found, secrets={**found.secrets, **SECRETS})


@pytest.fixture(scope="module")
def release(
    shared_cluster: RehearsalCluster,
    rehearsal_tools: dict[str, Path],
    drydock_project: Project,
    environment: Environment,
) -> Release:
    """The environment, ready."""
    charts = assemble_charts(drydock_project)
    made = Release(shared_cluster, rehearsal_tools["helm4"], charts, live=True)
    made.seed(environment)
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
    return max(found, key=lambda each: str(each["metadata"]["creationTimestamp"]))


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


@pytest.mark.namespaces
def test_a_chat_request_goes_through_the_gateway(release: Release, shared_cluster: RehearsalCluster, api: Api) -> None:
    written: list[str] = []
    models, streamed, refused = chat(LiveCluster(shared_cluster.folder, api), None, written.append)
    assert [step.succeeded for step in (models, streamed, refused)] == [True, True, True]
    assert (models.title, models.outcome) == ("GET /v1/models with key search", "llama-3-8b")
    assert streamed.outcome.startswith(f"{len(written)} pieces")
    assert "".join(written).strip()
    assert refused.outcome == "status 401"
    assert '"key": "search"' in _log_of(shared_cluster, "genai-model-gateway-"), "the audit log has it"


def _log_of(cluster: RehearsalCluster, pod: str) -> str:
    return "".join(file.read_text() for file in (cluster.folder.logs / "pods").glob(f"genai_{pod}*.log"))


@pytest.mark.namespaces
def test_no_pod_can_write_where_its_chart_does_not_let_it(release: Release, shared_cluster: RehearsalCluster) -> None:
    """LiteLLM and the activator run as user 65534 with a read-only root, and complain of nothing."""
    assert "ead-only file system" not in _log_of(shared_cluster, "genai-model-gateway-")


@pytest.mark.namespaces
def test_a_journey_that_fails_says_where(release: Release, shared_cluster: RehearsalCluster, api: Api) -> None:
    (models,) = chat(LiveCluster(shared_cluster.folder, api), "no-such-model", print)
    assert models.succeeded is False


@pytest.mark.namespaces
def test_the_limits_of_keys_hold(release: Release, shared_cluster: RehearsalCluster, api: Api) -> None:
    steps = list(key_limits(LiveCluster(shared_cluster.folder, api)))
    assert [step.succeeded for step in steps] == [True, True, True, None], steps
    wrong, audited, limited, spent = steps
    assert wrong.outcome == "status 401"
    assert '"key": "search"' in audited.outcome
    assert "key search, 20 requests a minute: " in limited.outcome
    assert spent.outcome == "no key has a budget"


@pytest.mark.namespaces
def test_a_gateway_whose_pod_dies_answers_again(release: Release, shared_cluster: RehearsalCluster, api: Api) -> None:
    report = try_fault(LiveCluster(shared_cluster.folder, api), faults()["gateway-pod-dies"], lambda _: None)
    assert report.held, report
    assert report.lost > 0


def test_models_answer_while_the_api_server_is_away(
    release: Release, shared_cluster: RehearsalCluster, api: Api
) -> None:
    fault = replace(faults()["api-server-away"], lasts=8.0)
    report = try_fault(LiveCluster(shared_cluster.folder, api), fault, lambda _: None)
    assert report.held, report
    assert (report.lost, report.requests > 8) == (0, True)
    assert api.text("/readyz") == "ok"


def test_a_model_that_crashes_answers_again(release: Release, shared_cluster: RehearsalCluster, api: Api) -> None:
    seen: list[str] = []
    report = try_fault(LiveCluster(shared_cluster.folder, api), faults()["model-crash"], seen.append)
    assert report.held, report
    assert report.lost > 0, "its only pod was gone"
    assert report.recovered_seconds
    assert report.ready_pods == 1
    (container,) = pod(api)["status"]["containerStatuses"]
    assert container["restartCount"] == 1


def test_a_model_whose_node_dies_without_capacity_for_another_of_its_type_gets_the_next_choice(
    release: Release, shared_cluster: RehearsalCluster, api: Api
) -> None:
    before = pod(api)["spec"]["nodeName"]
    kind = labels_of(api.get(f"{collection('v1', 'nodes')}/{before}"))["node.kubernetes.io/instance-type"]
    report = try_fault(LiveCluster(shared_cluster.folder, api), faults()["no-capacity"], lambda _: None)
    assert report.held, report
    assert report.lost > 0
    node = api.get(f"{collection('v1', 'nodes')}/{pod(api)['spec']['nodeName']}")
    assert labels_of(node)["node.kubernetes.io/instance-type"] != kind
    assert api.find(f"{collection('v1', 'nodes')}/{before}") is None
    assert not (shared_cluster.folder.cluster / "shortages.json").exists(), "EC2 has capacity again"


def test_one_that_vllm_would_not_start_is_never_ready(release: Release, environment: Environment, api: Api) -> None:
    too_long = ("vllm.models.llama-3-8b.engine.maxModelLen=1000000",)
    release.seed(environment.stacked((), too_long))
    release.upgrade()
    (obstacle,) = release.wait().verdict.obstacles
    assert obstacle.subject == f"Pod/genai/{pod(api)['metadata']['name']}"
    assert "max_model_len" in obstacle.reason
    (container,) = pod(api)["status"]["containerStatuses"]
    assert (container["ready"], container["lastState"]["terminated"]["exitCode"]) == (False, 1)


def test_a_fault_that_cannot_be_tried_has_not_held(shared_cluster: RehearsalCluster, api: Api) -> None:
    """After the test above no model answers."""
    report = try_or_explain(LiveCluster(shared_cluster.folder, api), faults()["model-crash"], lambda _: None)
    assert (report.held, report.requests) == (False, 0)
    assert report.errors == "not tried: no model answers in this rehearsal"
