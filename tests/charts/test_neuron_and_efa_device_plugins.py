"""The device plugins of Neuron devices and of EFA interfaces, and the node labels that lead them."""

from typing import Any

import pytest

from drydock.manifests import Manifest
from drydock.pytest_plugin import RenderChart

from .objects import by_name

POOLS = "karpenter-nodepools"
NEURON = "neuron-device-plugin"
EFA = "efa-device-plugin"
BOTH = pytest.mark.parametrize("chart", [NEURON, EFA])


def _pod(manifests: tuple[Manifest, ...], chart: str) -> Any:
    return by_name(manifests, "DaemonSet")[f"genai-{chart}"]["spec"]["template"]["spec"]


def _labels(manifests: tuple[Manifest, ...]) -> dict[str, dict[str, str]]:
    pools = by_name(manifests, "NodePool").items()
    return {name: pool["spec"]["template"].get("metadata", {}).get("labels", {}) for name, pool in pools}


@BOTH
def test_it_runs_where_a_pool_asks_for_it_whatever_its_taints(render_chart: RenderChart, chart: str) -> None:
    pod = _pod(render_chart(chart), chart)
    (term,) = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert term == {"matchExpressions": [{"key": f"drydock.dev/{chart}", "operator": "In", "values": ["chart"]}]}
    assert pod["tolerations"] == [{"operator": "Exists"}]
    assert pod["priorityClassName"] == "system-node-critical"


@BOTH
def test_it_reaches_the_kubelet(render_chart: RenderChart, chart: str) -> None:
    pod = _pod(render_chart(chart), chart)
    paths = {each["name"]: each["hostPath"]["path"] for each in pod["volumes"]}
    (container,) = pod["containers"]
    mounted = {each["mountPath"]: paths[each["name"]] for each in container["volumeMounts"]}
    assert mounted["/var/lib/kubelet/device-plugins"] == "/var/lib/kubelet/device-plugins"


@BOTH
def test_auto_mode_brings_its_own(render_chart: RenderChart, chart: str) -> None:
    assert render_chart(chart, {"global": {"autoMode": {"enabled": True}}}) == ()


def test_the_neuron_plugin_has_no_power_beyond_root(render_chart: RenderChart) -> None:
    (container,) = _pod(render_chart(NEURON), NEURON)["containers"]
    assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def test_the_efa_plugin_sees_the_hosts_interfaces_and_not_the_cluster(render_chart: RenderChart) -> None:
    manifests = render_chart(EFA)
    pod = _pod(manifests, EFA)
    assert pod["hostNetwork"] is True
    assert pod["automountServiceAccountToken"] is False
    assert [each.kind for each in manifests] == ["DaemonSet"]


def test_neuron_pools_lead_the_neuron_plugin_to_their_nodes(render_chart: RenderChart) -> None:
    labels = _labels(render_chart(POOLS, {"global": {"clusterName": "dev"}}))
    assert {name for name, each in labels.items() if f"drydock.dev/{NEURON}" in each} == {"neuron"}
    assert labels["neuron"][f"drydock.dev/{NEURON}"] == "chart"
    assert not any(f"drydock.dev/{EFA}" in each for each in labels.values())


@pytest.mark.parametrize(
    "node_class",
    [
        {"efa": {"networkCards": 4}},
        {"networkInterfaces": {"first": {"networkCardIndex": 1, "deviceIndex": 1, "interfaceType": "efa-only"}}},
    ],
    ids=["by count", "one by one"],
)
def test_node_classes_with_efa_lead_the_efa_plugin_to_their_nodes(render_chart: RenderChart, node_class: Any) -> None:
    values = {
        "global": {"clusterName": "dev"},
        "nodeClasses": {"fabric": node_class},
        "nodePools": {"fabric": {"accelerator": "nvidia", "nodeClass": "fabric"}},
    }
    labels = _labels(render_chart(POOLS, values))
    assert {name for name, each in labels.items() if each.get(f"drydock.dev/{EFA}") == "chart"} == {"fabric"}


def test_auto_mode_nodes_are_left_alone(render_chart: RenderChart) -> None:
    labels = _labels(render_chart(POOLS, {"global": {"clusterName": "dev", "autoMode": {"enabled": True}}}))
    assert labels["neuron"][f"drydock.dev/{NEURON}"] == "bundled"
