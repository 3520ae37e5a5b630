"""drydock package: archives that plain Helm takes, with CRDs and dependencies inside."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from drydock import process
from drydock.charts import AssembledCharts
from drydock.environments import load_environment
from drydock.manifests import parse_manifests
from drydock.project import Project
from drydock.render import render, template_command

from .conftest import Drydock


@pytest.fixture(scope="module")
def archives(drydock: Drydock, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    done = drydock("package", "-o", folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("helm", ["helm3", "helm4"])
def test_plain_helm_renders_an_archive_as_the_checkout_does(
    helm: str,
    archives: Path,
    drydock_project: Project,
    drydock_charts: AssembledCharts,
    drydock_tool: Callable[[str], Path],
) -> None:
    environment = load_environment(drydock_project, "dev")
    (umbrella,) = archives.glob("genai-platform-*.tgz")
    command = template_command(
        drydock_tool(helm), umbrella, environment.helm_arguments(), namespace=environment.namespace
    )
    packaged = parse_manifests(process.run(command).stdout)
    checkout = render(drydock_tool(helm), drydock_charts, environment).manifests
    assert [each.text for each in packaged] == [each.text for each in checkout]


def test_crds_and_metadata_are_inside(archives: Path, drydock_tool: Callable[[str], Path]) -> None:
    (umbrella,) = archives.glob("genai-platform-*.tgz")
    crds = process.run([drydock_tool("helm4"), "show", "crds", umbrella]).stdout
    assert "nodepools.karpenter.sh" in crds
    shown = process.run([drydock_tool("helm4"), "show", "chart", umbrella]).stdout
    assert "icon:" in shown
    assert "description:" in shown


def test_checksums_hold(archives: Path) -> None:
    lines = (archives / "SHA256SUMS").read_text().splitlines()
    assert {line.split("  ")[1] for line in lines} == {file.name for file in archives.glob("*.tgz")}
    for line in lines:
        digest, name = line.split("  ")
        assert hashlib.sha256((archives / name).read_bytes()).hexdigest() == digest


def test_a_second_build_has_the_same_bytes(archives: Path, drydock: Drydock, tmp_path: Path) -> None:
    drydock("package", "-o", tmp_path)
    assert (tmp_path / "SHA256SUMS").read_text() == (archives / "SHA256SUMS").read_text()
