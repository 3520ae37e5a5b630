"""A rehearsal cluster that tests share."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from drydock.progress import PlainProgress
from drydock.project import Project
from drydock.rehearsal.cluster import TOOLS, RehearsalCluster
from drydock.rehearsal.rehearse import expected_crds, suite_cluster
from drydock.rehearsal.release import Release
from drydock.rehearsal.runs import new_run_folder
from drydock.suite.charts import assemble_charts
from drydock.suite.environments import Environment, load_environment
from drydock.tools.crd_files import ensure_crds
from tests.rehearsal.small import Content, small_release

MakeRelease = Callable[..., Release]
InstallDev = Callable[..., Release]
DevWith = Callable[..., Environment]


@pytest.fixture(scope="session")
def rehearsal_tools(drydock_tool: Callable[[str], Path], drydock_project: Project) -> dict[str, Path]:
    """Paths of every program of a rehearsal, and the CRDs beside the charts."""
    ensure_crds(drydock_project, PlainProgress())
    return {name: drydock_tool(name) for name in (*TOOLS, "helm4")}


@pytest.fixture(scope="module")
def dev_with(drydock_project: Project, tmp_path_factory: pytest.TempPathFactory) -> DevWith:
    """The environment `dev` with layers of the suite and these values on top."""

    def stacked(values: Mapping[str, Any], *layers: str) -> Environment:
        file = tmp_path_factory.mktemp("values") / "values.yaml"
        file.write_text(yaml.safe_dump(values))
        files = [drydock_project.root / "values" / layer for layer in layers]
        return load_environment(drydock_project, "dev").stacked([*files, file], [])

    return stacked


@pytest.fixture(scope="module")
def installed_first() -> Environment | None:
    """What a module installs first on its cluster, where its CRDs are worth having from the start."""
    return None


@pytest.fixture(scope="module")
def shared_cluster(
    rehearsal_tools: dict[str, Path], drydock_project: Project, installed_first: Environment | None
) -> Iterator[RehearsalCluster]:
    """One cluster for the tests of a module; each installs objects of its own names."""
    folder = new_run_folder(drydock_project, "test")
    crds = None
    if installed_first:
        crds = expected_crds(rehearsal_tools["helm4"], assemble_charts(drydock_project), installed_first)
    with suite_cluster(drydock_project, rehearsal_tools, folder, helm_crds=crds) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def install_dev(
    shared_cluster: RehearsalCluster, rehearsal_tools: dict[str, Path], drydock_project: Project, dev_with: DevWith
) -> InstallDev:
    """Installs what `dev_with` gives; it is ready."""

    def install(values: Mapping[str, Any], *layers: str) -> Release:
        release = Release(shared_cluster, rehearsal_tools["helm4"], assemble_charts(drydock_project))
        release.seed(dev_with(values, *layers))
        release.install()
        outcome = release.wait()
        assert outcome.ready, outcome.verdict
        return release

    return install


@pytest.fixture
def make_release(
    shared_cluster: RehearsalCluster, rehearsal_tools: dict[str, Path], tmp_path: Path
) -> Iterator[MakeRelease]:
    """Makes a release of the given objects on the shared cluster, and takes it away afterwards."""
    made: list[Release] = []

    def make(name: str, *objects: Content, **options: Any) -> Release:
        made.append(small_release(shared_cluster, rehearsal_tools["helm4"], tmp_path / name, objects, **options))
        return made[-1]

    yield make
    for release in made:
        release.uninstall()
        release.wait_gone()
