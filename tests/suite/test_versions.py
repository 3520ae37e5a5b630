"""Versions stand in one place; where a page, a preset or an example repeats one, it is the same."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from drydock.project import Project
from drydock.tools.pins import Toolchain
from tests.conftest import ROOT

CHARTS = sorted(path.parent for path in (ROOT / "charts").glob("*/Chart.yaml"))
TEXTS = [
    file
    for folder in ("charts", "docs", "values", "ci/kind")
    for file in sorted((ROOT / folder).rglob("*"))
    if file.suffix in {".md", ".yaml", ".tpl", ".txt"} and not {"crds", "arguments"} & set(file.parts)
] + [ROOT / "README.md"]
HISTORY = ROOT / "docs" / "upgrading.md"
PROGRAMS = {
    "KubeRay": "kuberay",
    "Argo Workflows": "argo",
    "LiteLLM": "model-gateway",
    "Karpenter": "karpenter-nodepools",
}
"""Charts whose `appVersion` is that of a program."""


def values_of(chart: Path) -> Any:
    return yaml.safe_load((chart / "values.yaml").read_text())


def images(values: Any) -> Iterator[tuple[str, str]]:
    """Repository and tag of each image of some values."""
    if isinstance(values, Mapping):
        if values.get("repository") and values.get("tag"):
            yield str(values["repository"]), str(values["tag"])
        for value in values.values():
            yield from images(value)


PINNED: dict[str, set[str]] = {}
for _chart in CHARTS:
    for _repository, _tag in images(values_of(_chart)):
        PINNED.setdefault(_repository, set()).add(_tag)


def app_version(chart: str) -> str:
    return str(yaml.safe_load((ROOT / "charts" / chart / "Chart.yaml").read_text())["appVersion"]).removeprefix("v")


def example(chart: str) -> Any:
    content = yaml.safe_load((ROOT / "charts" / "app-of-apps" / "examples" / f"{chart}.yaml").read_text())
    return content["argoCd"]["applications"][chart]["upstream"]


def test_images_have_the_tags_of_the_charts_wherever_they_are_named() -> None:
    """And charts that share an image have the same one."""
    wrong = [f"{repository}: {sorted(tags)}" for repository, tags in PINNED.items() if len(tags) > 1]
    for file in TEXTS:
        for name, tag in re.findall(r"([a-z0-9./-]+/[a-z0-9._-]+):(v?\d[A-Za-z0-9._-]*[A-Za-z0-9])", file.read_text()):
            repository = next((pinned for pinned in PINNED if f"/{name}".endswith(f"/{pinned}")), "")
            if repository and tag not in PINNED[repository] and file != HISTORY:
                wrong.append(f"{file.relative_to(ROOT)}: {name}:{tag}")
    assert not wrong


@pytest.mark.parametrize(("program", "chart"), PROGRAMS.items())
def test_pages_name_the_release_that_is_pinned(program: str, chart: str) -> None:
    pinned = f"{app_version(chart)}."
    for file in TEXTS:
        named = re.findall(rf"\b{program} v?(\d+\.\d+\.\d+)\b", file.read_text())
        assert file == HISTORY or all(f"{version}." == pinned for version in named), file


def test_releases_are_those_of_the_toolchain(drydock_project: Project) -> None:
    """What a rehearsal runs is what the charts install."""
    toolchain = Toolchain.load(drydock_project)
    assert app_version("karpenter-nodepools") == toolchain.tools["karpenter"].version
    for chart, makers in (("kuberay", "kuberay/"), ("argo", "argoproj/")):
        revision = toolchain.crds[chart].version
        assert revision == f"v{app_version(chart)}"
        tags = [tags for repository, tags in PINNED.items() if repository.startswith(makers)]
        assert all(each == {revision} for each in tags)
        assert tags


def test_examples_of_upstream_charts_bring_the_pinned_releases() -> None:
    """Charts that are versioned as their program is; the others name it by an image's tag."""
    for chart in ("kuberay", "karpenter-nodepools", "nvidia-device-plugin"):
        assert example(chart)["version"] == app_version(chart), chart
    assert example("argo")["values"]["images"]["tag"] == f"v{app_version('argo')}"
    (hub,) = PINNED["jupyterhub/k8s-hub"]
    assert example("jupyterhub")["version"] == hub
