"""The app-of-apps through Argo CD's own code: its repository server's rendering, from a copy of the repository."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from drydock.deploy.argo_cd import Repository, root_application
from drydock.project import Project
from drydock.suite.environments import load_environment
from drydock.suite.render import KUBERNETES_VERSION
from drydock.testing.pytest_plugin import RenderEnvironment
from drydock.tools.process import run
from tests.conftest import ROOT

FOLDER = "platform"
REPOSITORY = Repository("https://git.example.com/all.git", "v1.2.0", FOLDER)
Content = Mapping[str, Any]
ArgoCd = Callable[[Content], Sequence[Content]]


@pytest.fixture(scope="module")
def argo_cd(drydock_tool: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> ArgoCd:
    """Renders an Application as Argo CD does; the repository is as Git has it, without CRDs and built dependencies."""
    repository = tmp_path_factory.mktemp("repository")
    ignored = shutil.ignore_patterns("crds", "*.tgz", "Chart.lock")
    for chart in (ROOT / "charts").iterdir():
        shutil.copytree(
            chart, repository / FOLDER / "charts" / chart.name, ignore=None if chart.name == "crds" else ignored
        )
    for crds in (repository / FOLDER / "charts/crds/charts").glob("*/crds"):
        shutil.rmtree(crds)
    shutil.copytree(ROOT / "values", repository / FOLDER / "values")
    programs = tmp_path_factory.mktemp("bin")
    (programs / "helm").symlink_to(drydock_tool("helm3"))
    renderer = drydock_tool("argocd-render")

    def rendered(application: Content) -> Sequence[Content]:
        asked = {"repository": str(repository), "kubeVersion": KUBERNETES_VERSION, "application": application}
        done = run([renderer], stdin=json.dumps(asked), env={"PATH": f"{programs}:/usr/bin:/bin"})
        objects: Sequence[Content] = json.loads(done.stdout)
        return objects

    return rendered


@pytest.mark.parametrize("name", ["dev", "prod", "auto-mode", "airgap"])
def test_what_argo_cd_makes_of_the_root_application_is_what_the_umbrella_installs(
    drydock_project: Project, argo_cd: ArgoCd, render_environment: RenderEnvironment, name: str
) -> None:
    root = root_application(load_environment(drydock_project, name), REPOSITORY)
    brought = argo_cd(root)
    applications = [each for each in brought if each["kind"] == "Application"]
    assert {each["kind"] for each in brought} == {"Application", "AppProject"}
    ours = [each for each in applications if "sources" in each["spec"]]
    applied = [content for each in ours for content in argo_cd(each)]
    installed = [each.content for each in render_environment(name).manifests]
    assert _by_identity(applied) == _by_identity(installed)
    assert len(applied) == len(installed)


def _by_identity(contents: Sequence[Content]) -> dict[tuple[str, ...], Content]:
    return {
        (each["apiVersion"], each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"]): each
        for each in contents
    }
