"""The NVIDIA device plugin, GPU feature discovery and the MPS control daemon."""

from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from drydock.errors import RenderError
from drydock.suite.manifests import Manifest
from drydock.testing.pytest_plugin import RenderChart
from tests.charts.objects import by_name

CHART = "nvidia-device-plugin"
PLUGIN = "genai-nvidia-device-plugin"
MPS = f"{PLUGIN}-mps-control-daemon"
DISCOVERY = f"{PLUGIN}-gpu-feature-discovery"
SHARED_BY_MPS: dict[str, Any] = {
    "global": {"mpsSharing": {"mps": True}},
    "configs": {"mps": {"sharing": {"strategy": "mps", "replicas": 4}}},
}
CONFIG_LABEL = "nvidia.com/device-plugin.config"


def _pod(manifests: tuple[Manifest, ...], name: str) -> Any:
    return by_name(manifests, "DaemonSet")[name]["spec"]["template"]


def _expressions(pod: Any) -> list[Any]:
    affinity = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    (term,) = affinity["nodeSelectorTerms"]
    expressions: list[Any] = term["matchExpressions"]
    return expressions


def _configs(manifests: tuple[Manifest, ...]) -> dict[str, Any]:
    (config_map,) = by_name(manifests, "ConfigMap").values()
    return {name: yaml.safe_load(text) for name, text in config_map["data"].items()}


def _main(pod: Any) -> Any:
    return pod["spec"]["containers"][0]


def _powers(pod: Any) -> Any:
    return _main(pod)["securityContext"].get("capabilities", {}).get("add", [])


def test_it_runs_where_a_pool_asks_for_it_whatever_its_taints(render_chart: RenderChart) -> None:
    pod = _pod(render_chart(CHART), PLUGIN)
    assert _expressions(pod) == [{"key": "drydock.dev/nvidia-device-plugin", "operator": "In", "values": ["chart"]}]
    assert pod["spec"]["tolerations"] == [{"operator": "Exists"}]
    assert pod["spec"]["priorityClassName"] == "system-node-critical"
    assert "runtimeClassName" not in pod["spec"]


def test_auto_mode_brings_its_own(render_chart: RenderChart) -> None:
    auto_mode = {"global": {"autoMode": {"enabled": True}}, "gpuFeatureDiscovery": {"enabled": True}}
    assert render_chart(CHART, {**SHARED_BY_MPS, **auto_mode}) == ()


def test_whole_gpus_unless_a_node_says_otherwise(render_chart: RenderChart) -> None:
    manifests = render_chart(CHART)
    assert _configs(manifests)["whole"] == {"version": "v1", "flags": {"migStrategy": "none"}}
    assert _configs(manifests)["time-slicing"]["sharing"] == {
        "timeSlicing": {
            "renameByDefault": False,
            "failRequestsGreaterThanOne": True,
            "resources": [{"name": "nvidia.com/gpu", "replicas": 4}],
        }
    }
    pod = _pod(manifests, PLUGIN)
    managers = [each for each in _all_containers(pod) if each["command"] == ["config-manager"]]
    assert len(managers) == 2
    for manager in managers:
        environment = {each["name"]: each.get("value") for each in manager["env"]}
        assert environment["NODE_LABEL"] == CONFIG_LABEL
        assert environment["DEFAULT_CONFIG"] == "whole"
        assert [environment["PROCESS_TO_SIGNAL"]] == _main(pod)["command"]


def _all_containers(pod: Any) -> list[Any]:
    return [*pod["spec"]["initContainers"], *pod["spec"]["containers"]]


def test_mig_strategies(render_chart: RenderChart) -> None:
    mig = {"sharing": {"strategy": "time-slicing", "replicas": 2, "resource": "nvidia.com/mig-1g.10gb"}}
    manifests = render_chart(CHART, {"configs": {"cut": {"migStrategy": "mixed", **mig}}})
    config = _configs(manifests)["cut"]
    assert config["flags"] == {"migStrategy": "mixed"}
    assert config["sharing"]["timeSlicing"]["resources"] == [{"name": "nvidia.com/mig-1g.10gb", "replicas": 2}]


def test_no_more_powers_than_the_configs_need(render_chart: RenderChart) -> None:
    pod = _pod(render_chart(CHART), PLUGIN)
    assert _main(pod)["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert {each["name"] for each in pod["spec"]["volumes"]} == {
        "kubelet-device-plugins",
        "available-configs",
        "config",
    }
    assert not by_name(render_chart(CHART), "DaemonSet").keys() & {MPS, DISCOVERY}
    with_mig = _pod(render_chart(CHART, {"configs": {"mig": {"migStrategy": "single"}}}), PLUGIN)
    assert _powers(with_mig) == ["SYS_ADMIN"]
    assert {"name": "NVIDIA_MIG_MONITOR_DEVICES", "value": "all"} in _main(with_mig)["env"]


