"""The umbrella chart."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from drydock.errors import RenderError
from drydock.project import UMBRELLA, Project
from drydock.suite.charts import AssembledCharts, assemble_charts, chart_names
from drydock.suite.package import package_charts
from drydock.suite.render import render_chart as render_chart_at
from drydock.testing.pytest_plugin import RenderChart
from drydock.tools import process
from tests.charts.objects import by_name

MODELS: dict[str, Any] = {
    "vllm": {
        "models": {
            "small": {
                "source": {"huggingFace": {"id": "org/small", "gated": True}, "size": "15Gi"},
                "accelerator": {"kind": "nvidia", "count": 1, "pool": "gpu"},
            }
        }
    }
}
VALUES: dict[str, Any] = {"global": {"clusterName": "dev"}, **MODELS}
BESIDE = ("app-of-apps", "loadtest")
"""Charts that are not part of the platform: Argo CD's view of it."""
TOGGLES = {
    "karpenter-nodepools": "NodePool",
    "nvidia-device-plugin": "DaemonSet",
    "vllm": "Deployment",
}


def _notes(helm: Path, charts: AssembledCharts, values: Path) -> str:
    install = ["install", "genai", str(charts.umbrella), "--namespace", "genai", "--dry-run=client", "-f", str(values)]
    return process.run([str(helm), *install]).stdout.partition("NOTES:")[2]


@pytest.mark.parametrize(("chart", "kind"), TOGGLES.items())
def test_each_chart_can_be_turned_off(render_chart: RenderChart, chart: str, kind: str) -> None:
    assert by_name(render_chart(UMBRELLA, VALUES), kind)
    without = {**VALUES, chart: {**VALUES.get(chart, {}), "enabled": False}}
    rest = render_chart(UMBRELLA, without)
    assert chart not in {each.chart for each in rest}
    assert rest


def test_every_chart_of_the_suite_is_part_of_it(drydock_project: Project) -> None:
    metadata = yaml.safe_load((drydock_project.charts_dir / UMBRELLA / "Chart.yaml").read_text())
    dependencies = {each["name"]: each for each in metadata["dependencies"]}
    assert set(dependencies) == set(chart_names(drydock_project)) - {UMBRELLA, *BESIDE}
    for name, dependency in dependencies.items():
        assert dependency["repository"] == f"file://../{name}"
        assert dependency.get("condition", f"{name}.enabled") == f"{name}.enabled"
        own = yaml.safe_load((drydock_project.charts_dir / name / "Chart.yaml").read_text())
        assert dependency["version"] == own["version"]


def test_globals_reach_every_chart(render_chart: RenderChart) -> None:
    globals_ = {
        "clusterName": "other",
        "imageRegistry": "own.example",
        "imagePullSecrets": ["pull"],
        "zones": ["eu-west-1a"],
        "tags": {"team": "ml"},
    }
    manifests = render_chart(UMBRELLA, {"global": globals_, **MODELS})
    for kind in "Deployment", "DaemonSet":
        for workload in by_name(manifests, kind).values():
            pod = workload["spec"]["template"]["spec"]
            assert pod["imagePullSecrets"] == [{"name": "pull"}]
            assert {each["image"].partition("/")[0] for each in pod["containers"]} == {"own.example"}
    assert by_name(manifests, "EC2NodeClass")["cpu"]["spec"]["role"] == "KarpenterNodeRole-other"


@pytest.mark.parametrize("helm", ["helm3", "helm4"])
def test_one_dependency_update_is_enough_for_plain_helm(
    tmp_path: Path,
    drydock_project: Project,
    drydock_tool: Callable[[str], Path],
    render_chart: RenderChart,
    helm: str,
) -> None:
    checkout = tmp_path / "charts"
    shutil.copytree(drydock_project.charts_dir, checkout, ignore=shutil.ignore_patterns("*.tgz", "Chart.lock"))
    umbrella = checkout / UMBRELLA
    process.run([str(drydock_tool(helm)), "dependency", "update", str(umbrella)])
    values = tmp_path / "mine.yaml"
    values.write_text(yaml.safe_dump(VALUES))
    packaged = render_chart_at(drydock_tool(helm), umbrella, values_files=[values])
    assert _without_source(packaged) == _without_source(render_chart(UMBRELLA, VALUES, helm=helm))


