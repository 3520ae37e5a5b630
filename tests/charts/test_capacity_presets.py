"""values/capacity: presets to stack on an environment."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from drydock.errors import RenderError
from drydock.project import UMBRELLA, Project
from drydock.suite.manifests import Manifest
from drydock.testing.pytest_plugin import RenderChart
from tests.charts.objects import by_name, requirements, taints

CAPACITY_TYPE = "karpenter.sh/capacity-type"


def _on_top(
    render_chart: RenderChart, project: Project, preset: str, *, auto_mode: bool = False, age: str = ""
) -> tuple[Manifest, ...]:
    values: Any = yaml.safe_load((project.values_dir / "capacity" / f"{preset}.yaml").read_text())
    if age:
        values["karpenter-nodepools"]["nodePools"]["gpu-reserved"]["expireAfter"] = age
    globals_ = {"clusterName": "dev", "autoMode": {"enabled": auto_mode}}
    return render_chart(UMBRELLA, {"global": globals_, **values})


def _files() -> list[str]:
    return sorted(file.stem for file in (Path(__file__).parents[2] / "values" / "capacity").glob("*.yaml"))


@pytest.mark.parametrize("preset", _files())
def test_a_preset_keeps_what_it_does_not_name(render_chart: RenderChart, drydock_project: Project, preset: str) -> None:
    manifests = _on_top(render_chart, drydock_project, preset)
    assert {"system-cpu", "general-cpu", "gpu", "neuron"} <= set(by_name(manifests, "NodePool"))
    assert {"cpu", "gpu", "neuron"} <= set(by_name(manifests, "EC2NodeClass"))


def test_spot_first(render_chart: RenderChart, drydock_project: Project) -> None:
    for auto_mode in False, True:
        pools = by_name(_on_top(render_chart, drydock_project, "spot-first", auto_mode=auto_mode), "NodePool")
        for name in "gpu", "neuron", "general-cpu":
            assert requirements(pools[name])[CAPACITY_TYPE]["values"] == ["spot", "on-demand"]
        assert requirements(pools["system-cpu"])[CAPACITY_TYPE]["values"] == ["on-demand"]


def test_capacity_block(render_chart: RenderChart, drydock_project: Project) -> None:
    with pytest.raises(RenderError, match="set 480h or less in place of Never"):
        _on_top(render_chart, drydock_project, "capacity-block", auto_mode=True)
    for auto_mode, kind, age in (False, "EC2NodeClass", ""), (True, "NodeClass", "480h"):
        manifests = _on_top(render_chart, drydock_project, "capacity-block", auto_mode=auto_mode, age=age)
        pools = by_name(manifests, "NodePool")
        pool = pools["gpu-reserved"]
        assert requirements(pool)[CAPACITY_TYPE]["values"] == ["reserved"]
        assert taints(pool) == {"nvidia.com/gpu": "NoSchedule"}
        assert pool["spec"]["weight"] > max(each["spec"].get("weight", 0) for each in (pools["gpu"], pools["neuron"]))
        spec = by_name(manifests, kind)["gpu-reserved"]["spec"]
        assert spec["capacityReservationSelectorTerms"] == [{"tags": {"genai-platform": "gpu-reserved"}}]


def test_efa_cluster(render_chart: RenderChart, drydock_project: Project) -> None:
    manifests = _on_top(render_chart, drydock_project, "efa-cluster")
    spec = by_name(manifests, "EC2NodeClass")["gpu-efa"]["spec"]
    assert spec["placementGroupSelector"] == {"name": "genai-efa"}
    assert sum(each["interfaceType"] == "efa-only" for each in spec["networkInterfaces"]) == 32
    pool = by_name(manifests, "NodePool")["gpu-efa"]
    assert pool["spec"]["template"]["spec"]["nodeClassRef"]["name"] == "gpu-efa"
    with pytest.raises(RenderError, match="Auto Mode's NodeClass has none"):
        _on_top(render_chart, drydock_project, "efa-cluster", auto_mode=True)
