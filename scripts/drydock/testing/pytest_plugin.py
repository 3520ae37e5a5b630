"""Fixtures for tests of the suite's charts, and for a platform team's own (docs/pytest.md).

Installed with the package; pytest finds it by its entry point.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest
import yaml

from drydock.progress import PlainProgress
from drydock.project import Project
from drydock.suite.charts import AssembledCharts, assemble_charts
from drydock.suite.environments import load_environment
from drydock.suite.manifests import Manifest
from drydock.suite.render import RenderedEnvironment, render, render_chart
from drydock.testing import cluster_fixtures, integration

if TYPE_CHECKING:
    from drydock.rehearsal.cluster import RehearsalCluster
    from drydock.rehearsal.release import Release


def pytest_addoption(parser: pytest.Parser) -> None:
    """Which environment integration tests are for, and what its cluster lacks."""
    group = parser.getgroup("drydock")
    group.addoption("--drydock-environment", default="dev", help="Environment of integration tests (dev).")
    group.addoption(
        "--target-lacks", action="append", default=[], metavar="MARK", help="Deselect integration tests with this mark."
    )
    group.addoption("--kube-config", help="The same as --kubeconfig of pytest-helm-charts.")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marks, and register the fixtures that go before those of pytest-helm-charts."""
    for name, meaning in integration.MARKS.items():
        config.addinivalue_line("markers", f"{name}: {meaning}")
    if given := config.getoption("kube_config"):
        config.option.kubeconfig = given
    # pytest-helm-charts wraps fixtures of its own in a way that pytest warns of in every run
    config.addinivalue_line("filterwarnings", "ignore:cannot discover fixture:pytest.PytestWarning")
    config.pluginmanager.register(cluster_fixtures, "drydock-cluster")


def pytest_report_header(config: pytest.Config) -> Sequence[str]:
    """Where integration tests run."""
    return integration.header(config)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what the target cannot do."""
    integration.deselect(config, items)


class RenderChart(Protocol):
    """Renders one chart alone."""

    def __call__(
        self, chart: str, values: Mapping[str, Any] | None = None, *, namespace: str = "genai", helm: str = "helm4"
    ) -> tuple[Manifest, ...]:
        """The objects that `values` give; RenderError when Helm refuses."""


class RenderEnvironment(Protocol):
    """Renders the umbrella for an environment."""

    def __call__(
        self, name: str, files: Sequence[Path] = (), set_values: Sequence[str] = (), *, helm: str = "helm4"
    ) -> RenderedEnvironment:
        """The environment's objects, with more values files and `--set` pairs on top."""


@pytest.fixture(scope="session")
def drydock_project() -> Project:
    """The suite under test: $DRYDOCK_PROJECT, or the folder pytest runs in or a parent of it."""
    return Project.discover()


@pytest.fixture(scope="session")
def drydock_tool(drydock_project: Project) -> Callable[[str], Path]:
    """Path of a pinned tool by its name, built when it is missing."""
    from drydock.tools.build import ensure

    return lambda name: ensure(drydock_project, [name], PlainProgress())[name]


@pytest.fixture
def drydock_charts(drydock_project: Project) -> AssembledCharts:
    """The charts with their dependencies inside."""
    return assemble_charts(drydock_project)


@pytest.fixture
def render_environment(
    drydock_project: Project, drydock_charts: AssembledCharts, drydock_tool: Callable[[str], Path]
) -> RenderEnvironment:
    """See RenderEnvironment."""

    def rendered(
        name: str, files: Sequence[Path] = (), set_values: Sequence[str] = (), *, helm: str = "helm4"
    ) -> RenderedEnvironment:
        environment = load_environment(drydock_project, name).stacked(files, set_values)
        return render(drydock_tool(helm), drydock_charts, environment)

    return rendered


@pytest.fixture(name="render_chart")
def render_chart_fixture(
    tmp_path: Path, drydock_charts: AssembledCharts, drydock_tool: Callable[[str], Path]
) -> RenderChart:
    """See RenderChart."""

    def rendered(
        chart: str, values: Mapping[str, Any] | None = None, *, namespace: str = "genai", helm: str = "helm4"
    ) -> tuple[Manifest, ...]:
        file = tmp_path / "values.yaml"
        file.write_text(yaml.safe_dump(dict(values or {})))
        return render_chart(drydock_tool(helm), drydock_charts.chart(chart), values_files=[file], namespace=namespace)

    return rendered


@pytest.fixture
def rehearsal_cluster(drydock_project: Project) -> Iterator["RehearsalCluster"]:
    """A control plane with Karpenter on this machine, for one test: starting, with nothing installed."""
    from drydock.rehearsal.rehearse import suite_cluster
    from drydock.rehearsal.runs import new_run_folder
    from drydock.tools.setup import set_up

    equipment = set_up(drydock_project, "rehearse", PlainProgress())
    folder = new_run_folder(drydock_project, "test", kind="test")
    with suite_cluster(drydock_project, equipment.tools, folder) as cluster:
        yield cluster


@pytest.fixture
def rehearsal_release(
    rehearsal_cluster: "RehearsalCluster", drydock_charts: AssembledCharts, drydock_tool: Callable[[str], Path]
) -> "Release":
    """The suite's release on a cluster of its own: `seed`, `install`, `wait`, `upgrade`, `rollback`, `uninstall`."""
    from drydock.rehearsal.release import Release

    return Release(rehearsal_cluster, drydock_tool("helm4"), drydock_charts)
