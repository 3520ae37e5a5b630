"""drydock package: archives that plain Helm takes, with CRDs and dependencies inside."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from drydock.project import Project
from drydock.suite.charts import AssembledCharts
from drydock.suite.environments import load_environment
from drydock.suite.manifests import parse_manifests
from drydock.suite.render import render, template_command
from drydock.tools import process
from drydock.tools.pins import Toolchain
from tests.conftest import Drydock


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
    files = {file.name for file in archives.iterdir()} - {"SHA256SUMS"}
    assert {line.split("  ")[1] for line in lines} == files
    for line in lines:
        digest, name = line.split("  ")
        assert hashlib.sha256((archives / name).read_bytes()).hexdigest() == digest


def test_a_second_build_has_the_same_bytes(archives: Path, drydock: Drydock, tmp_path: Path) -> None:
    drydock("package", "-o", tmp_path)
    assert (tmp_path / "SHA256SUMS").read_text() == (archives / "SHA256SUMS").read_text()


def test_the_bill_of_materials_is_valid_and_names_charts_modules_and_images(
    archives: Path, drydock_project: Project
) -> None:
    text = (archives / "sbom.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bill = json.loads(text)
    components = {each["bom-ref"]: each for each in bill["components"]}
    assert bill["metadata"]["component"]["name"] == "genai-platform"
    vllm = components["pkg:helm/vllm@0.1.0"]
    assert vllm["hashes"][0]["content"] == hashlib.sha256((archives / "vllm-0.1.0.tgz").read_bytes()).hexdigest()
    engine = [each for each in components.values() if each["name"] == "docker.io/vllm/vllm-openai"]
    assert [each["type"] for each in engine] == ["container"]
    modules = {each["name"]: each["version"] for each in components.values() if each["type"] == "library"}
    pinned = Toolchain.load(drydock_project).crds.values()
    assert modules == {each.go_module: each.version for each in pinned}
    needs = {each["ref"]: set(each.get("dependsOn", ())) for each in bill["dependencies"]}
    assert engine[0]["bom-ref"] in needs["pkg:helm/genai-platform@0.1.0"]
    assert "pkg:helm/common@0.1.0" in needs["pkg:helm/vllm@0.1.0"]
