"""Installed by pip, the command is the same and brings its own suite."""

import os
import subprocess
import sys
from pathlib import Path

from drydock.project import Project
from tests.conftest import ROOT


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
    for file in ("ci/eks/main.tf", "ci/kind/cluster.yaml", "ci/kind/Containerfile", "ci/kind/stand-ins.yaml"):
        assert (installed / "drydock" / "bundled" / file).is_file(), file


def test_it_renders_as_the_checkout_does(installed: Path, tmp_path: Path, drydock_project: Project) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "tools").symlink_to(drydock_project.cache_dir / "tools")
    ours = subprocess.run(
        [sys.executable, "-m", "drydock", "render", "dev"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run(installed, tmp_path, "render", "dev", cache=cache) == ours.stdout
