"""The device plugins of Neuron devices and of EFA interfaces, and the node labels that lead them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from drydock.documents import load_yaml
from drydock.errors import RenderError
from drydock.project import UMBRELLA
from drydock.suite.charts import AssembledCharts
from drydock.suite.manifests import Manifest
from drydock.suite.render import render_chart as render_alone
from drydock.testing.pytest_plugin import RenderChart
from tests.charts.objects import by_name

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


SCHEDULER = {"global": {"clusterName": "dev", "neuronScheduler": "neuron-scheduler"}}


def test_the_second_scheduler_asks_the_extension_about_neuron_devices_alone(render_chart: RenderChart) -> None:
    manifests = render_chart(NEURON, SCHEDULER)
    name, extension = f"genai-{NEURON}-scheduler", f"genai-{NEURON}-scheduler-extension"
    configuration: Any = load_yaml(by_name(manifests, "ConfigMap")[name]["data"]["configuration.yaml"])
    assert [each["schedulerName"] for each in configuration["profiles"]] == ["neuron-scheduler"]
    (extender,) = configuration["extenders"]
    service = by_name(manifests, "Service")[extension]
    namespace = service["metadata"]["namespace"]
    assert extender["urlPrefix"] == f"http://{extension}.{namespace}:{service['spec']['ports'][0]['port']}"
    assert (extender["filterVerb"], extender["bindVerb"], extender["ignorable"]) == ("filter", "bind", False)
    assert all(each["name"].startswith("aws.amazon.com/neuron") for each in extender["managedResources"])
    lease = configuration["leaderElection"]
    rules = by_name(manifests, "Role")[name]["rules"]
    assert [lease["resourceName"]] in [each.get("resourceNames") for each in rules]
    assert lease["resourceName"] != "kube-scheduler"


def test_the_extension_hears_the_second_scheduler_and_nobody_else(render_chart: RenderChart) -> None:
    manifests = render_chart(NEURON, SCHEDULER)
    policies = by_name(manifests, "NetworkPolicy")
    deployments = by_name(manifests, "Deployment")
    (rule,) = policies[f"genai-{NEURON}-scheduler-extension"]["spec"]["ingress"]
    (peer,) = rule["from"]
    labels = deployments[f"genai-{NEURON}-scheduler"]["spec"]["template"]["metadata"]["labels"]
    assert peer["podSelector"]["matchLabels"].items() <= labels.items()
    assert policies[f"genai-{NEURON}-scheduler"]["spec"]["ingress"] == []
    assert deployments[f"genai-{NEURON}-scheduler-extension"]["spec"]["strategy"] == {"type": "Recreate"}


@pytest.mark.parametrize(
    ("devices", "own", "wanted"), [(1, "", None), (2, "", "neuron-scheduler"), (2, "mine", "mine")]
)
def test_models_with_several_neuron_devices_take_the_second_scheduler(
    render_chart: RenderChart, devices: int, own: str, wanted: str | None
) -> None:
    model = {
        "source": {"huggingFace": {"id": "org/small"}, "size": "15Gi"},
        "accelerator": {"kind": "neuron", "count": devices},
        "scheduling": {"schedulerName": own},
    }
    values = {**SCHEDULER, NEURON: {"enabled": True}, "vllm": {"models": {"small": model}}}
    manifests = render_chart(UMBRELLA, values)
    deployments = by_name(manifests, "Deployment")
    assert deployments["genai-vllm-small"]["spec"]["template"]["spec"].get("schedulerName") == wanted
    assert f"genai-{NEURON}-scheduler" in deployments


def test_without_its_name_there_is_no_second_scheduler(render_chart: RenderChart) -> None:
    assert not [each for each in render_chart(NEURON) if "scheduler" in each.name]


def test_a_scheduler_newer_than_the_cluster_is_refused(render_chart: RenderChart) -> None:
    with pytest.raises(RenderError, match=r"scheduler\.image\.tag: .* newer than the cluster's"):
        render_chart(NEURON, {**SCHEDULER, "scheduler": {"image": {"tag": "v1.99.0"}}})


def test_the_node_problem_detector_reads_the_kernels_log_of_neuron_nodes(render_chart: RenderChart) -> None:
    manifests = render_chart(NEURON, {"nodeProblemDetector": {"enabled": True}})
    name = f"genai-{NEURON}-node-problem-detector"
    daemons = by_name(manifests, "DaemonSet")
    pod = daemons[name]["spec"]["template"]["spec"]
    assert pod["affinity"] == _pod(manifests, NEURON)["affinity"]
    (container,) = pod["containers"]
    rules: Any = load_yaml(by_name(manifests, "ConfigMap")[name]["data"]["kernel-log.json"])
    mounts = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
    assert rules["logPath"] in mounts
    (file,) = (each.partition("=")[2] for each in container["args"] if each.startswith("--config.system-log-monitor"))
    assert file.rpartition("/")[0] in mounts
    assert {each["condition"] for each in rules["rules"]} == {each["type"] for each in rules["conditions"]}
    verbs = {verb for rule in by_name(manifests, "ClusterRole")[name]["rules"] for verb in rule["verbs"]}
    assert verbs == {"get", "patch", "create", "update"}


def test_recovery_is_another_switch(render_chart: RenderChart) -> None:
    values = {"nodeProblemDetector": {"enabled": True, "recovery": {"enabled": True}}}
    pod = by_name(render_chart(NEURON, values), "DaemonSet")[f"genai-{NEURON}-node-problem-detector"]["spec"][
        "template"
    ]
    recovery = pod["spec"]["containers"][1]
    assert {"name": "ENABLE_RECOVERY", "value": "true"} in recovery["env"]
    assert "privileged" not in recovery["securityContext"]


@pytest.mark.parametrize(
    ("cluster", "scheduler"),
    [
        ("1.33.4", "v1.33.13"),
        ("1.34.3-eks-a1b2c3d", "v1.34.9"),
        ("1.35.0", "v1.35.8"),
        ("1.36.3", "v1.36.3"),
        ("1.37.0", "v1.36.3"),
    ],
)
def test_the_scheduler_is_of_the_clusters_minor(
    drydock_charts: AssembledCharts, drydock_tool: Callable[[str], Path], cluster: str, scheduler: str
) -> None:
    arguments = ["--set", "global.neuronScheduler=neuron-scheduler", "--kube-version", cluster]
    rendered = render_alone(drydock_tool("helm4"), drydock_charts.chart(NEURON), arguments=arguments)
    images = [
        container["image"]
        for each in rendered
        if each.kind == "Deployment"
        for container in each.content["spec"]["template"]["spec"]["containers"]
    ]
    assert f"registry.k8s.io/kube-scheduler:{scheduler}" in images
