"""Every environment of values/environments renders, the same each time and by every way."""

import datetime
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from drydock.errors import RenderError
from drydock.project import UMBRELLA, Project
from drydock.suite.aws_facts import supported_versions
from drydock.suite.charts import AssembledCharts
from drydock.suite.environments import environment_names, load_environment
from drydock.suite.manifests import Manifest, parse_manifests
from drydock.suite.render import render, template_command
from drydock.testing.pytest_plugin import RenderEnvironment
from drydock.tools import process
from tests.conftest import ROOT, Drydock

NAMES = environment_names(Project(ROOT, ROOT))


@pytest.fixture(scope="module")
def plain_chart(
    drydock_project: Project, tmp_path_factory: pytest.TempPathFactory, drydock_tool: Callable[[str], Path]
) -> Path:
    """The umbrella as Helm itself puts it together."""
    folder = tmp_path_factory.mktemp("plain") / "charts"
    shutil.copytree(drydock_project.charts_dir, folder)
    process.run([str(drydock_tool("helm4")), "dependency", "update", str(folder / UMBRELLA)])
    return folder / UMBRELLA


def contents(manifests: Sequence[Manifest]) -> list[object]:
    return [each.content for each in manifests]


def test_the_environments_that_the_documentation_names_are_there() -> None:
    assert set(NAMES) >= {"dev", "prod", "auto-mode", "airgap"}
    page = (ROOT / "docs" / "environments.md").read_text()
    assert [name for name in NAMES if f"`{name}`" not in page] == []


@pytest.mark.parametrize("name", NAMES)
def test_an_environment_renders_to_the_same_bytes_each_time(render_environment: RenderEnvironment, name: str) -> None:
    first, second = render_environment(name), render_environment(name)
    assert first.of_kind("Deployment")
    assert [each.text for each in first.manifests] == [each.text for each in second.manifests]


@pytest.mark.parametrize("name", NAMES)
def test_helm_3_and_4_agree(render_environment: RenderEnvironment, name: str) -> None:
    three, four = (render_environment(name, helm=helm).manifests for helm in ("helm3", "helm4"))
    assert contents(three) == contents(four)


@pytest.mark.parametrize("name", NAMES)
def test_plain_helm_gives_the_same_objects(
    render_environment: RenderEnvironment,
    drydock_project: Project,
    drydock_tool: Callable[[str], Path],
    plain_chart: Path,
    name: str,
) -> None:
    environment = load_environment(drydock_project, name)
    command = template_command(
        drydock_tool("helm4"), plain_chart, environment.helm_arguments(), namespace=environment.namespace
    )
    plain = parse_manifests(process.run(command).stdout)
    assert contents(plain) == contents(render_environment(name).manifests)


def test_every_environment_validates(drydock: Drydock) -> None:
    finished = drydock("validate", *NAMES)
    assert finished.returncode == 0, finished.stdout + finished.stderr


@pytest.mark.parametrize("minor", supported_versions(datetime.date(2026, 11, 30)))
@pytest.mark.parametrize("name", environment_names(Project(ROOT, ROOT)))
def test_it_renders_at_each_kubernetes_that_the_charts_and_eks_support(
    drydock_project: Project,
    drydock_charts: AssembledCharts,
    drydock_tool: Callable[[str], Path],
    name: str,
    minor: str,
) -> None:
    environment = replace(load_environment(drydock_project, name), cluster={"kubernetes": minor})
    if minor == "1.32":  # older than `kubeVersion` of the charts
        with pytest.raises(RenderError, match="incompatible with Kubernetes"):
            render(drydock_tool("helm4"), drydock_charts, environment)
    else:
        assert render(drydock_tool("helm4"), drydock_charts, environment).manifests


def test_objects_of_a_list_are_objects() -> None:
    rendered = """---
# Source: own/templates/all.yaml
apiVersion: v1
kind: List
items:
  - {apiVersion: v1, kind: Service, metadata: {name: open}, spec: {type: LoadBalancer}}
  - {apiVersion: v1, kind: ConfigMap, metadata: {name: own}}
"""
    found = parse_manifests(rendered)
    assert [each.identity for each in found] == ["ConfigMap/own", "Service/open"]
    assert [yaml.safe_load(each.text) for each in found] == [each.content for each in found]
