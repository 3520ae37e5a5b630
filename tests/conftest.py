"""Fixtures that every stage's tests share."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import pytest

from drydock.project import Project

ROOT = Path(__file__).resolve().parents[1]


class Drydock(Protocol):
    """Runs the `drydock` command as a user would."""

    def __call__(
        self, *arguments: str | Path, env: Mapping[str, str] | None = None, cwd: Path = ROOT, timeout: float = 600
    ) -> subprocess.CompletedProcess[str]:
        """Its exit status and what it printed."""


@pytest.fixture(scope="session")
def drydock() -> Drydock:
    """See Drydock."""

    def run(
        *arguments: str | Path, env: Mapping[str, str] | None = None, cwd: Path = ROOT, timeout: float = 600
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "drydock", *map(str, arguments)],
            env={**os.environ, **(env or {})},
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run


@pytest.fixture
def small_project(tmp_path: Path) -> Callable[[Mapping[str, str]], Project]:
    """Makes a suite out of the given files (path: text), with an empty umbrella and its own cache."""

    def make(files: Mapping[str, str]) -> Project:
        root = tmp_path / "suite"
        umbrella = "apiVersion: v2\nname: genai-platform\nversion: 0.0.1\n"
        for path, text in {"charts/genai-platform/Chart.yaml": umbrella, "values/empty.yaml": "", **files}.items():
            file = root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return Project(root, tmp_path / "cache")

    return make
