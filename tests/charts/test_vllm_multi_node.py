"""The chart vllm: engines over several nodes."""

from typing import Any

import pytest
import yaml

from drydock.errors import RenderError
from drydock.project import Project
from drydock.suite.manifests import Manifest
from drydock.testing.pytest_plugin import RenderChart
from tests.charts.vllm_models import environment, render, the, values

EFA = "vpc.amazonaws.com/efa"
TWO: dict[str, Any] = {"multiNode": {"enabled": True}, "accelerator": {"count": 8, "efa": 32}, "replicas": 2}


def _template(manifests: tuple[Manifest, ...], role: str) -> Any:
    return the(manifests, "LeaderWorkerSet")["spec"]["leaderWorkerTemplate"][f"{role}Template"]


def _container(manifests: tuple[Manifest, ...], role: str) -> Any:
    (found,) = _template(manifests, role)["spec"]["containers"]
    return found


def test_a_replica_is_a_group_of_pods_that_is_made_anew_as_a_whole(render_chart: RenderChart) -> None:
    manifests = render(render_chart, {**TWO, "multiNode": {"enabled": True, "size": 3}})
    assert "Deployment" not in {each.kind for each in manifests}
    spec = the(manifests, "LeaderWorkerSet")["spec"]
    assert (spec["replicas"], spec["leaderWorkerTemplate"]["size"]) == (2, 3)
    assert spec["leaderWorkerTemplate"]["restartPolicy"] == "RecreateGroupOnPodRestart"
    assert spec["startupPolicy"] == "LeaderCreated"
    assert spec["rolloutStrategy"]["rollingUpdateConfiguration"] == {"maxSurge": 0, "maxUnavailable": 1}
    assert the(manifests, "PodDisruptionBudget")["spec"]["maxUnavailable"] == 1


def test_devices_of_all_nodes_share_the_model(render_chart: RenderChart) -> None:
    manifests = render(render_chart, TWO)
    for role, headless in ("leader", False), ("worker", True):
        arguments = _container(manifests, role)["args"]
        assert {
            "--tensor-parallel-size=8",
            "--pipeline-parallel-size=2",
            "--nnodes=2",
            "--node-rank=$(LWS_WORKER_INDEX)",
            "--master-addr=$(LWS_LEADER_ADDRESS)",
            "--distributed-executor-backend=mp",
        } <= set(arguments)
        assert ("--headless" in arguments) is headless
    wide = render(render_chart, {**TWO, "engine": {"pipelineParallelSize": 1}})
    assert "--tensor-parallel-size=16" in _container(wide, "worker")["args"]
    with pytest.raises(RenderError, match=r"coresPerDevice x multiNode\.size"):
        render(render_chart, {**TWO, "engine": {"tensorParallelSize": 4}})


def test_leader_and_workers_have_the_adapters(render_chart: RenderChart) -> None:
    manifests = render(render_chart, TWO)
    for role in "leader", "worker":
        container = _container(manifests, role)
        assert container["resources"]["limits"][EFA] == container["resources"]["requests"][EFA] == "32"
        variables = environment(container)
        assert (variables["FI_PROVIDER"], variables["FI_EFA_USE_HUGE_PAGE"]) == ("efa", "0")
        assert variables["VLLM_HOST_IP"]["fieldRef"]["fieldPath"] == "status.podIP"
        context = container["securityContext"]
        assert "privileged" not in context
        assert context["capabilities"] == {"drop": ["ALL"]}
    huge = render(render_chart, {**TWO, "accelerator": {**TWO["accelerator"], "hugepages": "5120Mi"}})
    container = _container(huge, "worker")
    assert container["resources"]["limits"]["hugepages-2Mi"] == "5120Mi"
    assert "FI_EFA_USE_HUGE_PAGE" not in environment(container)


def test_requests_go_to_the_leader(render_chart: RenderChart) -> None:
    manifests = render(render_chart, TWO)
    service = the(manifests, "Service")
    assert service["metadata"]["name"] != the(manifests, "LeaderWorkerSet")["metadata"]["name"]  # a Service of its own
    leader, worker = (_template(manifests, role) for role in ("leader", "worker"))
    assert service["spec"]["selector"].items() <= leader["metadata"]["labels"].items()
    assert not service["spec"]["selector"].items() <= worker["metadata"]["labels"].items()
    assert {"startupProbe", "livenessProbe", "readinessProbe", "ports"} <= set(_container(manifests, "leader"))
    assert not {"startupProbe", "livenessProbe", "readinessProbe", "ports"} & set(_container(manifests, "worker"))
    assert "annotations" not in worker["metadata"]


