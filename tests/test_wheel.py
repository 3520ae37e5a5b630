"""Installed by pip, the command is the same and brings its own suite."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from drydock.project import Project

from .conftest import ROOT


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package as its wheel unpacks."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, timeout=300)
    (wheel,) = folder.glob("drydock-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def run(installed: Path, tmp_path: Path, *arguments: str, cache: Path | None = None) -> str:
    environment = {**os.environ, "PYTHONPATH": str(installed), "DRYDOCK_CACHE": str(cache or tmp_path / "cache")}
    environment.pop("DRYDOCK_PROJECT", None)
    done = subprocess.run(
        [sys.executable, "-m", "drydock", *arguments],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_brings_environments_and_charts(installed: Path, tmp_path: Path) -> None:
    assert "airgap" in run(installed, tmp_path, "environments")


def test_it_renders_as_the_checkout_does(installed: Path, tmp_path: Path, drydock_project: Project) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "tools").symlink_to(drydock_project.cache_dir / "tools")
    ours = subprocess.run(
        [sys.executable, "-m", "drydock", "render", "dev"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run(installed, tmp_path, "render", "dev", cache=cache) == ours.stdout
