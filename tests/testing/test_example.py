"""docs/examples/platform-tests, as another repository has it: outside of this checkout, with the package installed."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from drydock.project import Project
from drydock.testing.integration import Deployed
from tests.conftest import ROOT

EXAMPLE = ROOT / "docs" / "examples" / "platform-tests"
Pytest = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def repository(installed: Path, drydock_project: Project, tmp_path: Path) -> Pytest:
    """Runs a Python module in a copy of the example, against the installed package and nothing of the checkout."""
    folder = tmp_path / "repository"
    shutil.copytree(EXAMPLE, folder)
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "tools").symlink_to(drydock_project.cache_dir / "tools")
    env = {**os.environ, "PYTHONPATH": str(installed), "DRYDOCK_CACHE": str(cache)}
    env.pop("DRYDOCK_PROJECT", None)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *arguments]
        return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=600, check=False)

    return run


def test_it_runs_against_a_cluster_that_is_named_on_the_command_line(
    repository: Pytest, installed: Path, drydock_deployed: Deployed
) -> None:
    assert repository("-c", "import drydock; print(drydock.__file__)").stdout.startswith(str(installed))
    target = ("--cluster-type", "existing", "--kube-config", str(drydock_deployed.kubeconfig))
    done = repository("-m", "pytest", "-p", "no:cacheprovider", *target, "--target-lacks", "accelerator")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed, 1 deselected" in done.stdout
    assert (
        "integration tests run on existing; deselected are tests that need accelerator (--target-lacks)" in done.stdout
    )


def test_a_target_or_mark_that_does_not_exist_is_told(repository: Pytest) -> None:
    wrong = repository("-m", "pytest", "--cluster-type", "minikube")
    assert wrong.returncode == 4
    assert "--cluster-type minikube: known are eks, eks-auto-mode, existing, kind, rehearsal" in wrong.stderr
    wrong = repository("-m", "pytest", "--target-lacks", "gpu")
    assert "--target-lacks gpu: known are accelerator, load_balancer, real_pods" in wrong.stderr


def test_a_deployment_that_is_not_there_is_told(repository: Pytest) -> None:
    done = repository("-m", "pytest", "-p", "no:cacheprovider", "--cluster-type", "kind", "-k", "node_with")
    assert done.returncode == 1
    assert "deployments of dev on kind that this machine made: none" in done.stdout
