"""Every example of the charts' pages does what the page says (docs/development/documentation.md)."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from drydock.checks.findings import Severity
from drydock.checks.validate import TOOLS, validate
from drydock.progress import SilentProgress
from drydock.project import UMBRELLA, Project
from drydock.suite.charts import AssembledCharts, assemble_charts, chart_names
from drydock.suite.environments import load_environment
from drydock.suite.render import render_chart
from drydock.tools.schemas import ensure_schemas
from tests.charts.documented_values import merged
from tests.documentation.pages import BLOCKS, CHART_PAGES, Block

SAMPLES = Path(__file__).parent / "value_samples"


EXAMPLES = [block for block in BLOCKS if block.page in CHART_PAGES and block.language not in ("console", "text")]


def _chart(example: Block) -> str:
    return example.page.parent.name


def _values(example: Block, charts: tuple[str, ...]) -> dict[str, Any]:
    """The values as the umbrella takes them."""
    chart, content = _chart(example), yaml.safe_load(example.content)
    if chart in (UMBRELLA, "app-of-apps") or set(content) <= {*charts, "global"}:
        return dict(content)
    return {chart: {"enabled": True, **content}}


def _in_environments() -> list[Block]:
    return [example for example in EXAMPLES if "environment" in example.how]


def test_every_block_says_how_it_is_held_to_what_it_shows() -> None:
    loose = [
        example.name
        for example in EXAMPLES
        if example.language != "gotemplate" and not {"environment", "chart", "not-run"} & set(example.how)
    ]
    assert not loose
    assert len(_in_environments()) > 10


@dataclass
class Stack:
    """Examples that fit together on one environment, which are validated at once.

    Attributes:
        environment: name of the environment.
        examples: on top of it.
        values: of all of them.
    """

    environment: str
    examples: list[Block] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.environment} with {', '.join(example.name for example in self.examples) or 'nothing'}"


def stacks(charts: tuple[str, ...]) -> list[Stack]:
    """Each environment bare, and each example in the first stack with whose values its own agree."""
    bare = [Stack(name) for name in sorted({example.how["environment"] for example in _in_environments()})]
    found: list[Stack] = []
    for example in _in_environments():
        name, values = example.how["environment"], _values(example, charts)
        stack = next((each for each in found if each.environment == name and _agree(each.values, values)), None)
        if stack is None:
            stack = Stack(name)
            found.append(stack)
        stack.examples.append(example)
        stack.values = merged(stack.values, values)
    return [*bare, *found]


def _agree(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return all(_agree(value, other[key]) for key, value in one.items() if key in other)
    return bool(one == other)


def test_nothing_is_wrong_with_the_examples_on_their_environments(
    tmp_path: Path, drydock_project: Project, drydock_tool: Callable[[str], Path]
) -> None:
    environments = []
    for number, stack in enumerate(stacks(chart_names(drydock_project))):
        file = tmp_path / f"{number}.yaml"
        file.write_text(json.dumps(stack.values))
        environment = load_environment(drydock_project, stack.environment).stacked([file], [])
        environments.append(replace(environment, name=stack.name))
    findings = validate(
        drydock_project,
        {name: drydock_tool(name) for name in TOOLS},
        environments,
        assemble_charts(drydock_project),
        progress=SilentProgress(),
        schemas=ensure_schemas(drydock_project, SilentProgress()),
    )
    known = {(finding.check, finding.reason) for finding in findings if finding.environment.endswith("with nothing")}
    wrong = [
        f"{finding.environment}: {finding.severity}: {finding.check}: {finding.reason} {finding.remedy}"
        for finding in findings
        if finding.severity != Severity.NOTE and (finding.check, finding.reason) not in known
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "example", [each for each in EXAMPLES if "chart" in each.how], ids=lambda example: example.name
)
def test_a_chart_renders_with_an_example(
    tmp_path: Path, drydock_charts: AssembledCharts, drydock_tool: Callable[[str], Path], example: Block
) -> None:
    needed, file = tmp_path / "needed.yaml", tmp_path / "example.yaml"
    needed.write_text(
        yaml.safe_dump(yaml.safe_load((SAMPLES / f"{_chart(example)}.yaml").read_text()).get("base") or {})
    )
    file.write_text(example.content)
    assert render_chart(drydock_tool("helm4"), drydock_charts.chart(_chart(example)), values_files=[needed, file])


def test_a_template_of_the_page_renders_in_a_chart_that_has_the_library(
    tmp_path: Path, drydock_charts: AssembledCharts, drydock_tool: Callable[[str], Path]
) -> None:
    (example,) = [example for example in EXAMPLES if example.language == "gotemplate"]
    folder = tmp_path / "own"
    (folder / "templates").mkdir(parents=True)
    shutil.copytree(drydock_charts.chart(_chart(example)), folder / "charts" / _chart(example))
    (folder / "Chart.yaml").write_text("apiVersion: v2\nname: own\nversion: 0.1.0\n")
    (folder / "values.yaml").write_text("image: {repository: own/engine, tag: v1}\nresources: {}\n")
    (folder / "templates" / "pod.yaml").write_text(f"kind: Pod\nmetadata: {{name: one}}\n{example.content}")
    (pod,) = render_chart(drydock_tool("helm4"), folder)
    (engine,) = pod.content["spec"]["containers"]
    assert (engine["image"], engine["resources"]["limits"]) == ("own/engine:v1", {"nvidia.com/gpu": "2"})
    assert pod.content["spec"]["nodeSelector"] == {"karpenter.sh/nodepool": "gpu"}