def test_packages_give_the_same_objects(
    tmp_path: Path, drydock_project: Project, drydock_tool: Callable[[str], Path], render_chart: RenderChart
) -> None:
    archives = package_charts(assemble_charts(drydock_project), tmp_path / "packages")
    (umbrella,) = [each.file for each in archives if each.file.name.startswith(UMBRELLA)]
    values = tmp_path / "mine.yaml"
    values.write_text(yaml.safe_dump(VALUES))
    packaged = render_chart_at(drydock_tool("helm4"), umbrella, values_files=[values])
    assert _without_source(packaged) == _without_source(render_chart(UMBRELLA, VALUES))


def _without_source(manifests: Any) -> list[tuple[str, Any]]:
    return [(each.identity, each.content) for each in manifests]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"vlm": {}}, "additional properties 'vlm' not allowed"),
        ({"global": {"zones": "us-west-2a"}}, "/global/zones.*want array"),
        ({"global": {"autoMode": {"on": True}}}, "/global/autoMode.*additional properties 'on' not allowed"),
        ({"karpenter-nodepools": {"pools": {}}}, "additional properties 'pools' not allowed"),
    ],
)
def test_misspelt_keys_are_errors(render_chart: RenderChart, values: Mapping[str, Any], reason: str) -> None:
    with pytest.raises(RenderError, match=f"(?s){reason}"):
        render_chart(UMBRELLA, {**VALUES, **values})


def test_a_pool_whose_gpu_settings_do_not_exist_is_refused(render_chart: RenderChart) -> None:
    def pools(config: str) -> dict[str, Any]:
        labels = {"nvidia.com/device-plugin.config": config}
        return {**VALUES, "karpenter-nodepools": {"nodePools": {"gpu": {"labels": labels}}}}

    assert render_chart(UMBRELLA, pools("time-slicing"))
    reason = r"nodePools\.gpu\.labels: .* names 'halves', which is no entry of nvidia-device-plugin\.configs"
    with pytest.raises(RenderError, match=reason):
        render_chart(UMBRELLA, pools("halves"))
    without = {**pools("halves"), "nvidia-device-plugin": {"enabled": False}}
    assert render_chart(UMBRELLA, without)


def test_a_model_whose_key_the_gateway_does_not_have_is_refused(render_chart: RenderChart) -> None:
    with_key = {"vllm": {**MODELS["vllm"], "modelDefaults": {"any": {"apiKeySecret": {"name": "engine"}}}}}
    values = {**VALUES, **with_key, "model-gateway": {"enabled": True}}
    with pytest.raises(
        RenderError, match=r"model small asks for the key api_key of Secret engine, which the gateway has"
    ):
        render_chart(UMBRELLA, values)
    values["model-gateway"]["modelKeySecrets"] = {"engine": ["api_key"]}
    assert render_chart(UMBRELLA, values)


def test_the_notes_say_what_to_do_next(
    tmp_path: Path, drydock_charts: AssembledCharts, drydock_tool: Callable[[str], Path]
) -> None:
    values = tmp_path / "mine.yaml"
    static = {"nodePools": {"gpu": {"replicas": 1, "limits": {"nvidia.com/gpu": None}}}}
    values.write_text(yaml.safe_dump({**VALUES, "karpenter-nodepools": static}))
    notes = _notes(drydock_tool("helm4"), drydock_charts, values)
    assert "port-forward service/genai-vllm-small 8000:" in notes
    assert "hf-secret, key hf_api_token" in notes
    assert "kubectl get nodepools,nodeclaims" in notes
    assert "StaticCapacity has to be on for: gpu" in notes
    assert "drydock crds upgrade" in notes
    values.write_text(yaml.safe_dump({"global": {"clusterName": "dev", "autoMode": {"enabled": True}}}))
    notes = _notes(drydock_tool("helm4"), drydock_charts, values)
    assert "AmazonEKSAutoNodePolicy" in notes
    assert "No model is served yet" in notes
