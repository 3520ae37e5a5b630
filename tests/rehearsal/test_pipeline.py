"""The real controller of Argo Workflows runs the model pipeline: its stages get nodes, in the order of its graph."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from drydock.clusters.api import Api, collection
from drydock.rehearsal.cluster import RehearsalCluster
from drydock.suite.environments import Environment
from tests.rehearsal.conftest import DevWith, InstallDev

TEMPLATE = "genai-argo-assistant"
NODES = collection("v1", "nodes")
WORKFLOWS = collection("argoproj.io/v1alpha1", "workflows", "genai")
BINDINGS = collection("rbac.authorization.k8s.io/v1", "rolebindings", "genai")
ACCELERATED = ("fine-tune", "validate", "evaluate")
ORDER = (
    ("prepare", "fine-tune"),
    ("configure", "fine-tune"),
    ("fine-tune", "validate"),
    ("validate", "choose"),
    ("choose", "evaluate"),
    ("evaluate", "deploy"),
)
VALUES = {
    "crds": {"argo": {"enabled": True}},
    "vllm": {"enabled": False},
    "argo": {
        "enabled": True,
        "artifactRepository": {"bucket": "artifacts"},
        "pipelines": {
            "assistant": {
                "data": "s3://data/assistant",
                "baseModel": "org/base",
                "models": "s3://models/assistant",
                "grid": {"learningRate": [0.00003, 0.0001]},
                "deployment": {"model": "assistant"},
            }
        },
    },
}


class NotYetError(AssertionError):
    """What is waited for has not come."""


until = retry(
    retry=retry_if_exception_type(NotYetError), stop=stop_after_delay(900), wait=wait_fixed(0.5), reraise=True
)


@dataclass(frozen=True)
class Ran:
    """A finished Workflow.

    Attributes:
        content: the Workflow.
        pools: node pool of every node that there was, by its name.
    """

    content: Mapping[str, Any]
    pools: Mapping[str, str]

    def stages(self, name: str) -> list[Mapping[str, Any]]:
        """What ran of a stage in pods, once for the base and for each trial."""
        nodes = self.content["status"]["nodes"].values()
        return [each for each in nodes if each["type"] == "Pod" and each["displayName"].startswith(f"{name}(")]


@pytest.fixture(scope="module")
def installed_first(dev_with: DevWith) -> Environment:
    return dev_with(VALUES)


@pytest.fixture(scope="module")
def api(shared_cluster: RehearsalCluster, install_dev: InstallDev) -> Api:
    """Of a cluster with the release `genai`: Argo Workflows and one pipeline."""
    install_dev(VALUES)
    return shared_cluster.await_api()


@pytest.fixture(scope="module")
def ran(api: Api) -> Ran:
    start(api, "first", approval="false")
    pools: dict[str, str] = {}

    @until
    def finished() -> Any:
        for node in api.get(NODES)["items"]:
            pools[node["metadata"]["name"]] = node["metadata"]["labels"].get("karpenter.sh/nodepool", "")
        workflow = api.get(f"{WORKFLOWS}/first")
        if workflow.get("status", {}).get("phase") in (None, "", "Pending", "Running"):
            raise NotYetError(told(workflow))
        return workflow

    return Ran(finished(), pools)


def start(api: Api, name: str, **parameters: str) -> None:
    given = [{"name": key, "value": value} for key, value in parameters.items()]
    spec = {"workflowTemplateRef": {"name": TEMPLATE}, "arguments": {"parameters": given}}
    workflow = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": {"name": name}, "spec": spec}
    assert api.create(WORKFLOWS, workflow)


def told(workflow: Mapping[str, Any]) -> str:
    status = workflow.get("status") or {}
    nodes = (
        f"{each['displayName']} {each.get('phase')}: {each.get('message')}" for each in status.get("nodes", {}).values()
    )
    return "\n".join((f"{status.get('phase')}: {status.get('message')}", *nodes))


def test_every_stage_gets_a_node_and_the_workflow_succeeds(ran: Ran) -> None:
    assert ran.content["status"]["phase"] == "Succeeded", told(ran.content)
    for name in ("prepare", "configure", "choose", "deploy"):
        (stage,) = ran.stages(name)
        assert ran.pools[stage["hostNodeName"]] == "general-cpu"
    for name in ACCELERATED:
        assert {ran.pools[each["hostNodeName"]] for each in ran.stages(name)} == {"gpu"}


def test_stages_run_in_the_order_of_the_graph(ran: Ran) -> None:
    for before, after in ORDER:
        latest = max(each["finishedAt"] for each in ran.stages(before))
        assert latest <= min(each["startedAt"] for each in ran.stages(after)), (before, after)


def test_a_stage_that_may_not_report_fails(api: Api, ran: Ran) -> None:
    binding = f"{BINDINGS}/genai-argo-executor"
    kept = api.get(binding)
    api.delete(binding)
    start(api, "second")

    @until
    def failed() -> Any:
        workflow = api.get(f"{WORKFLOWS}/second")
        if workflow.get("status", {}).get("phase") != "Failed":
            raise NotYetError(told(workflow))
        return workflow

    assert 'cannot create resource "workflowtaskresults"' in told(failed())
    api.create(
        BINDINGS, {key: kept[key] for key in ("roleRef", "subjects")} | {"metadata": {"name": "genai-argo-executor"}}
    )
