"""drydock render: manifests in a stable order, each with its source, on the screen or as files."""

from pathlib import Path

import yaml

from drydock.project import Project
from drydock.suite.render import KUBERNETES_VERSION
from drydock.tools.pins import Toolchain
from tests.conftest import Drydock


def test_the_capabilities_are_those_of_the_pinned_kubernetes(drydock_project: Project) -> None:
    assert Toolchain.load(drydock_project).kubernetes_version == KUBERNETES_VERSION


def test_each_object_tells_its_template(drydock: Drydock) -> None:
    done = drydock("render", "dev")
    documents = [each for each in done.stdout.split("---\n") if each]
    assert len(documents) == len(list(yaml.safe_load_all(done.stdout)))
    sources = [each.splitlines()[0] for each in documents]
    assert all(source.startswith("# Source: genai-platform/charts/") for source in sources)
    assert sources == sorted(sources)


def test_one_chart_as_one_file_an_object_without_those_of_an_earlier_render(drydock: Drydock, tmp_path: Path) -> None:
    stale = tmp_path / "vllm" / "service-gone.yaml"
    stale.parent.mkdir()
    stale.write_text("")
    done = drydock("render", "dev", "--chart", "vllm", "-o", tmp_path)
    assert done.stdout == ""
    files = list(tmp_path.rglob("*.yaml"))
    assert stale not in files
    assert {file.parent.name for file in files} == {"vllm"}
    assert {yaml.safe_load(file.read_text())["kind"] for file in files} >= {"Deployment", "Service", "NetworkPolicy"}
