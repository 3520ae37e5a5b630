"""Each documented value changes what a chart renders, and each value is documented."""

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from drydock.errors import ToolError
from drydock.project import UMBRELLA, Project
from drydock.suite.charts import AssembledCharts, chart_names
from drydock.suite.render import helm_reason, template_command
from drydock.tools import process
from tests.charts.documented_values import TRIED_ELSEWHERE, Change, Documented, branches, properties, starts_with, steps

SAMPLES = Path(__file__).parent / "value_samples"
CHARTS = (
    "app-of-apps",
    "argo",
    "container-insights",
    "crds",
    "genai-platform",
    "jupyterhub",
    "karpenter-nodepools",
    "kuberay",
    "loadtest",
    "model-gateway",
    "efa-device-plugin",
    "neuron-device-plugin",
    "nvidia-device-plugin",
    "tenancy",
    "vllm",
)
HELMS_OWN = ("common",)
"""Keys that a chart has because Helm hands its globals to a chart within it; there is nothing to set."""
NOT_ITS_OWN = {
    "app-of-apps": (
        *("accepted", "account", "cluster", "eks", "global", "kind"),
        *("install", "load", "manifests", "objectives", "releases", "suite"),
    )
}
"""Keys of a values file that another program reads as well, which the chart lets through."""


def _documented(project: Project, chart: str) -> Documented:
    folder = project.charts_dir / chart
    defaults = yaml.load((folder / "values.yaml").read_text(), yaml.CSafeLoader)
    schema = json.loads((folder / "values.schema.json").read_text())
    return Documented(defaults, schema, yaml.load((SAMPLES / f"{chart}.yaml").read_text(), yaml.CSafeLoader))


class Renderer:
    """Renders many values of one chart side by side, each once."""

    def __init__(self, helm: Path, charts: AssembledCharts, chart: str, folder: Path) -> None:
        self.helm = helm
        self.charts = charts
        self.chart = chart
        self.folder = folder

    def outputs(self, trees: Sequence[Mapping[str, Any]]) -> Iterator[str]:
        """What each tree of values gives: objects, or the reason why not after `!`."""
        keys = [json.dumps(tree, sort_keys=True) for tree in trees]
        unique = list(dict.fromkeys(keys))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            found = dict(zip(unique, pool.map(self._output, range(len(unique)), unique), strict=True))
        return (found[key] for key in keys)

    def _output(self, number: int, tree: str) -> str:
        file = self.folder / f"{number}.json"
        # `enabled` of a chart is a condition of the umbrella, which alone can show what it does.
        whole = self.chart in (UMBRELLA, "crds") or json.loads(tree).get("enabled") is not None
        content = json.loads(tree)
        if whole and self.chart != UMBRELLA:
            content = {"global": content.pop("global", {}), self.chart: content}
        file.write_text(json.dumps(content))
        chart = self.charts.umbrella if whole else self.charts.chart(self.chart)
        command = template_command(self.helm, chart, ["-f", str(file), "--include-crds"], namespace="genai")
        try:
            return process.run(command, env=process.SHORT_LIVED).stdout
        except ToolError as error:
            return f"!{helm_reason(error.stderr)}"


@pytest.mark.slow
@pytest.mark.parametrize("chart", CHARTS)
@pytest.mark.usefixtures("crd_folders")
def test_each_documented_value_changes_the_output(
    tmp_path: Path,
    drydock_project: Project,
    drydock_charts: AssembledCharts,
    drydock_tool: Callable[[str], Path],
    chart: str,
) -> None:
    documented = _documented(drydock_project, chart)
    changes = [_through_umbrella(each, chart) for each in documented.changes()]
    renderer = Renderer(drydock_tool("helm4"), drydock_charts, chart, tmp_path)
    outputs = list(renderer.outputs([tree for change in changes for tree in (change.before, change.after)]))
    wrong = [
        f"{change.name}: {before if before.startswith('!') else after if after.startswith('!') else 'nothing changes'}"
        for change, before, after in zip(changes, outputs[::2], outputs[1::2], strict=True)
        if before == after or "!" in (before[:1], after[:1])
    ]
    assert not wrong, "\n".join(wrong)
    assert not _undocumented(documented, chart, changes)


def _through_umbrella(change: Change, chart: str) -> Change:
    if change.path != ("enabled",) or chart == UMBRELLA:
        return change
    return Change(change.path, {**change.before, "enabled": True}, change.after)


def _undocumented(documented: Documented, chart: str, changes: Sequence[Change]) -> list[str]:
    """Properties of the schema that no change has touched."""
    touched = {(id(around), key) for change in changes for around, key, _ in steps(documented.schema, change.path)}
    return [
        path
        for around, key, path in properties(documented.schema, but=TRIED_ELSEWHERE)
        if (id(around), key) not in touched and not _is_helms_own(path, chart)
    ]


def _is_helms_own(path: str, chart: str) -> bool:
    """The library chart's globals, and globals of a chart within another; those of all charts are the umbrella's."""
    top = path.partition(".")[0]
    return top in (*HELMS_OWN, *NOT_ITS_OWN.get(chart, ())) or (
        chart != UMBRELLA and re.match(r"([\w-]+\.)?global\b", path) is not None
    )


@pytest.mark.parametrize("chart", CHARTS)
def test_schemas_are_closed_and_say_what_each_value_is(drydock_project: Project, chart: str) -> None:
    schema = json.loads((drydock_project.charts_dir / chart / "values.schema.json").read_text())
    open_objects = [
        path
        for around, key, path in properties(schema)
        for each in branches(around["properties"][key], schema)
        if "properties" in each and each.get("additionalProperties") is not False and not _may_be_open(path, chart)
    ]
    assert not open_objects
    assert schema["additionalProperties"] is False
    untold = [
        path
        for around, key, path in properties(schema)
        if not any(
            "description" in branch or "properties" in branch for branch in branches(around["properties"][key], schema)
        )
    ]
    assert not untold


def _may_be_open(path: str, chart: str) -> bool:
    """Globals may hold those of other charts; a chart within the umbrella has a schema of its own."""
    return path == "global" or (chart == UMBRELLA and "." not in path)


def test_every_sample_belongs_to_a_chart(drydock_project: Project) -> None:
    assert {file.stem for file in SAMPLES.glob("*.yaml")} == set(CHARTS)
    assert set(CHARTS) == set(chart_names(drydock_project)) - {"common"}
    for chart in CHARTS:
        documented = _documented(drydock_project, chart)
        changes = list(documented.changes())
        for context in documented.samples.get("contexts") or ():
            for prefix in context["for"]:
                assert any(starts_with(each.path, prefix) for each in changes), f"{chart}: nothing at {prefix}"