@pytest.mark.parametrize(
    ("values", "expression"),
    [
        ({}, {"key": CONFIG_LABEL, "operator": "In", "values": ["mps"]}),
        ({"defaultConfig": "mps"}, {"key": CONFIG_LABEL, "operator": "NotIn", "values": ["time-slicing", "whole"]}),
        ({"defaultConfig": "mps", "configs": {"whole": None, "time-slicing": None, **SHARED_BY_MPS["configs"]}}, None),
    ],
)
def test_the_mps_control_daemon_runs_beside_its_configs(
    render_chart: RenderChart, values: Mapping[str, Any], expression: Any
) -> None:
    manifests = render_chart(CHART, {**SHARED_BY_MPS, **values})
    assert _configs(manifests)["mps"]["sharing"]["mps"]["resources"] == [{"name": "nvidia.com/gpu", "replicas": 4}]
    daemon = _pod(manifests, MPS)
    assert _expressions(daemon)[1:] == ([expression] if expression else [])
    assert daemon["spec"]["hostPID"] is True
    mounts = {each["name"] for each in _main(_pod(manifests, PLUGIN))["volumeMounts"]}
    assert {"mps-root", "mps-shm"} <= mounts


def test_feature_discovery_may_write_node_features(render_chart: RenderChart) -> None:
    manifests = render_chart(CHART, {"gpuFeatureDiscovery": {"enabled": True, "sleepInterval": "5m"}})
    pod = _pod(manifests, DISCOVERY)
    environment = {each["name"]: each.get("value") for each in _main(pod)["env"]}
    assert environment["GFD_SLEEP_INTERVAL"] == "5m"
    (role,) = by_name(manifests, "Role").values()
    assert {"nodefeatures"} == set(role["rules"][0]["resources"])
    assert pod["spec"]["serviceAccountName"] in by_name(manifests, "ServiceAccount")
    (binding,) = by_name(manifests, "ClusterRoleBinding").values()
    assert {each["name"] for each in binding["subjects"]} == {PLUGIN, DISCOVERY}


def test_a_changed_config_restarts_the_pods_that_read_it(render_chart: RenderChart) -> None:
    def checksums(replicas: int) -> set[str]:
        slices = {"time-slicing": {"sharing": {"replicas": replicas}}, **SHARED_BY_MPS["configs"]}
        manifests = render_chart(CHART, {**SHARED_BY_MPS, "configs": slices, "gpuFeatureDiscovery": {"enabled": True}})
        pods = [each["spec"]["template"] for each in by_name(manifests, "DaemonSet").values()]
        assert len(pods) == 3
        return {pod["metadata"]["annotations"]["checksum/configs"] for pod in pods}

    assert len(checksums(4)) == 1
    assert checksums(4) == checksums(4)
    assert checksums(4) != checksums(8)


def test_images_and_namespace(render_chart: RenderChart) -> None:
    values = {
        "namespace": "",
        **SHARED_BY_MPS,
        "global": {"imageRegistry": "own.example", "imagePullSecrets": ["pull"], **SHARED_BY_MPS["global"]},
        "gpuFeatureDiscovery": {"enabled": True},
    }
    manifests = render_chart(CHART, values, namespace="elsewhere")
    for name in PLUGIN, MPS, DISCOVERY:
        pod = _pod(manifests, name)
        assert {each["image"] for each in _all_containers(pod)} == {"own.example/nvidia/k8s-device-plugin:v0.20.0"}
        assert pod["spec"]["imagePullSecrets"] == [{"name": "pull"}]
    assert {each.namespace for each in manifests if not each.kind.startswith("Cluster")} == {"elsewhere"}
    assert by_name(render_chart(CHART), "DaemonSet")[PLUGIN]["metadata"]["namespace"] == "kube-system"


def test_both_helms_give_the_same_objects(render_chart: RenderChart) -> None:
    values = {"gpuFeatureDiscovery": {"enabled": True}, **SHARED_BY_MPS}
    assert render_chart(CHART, values, helm="helm3") == render_chart(CHART, values, helm="helm4")


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"defaultConfig": "half"}, "defaultConfig: there is no 'half' under configs: set one of time-slicing, whole"),
        ({"configs": {"x": {"sharing": {"strategy": "mps"}}}}, r"configs\.x\.sharing\.replicas: mps shares a GPU"),
        ({"configs": {"x": {"sharing": {"replicas": 3}}}}, r"configs\.x\.sharing\.strategy: 3 replicas need a way"),
        (
            {"configs": {"x": {"migStrategy": "single", "sharing": {"strategy": "mps", "replicas": 2}}}},
            r"configs\.x\.migStrategy: MPS works on whole GPUs only",
        ),
        (
            {"configs": {"x": {"sharing": {"strategy": "mps", "replicas": 2, "resource": "nvidia.com/mig-1g.10gb"}}}},
            r"configs\.x\.sharing\.resource: MPS shares nvidia\.com/gpu only",
        ),
        (
            {"configs": {"x": {"sharing": {"strategy": "mps", "replicas": 2}}}},
            r"configs\.x\.sharing\.strategy: .*set global\.mpsSharing\.x to true",
        ),
        ({"image": {"tag": "latest"}}, "latest can change under a running release"),
        ({"configs": {"x": {"shares": 2}}}, r"/configs/x.*additional properties 'shares' not allowed"),
    ],
)
def test_settings_that_cannot_work(render_chart: RenderChart, values: Mapping[str, Any], reason: str) -> None:
    with pytest.raises(RenderError, match=reason):
        render_chart(CHART, values)
