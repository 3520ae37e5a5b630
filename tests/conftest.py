"""Fixtures that every stage's tests share."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import pytest

from drydock.deploy.eks.terraform import find_terraform, provider_mirror
from drydock.errors import ToolchainError
from drydock.project import Project

ROOT = Path(__file__).resolve().parents[1]


def _terraform_lacks() -> str:
    try:
        find_terraform()
    except ToolchainError as error:
        return error.message
    return "" if provider_mirror() else "TF_CLI_CONFIG_FILE names no file that says where the AWS provider comes from"


def pytest_report_header() -> str:
    lacks = _terraform_lacks()
    return f"terraform: tests are deselected: {lacks}" if lacks else "terraform: tests run"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what needs Terraform where it is not, unless DRYDOCK_REQUIRE says that it has to be there."""
    lacks = _terraform_lacks()
    if not lacks:
        return
    if "terraform" in os.environ.get("DRYDOCK_REQUIRE", "").split(","):
        raise pytest.UsageError(f"DRYDOCK_REQUIRE=terraform: {lacks}")
    without = [each for each in items if each.get_closest_marker("terraform")]
    config.hook.pytest_deselected(items=without)
    items[:] = [each for each in items if not each.get_closest_marker("terraform")]


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
