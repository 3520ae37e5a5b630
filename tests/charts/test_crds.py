"""The chart that brings CRDs."""

import base64
import gzip
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import yaml

from drydock.project import Project
from drydock.suite.charts import assemble_charts
from drydock.tools import process

OWNERS = ("argo", "argo-cd", "karpenter", "keda", "kuberay", "lws", "prometheus")
SECRET_LIMIT = 1024 * 1024
pytestmark = pytest.mark.usefixtures("crd_folders")


def _installed(helm: Path, chart: Path, enabled: Mapping[str, bool]) -> set[str]:
    """Names of the CRDs that an install would create; each file is named after its CRD."""
    switches = [part for owner, on in enabled.items() for part in ("--set", f"{owner}.enabled={str(on).lower()}")]
    rendered = process.run([str(helm), "template", "crds", str(chart), "--include-crds", *switches]).stdout
    sources = re.findall(r"^# Source: (\S+)$", rendered, re.MULTILINE)
    assert all("/crds/" in each for each in sources)
    return {Path(each).stem for each in sources}


def _names(folders: Mapping[str, Path], owner: str) -> set[str]:
    return {file.stem for file in folders[owner].glob("*.yaml")}


@pytest.mark.parametrize("helm", ["helm3", "helm4"])
def test_each_owner_is_behind_its_condition(
    drydock_project: Project, drydock_tool: Callable[[str], Path], crd_folders: Mapping[str, Path], helm: str
) -> None:
    chart = assemble_charts(drydock_project).chart("crds")
    assert _installed(drydock_tool(helm), chart, {}) == _names(crd_folders, "karpenter")
    for owner in OWNERS:
        only = {each: each == owner for each in OWNERS}
        assert _installed(drydock_tool(helm), chart, only) == _names(crd_folders, owner) != set()


def test_every_owner_that_set_up_knows_has_a_chart(drydock_project: Project, crd_folders: Mapping[str, Path]) -> None:
    folders = {each.parent.name for each in (drydock_project.charts_dir / "crds" / "charts").glob("*/Chart.yaml")}
    assert folders == set(crd_folders) == set(OWNERS)


def test_the_upgrade_command_of_the_readme_prints_the_crds(
    drydock_project: Project, drydock_tool: Callable[[str], Path], crd_folders: Mapping[str, Path]
) -> None:
    chart = drydock_project.charts_dir / "crds" / "charts" / "karpenter"
    printed = process.run([str(drydock_tool("helm4")), "show", "crds", str(chart)]).stdout
    names = {each["metadata"]["name"] for each in yaml.load_all(printed, yaml.CSafeLoader) if each}
    assert names == _names(crd_folders, "karpenter")


@pytest.mark.parametrize("chart", ["crds", "genai-platform"])
def test_a_release_with_every_crd_fits_into_its_secret(
    drydock_project: Project, drydock_tool: Callable[[str], Path], chart: str
) -> None:
    """Helm stores a release as base64 of gzip of its JSON, which is what a dry run prints."""
    prefix = "" if chart == "crds" else "crds."
    switches = [part for owner in OWNERS for part in ("--set", f"{prefix}{owner}.enabled=true")]
    install = ["install", "genai", str(assemble_charts(drydock_project).chart(chart)), "--dry-run=client"]
    command = [str(drydock_tool("helm4")), *install, "-o", "json", "--set", "global.clusterName=dev", *switches]
    release = process.run(command).stdout
    assert len(base64.b64encode(gzip.compress(release.encode()))) < SECRET_LIMIT / 4