def test_a_worker_outlives_the_requests_of_its_leader(render_chart: RenderChart) -> None:
    manifests = render(render_chart, TWO)
    seconds = [_container(manifests, role)["lifecycle"]["preStop"]["sleep"]["seconds"] for role in ("leader", "worker")]
    assert seconds == [15, 135]
    assert _template(manifests, "worker")["spec"]["terminationGracePeriodSeconds"] > 135


def test_pods_of_a_group_reach_one_another_and_are_in_one_zone(render_chart: RenderChart) -> None:
    manifests = render(render_chart, TWO)
    policy = the(manifests, "NetworkPolicy")["spec"]
    peer = {"podSelector": policy["podSelector"]}
    assert {"from": [peer]} in policy["ingress"]
    assert {"to": [peer]} in policy["egress"]
    for role in "leader", "worker":
        spec = _template(manifests, role)["spec"]
        (term,) = spec["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        assert term["topologyKey"] == "topology.kubernetes.io/zone"
        assert term["matchLabelKeys"] == ["leaderworkerset.sigs.k8s.io/group-index"]
        assert term["labelSelector"] == policy["podSelector"]
        assert "topologySpreadConstraints" not in spec


def test_nodes_without_a_zone_take_groups_that_ask_for_none(
    render_chart: RenderChart, drydock_project: Project
) -> None:
    preset = yaml.safe_load((drydock_project.root / "values" / "capacity" / "hybrid-nodes.yaml").read_text())["vllm"]
    manifests = render_chart("vllm", {**values(TWO), **preset})
    for role in "leader", "worker":
        spec = _template(manifests, role)["spec"]
        assert "affinity" not in spec
        assert spec["nodeSelector"]["eks.amazonaws.com/compute-type"] == "hybrid"
    own: dict[str, Any] = {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}
    anywhere = {**TWO, "multiNode": {"enabled": True, "topology": ""}, "scheduling": {"affinity": own}}
    assert _template(render(render_chart, anywhere), "worker")["spec"]["affinity"] == own


def test_without_other_peers_the_group_still_talks(render_chart: RenderChart) -> None:
    closed = {"ingress": {"same-namespace": None}}
    (rule,) = the(render(render_chart, {**TWO, "networkPolicy": closed}), "NetworkPolicy")["spec"]["ingress"]
    assert "ports" not in rule
    assert the(render(render_chart, {"networkPolicy": closed}), "NetworkPolicy")["spec"]["ingress"] == []


@pytest.mark.parametrize("kind", ["HorizontalPodAutoscaler", "ScaledObject"])
def test_groups_are_scaled(render_chart: RenderChart, kind: str) -> None:
    manifests = render(render_chart, {**TWO, "autoscaling": {"enabled": True, "kind": kind}})
    workload = the(manifests, "LeaderWorkerSet")
    assert "replicas" not in workload["spec"]
    target = the(manifests, kind)["spec"]["scaleTargetRef"]
    assert target == {
        "apiVersion": workload["apiVersion"],
        "kind": "LeaderWorkerSet",
        "name": workload["metadata"]["name"],
    }


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ({"accelerator": {"efa": 1}}, r"accelerator\.efa: a model on one node"),
        ({**TWO, "accelerator": {"kind": "none"}}, r"multiNode: an engine over several nodes needs accelerators"),
        ({**TWO, "engine": {"dataParallelSize": 2}}, r"engine\.dataParallelSize"),
        (
            {**TWO, "replicas": 1, "cache": {"type": "persistentVolumeClaim"}, "scheduling": {"zone": "us-west-2a"}},
            "may have 2 pods",
        ),
    ],
)
def test_engines_over_several_nodes_that_make_no_sense(
    render_chart: RenderChart, model: dict[str, Any], reason: str
) -> None:
    with pytest.raises(RenderError, match=reason):
        render(render_chart, model)
