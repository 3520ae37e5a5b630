"""Tools come from the cache, from PATH, or from a build."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from drydock.errors import ToolchainError
from drydock.progress import SilentProgress
from drydock.tools.build import ensure
from drydock.tools.pins import Toolchain
from tests.tools.conftest import HelloSuite


def said_by(program: Path) -> str:
    return subprocess.run([program], capture_output=True, text=True, check=True).stdout


def test_a_missing_tool_is_built_with_its_version_and_named_while_that_lasts(hello_suite: HelloSuite) -> None:
    progress = SilentProgress()
    program = ensure(hello_suite(), ["hello"], progress)["hello"]
    assert said_by(program) == "hello version v1.2.3\n"
    assert [step.name for step in progress.times] == ["Build hello 1.2.3"]


def test_a_built_tool_is_found_again_without_go(hello_suite: HelloSuite, path_of: Callable[..., None]) -> None:
    project = hello_suite()
    built = ensure(project, ["hello"], SilentProgress())
    path_of()
    assert ensure(project, ["hello"], SilentProgress()) == built


def test_a_changed_pin_is_built_anew(hello_suite: HelloSuite) -> None:
    first = ensure(hello_suite(), ["hello"], SilentProgress())["hello"]
    second = ensure(hello_suite(go_mod="go 1.24.1\n"), ["hello"], SilentProgress())["hello"]
    assert first != second


def test_one_for_another_platform_is_built_beside_and_never_taken_from_path(
    hello_suite: HelloSuite, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = hello_suite()
    ours = ensure(project, ["hello"], SilentProgress())["hello"]
    monkeypatch.setenv("PATH", str(ours.parent), prepend=":")
    foreign = ensure(project, ["hello"], SilentProgress(), ("freebsd", "arm64"))["hello"]
    assert foreign.parent != ours.parent
    assert b"freebsd" in foreign.read_bytes()
    assert b"freebsd" not in ours.read_bytes()


def test_the_pinned_version_on_path_is_taken_as_it_is(
    hello_suite: HelloSuite, path_of: Callable[..., None], tmp_path: Path
) -> None:
    project = hello_suite()
    folder = tmp_path / "bin"
    folder.mkdir()
    there = Path(shutil.copy(ensure(project, ["hello"], SilentProgress())["hello"], folder))
    shutil.rmtree(project.cache_dir)
    path_of(folder)
    assert ensure(project, ["hello"], SilentProgress())["hello"] == there
    assert ensure(project, ["hello"], SilentProgress())["hello"] == there


def test_another_version_on_path_is_not_taken(
    hello_suite: HelloSuite, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    shutil.copy(ensure(hello_suite(version="1.2.3"), ["hello"], SilentProgress())["hello"], folder)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    program = ensure(hello_suite(version="1.2.4"), ["hello"], SilentProgress())["hello"]
    assert program.parent != folder
    assert said_by(program) == "hello version v1.2.4\n"


def test_settings_of_the_users_go_do_not_reach_the_build(
    hello_suite: HelloSuite, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "go.work").write_text("go 1.24\n")
    for name, value in {"GOFLAGS": "-mod=vendor", "GOOS": "plan9", "GOWORK": str(tmp_path / "go.work")}.items():
        monkeypatch.setenv(name, value)
    assert said_by(ensure(hello_suite(), ["hello"], SilentProgress())["hello"]) == "hello version v1.2.3\n"


def test_a_tool_that_does_not_compile_is_told_with_the_compilers_words(hello_suite: HelloSuite) -> None:
    project = hello_suite(broken="package main\n\nvar number int = true\n")
    with pytest.raises(ToolchainError, match=r"building hello 1\.2\.3 failed(?s:.*)broken\.go:3"):
        ensure(project, ["hello"], SilentProgress())
    assert not list(project.cache_dir.rglob("hello"))


def test_a_module_that_cannot_be_downloaded_points_to_the_proxy(
    hello_suite: HelloSuite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOPROXY", "off")
    project = hello_suite(
        go_mod="go 1.24\n\nrequire example.test/absent v1.0.0\n",
        go_sum="example.test/absent v1.0.0 h1:1111111111111111111111111111111111111111111=\n"
        "example.test/absent v1.0.0/go.mod h1:1111111111111111111111111111111111111111111=\n",
        more='package main\n\nimport _ "example.test/absent"\n',
    )
    with pytest.raises(ToolchainError, match=r"example\.test/absent") as failure:
        ensure(project, ["hello"], SilentProgress())
    assert "GOPROXY" in failure.value.remedy


def test_an_unknown_tool_is_told_with_the_known_ones(hello_suite: HelloSuite) -> None:
    with pytest.raises(ToolchainError, match="unknown tool 'helo'") as failure:
        ensure(hello_suite(), ["helo"], SilentProgress())
    assert "hello" in failure.value.remedy


def test_a_verb_needs_its_tools_only(hello_suite: HelloSuite) -> None:
    toolchain = Toolchain.load(hello_suite())
    assert (toolchain.for_verb("greet"), toolchain.for_verb("render")) == (("hello",), ())
