"""Objects that wait for a later wave of Argo CD."""

import copy
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from drydock.deploy.argo_cd import WAVE, Repository, applications
from drydock.deploy.argo_cd_waves import find_late
from drydock.progress import SilentProgress
from drydock.project import Project
from drydock.suite.charts import assemble_charts
from drydock.suite.environments import environment_names, load_environment
from drydock.suite.manifests import Manifest
from drydock.suite.render import RenderedEnvironment, render
from drydock.tools.crd_files import ensure_crds
from tests.conftest import ROOT, Drydock

REPOSITORY = Repository("https://git.example.com/platform.git", "v1.2.0")
HEADROOM = "Deployment/genai/genai-tenancy-headroom-cpu"


@pytest.fixture(scope="module")
def environments(
    drydock_project: Project, drydock_tool: Callable[[str], Path]
) -> Mapping[str, tuple[RenderedEnvironment, Mapping[str, int]]]:
    """Objects of each environment, and the waves of its Applications."""
    ensure_crds(drydock_project, SilentProgress())
    helm, charts = drydock_tool("helm4"), assemble_charts(drydock_project)
    found = {}
    for name in environment_names(drydock_project):
        environment = load_environment(drydock_project, name)
        brought = applications(helm, charts, environment, REPOSITORY)
        waves = {
            application.name.removeprefix(f"{name}-"): int(application.content["metadata"]["annotations"][WAVE])
            for application in brought
            if application.kind == "Application"
        }
        found[name] = render(helm, charts, environment), waves
    return found


Environments = Mapping[str, tuple[RenderedEnvironment, Mapping[str, int]]]


@pytest.fixture
def own_suite(tmp_path: Path) -> Path:
    """The suite in a folder of its own."""
    for folder in ("charts", "values", "ci/toolchain"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("*.tgz"))
    return tmp_path


@pytest.mark.parametrize("name", environment_names(Project(ROOT, ROOT)))
def test_nothing_of_an_environment_waits_for_a_later_wave(
    drydock_project: Project, environments: Environments, name: str
) -> None:
    assert not find_late(drydock_project, *environments[name])


def test_head_room_whose_health_counts_waits_for_its_pool(drydock_project: Project, environments: Environments) -> None:
    rendered, waves = environments["prod"]
    manifests = tuple(
        _awaited(manifest) if manifest.identity == HEADROOM else manifest for manifest in rendered.manifests
    )
    (late,) = find_late(drydock_project, replace(rendered, manifests=manifests), waves)
    assert str(late) == f"{HEADROOM} (wave -60) waits for NodePool/general-cpu (wave -10)"


def _awaited(manifest: Manifest) -> Manifest:
    content = copy.deepcopy(dict(manifest.content))
    del content["metadata"]["annotations"]
    return replace(manifest, content=content)


@pytest.mark.parametrize(
    ("chart", "wave", "expected"),
    [
        ("vllm", -30, "Deployment/genai/genai-vllm-llama-3-70b (wave -30) waits for NodePool/gpu-reserved (wave -10)"),
        (
            "tenancy",
            30,
            "Deployment/genai/genai-argo-server (wave 10) waits for PriorityClass/genai-controllers (wave 30)",
        ),
        ("crds-kuberay", 30, "RayCluster/genai/genai-kuberay-research (wave 10) waits for CRDs of kuberay (wave 30)"),
        ("karpenter-nodepools", 15, "Deployment/genai/genai-jupyterhub-hub (wave 10) waits for NodePool/"),
    ],
)
def test_what_another_order_would_hold_up_is_found(
    drydock_project: Project, environments: Environments, chart: str, wave: int, expected: str
) -> None:
    rendered, waves = environments["prod"]
    found = [str(late) for late in find_late(drydock_project, rendered, {**waves, chart: wave})]
    assert any(expected in line for line in found), found


def test_what_no_application_brings_is_there_already(drydock_project: Project, environments: Environments) -> None:
    rendered, waves = environments["prod"]
    for chart in ("tenancy", "karpenter-nodepools", "container-insights"):
        without = {name: wave for name, wave in waves.items() if name != chart}
        assert not find_late(drydock_project, rendered, without)


def test_the_verb_refuses_an_order_that_never_ends(drydock: Drydock, own_suite: Path) -> None:
    file = own_suite / "values/environments/dev.yaml"
    content = yaml.safe_load(file.read_text())
    content["argoCd"]["applications"] = {"vllm": {"enabled": True, "wave": -30}}
    file.write_text(yaml.safe_dump(content))
    done = drydock("bootstrap-argocd", "dev", "--repository", REPOSITORY.url, env={"DRYDOCK_PROJECT": str(own_suite)})
    assert (done.returncode, done.stdout) == (1, "")
    assert "Deployment/genai/genai-vllm-llama-3-8b (wave -30) waits for NodePool/gpu (wave -10)" in done.stderr
    assert "Raise argoCd.applications.vllm.wave in values/environments/dev.yaml" in done.stderr
