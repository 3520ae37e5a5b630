"""kind itself, on the Docker of this machine: a cluster is made, tested and removed, and nothing is left of it."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from drydock.deploy.deployments import list_deployments
from drydock.deploy.kind.docker import Docker
from drydock.deploy.kind.image import IMAGE
from drydock.project import Project
from drydock.tools import process
from tests.conftest import ROOT, Drydock, kind_images

pytestmark = [pytest.mark.container_runtime, pytest.mark.cluster]
NAME = f"drydock-test-{os.getpid()}"
NODE, BASE = kind_images()
DEPLOY = ("deploy", "dev", "--target", "kind", "--name", NAME, "--node-image", NODE, "--base-image", BASE)


@pytest.fixture(autouse=True)
def no_cluster_stays(drydock_tool: Callable[[str], Path], drydock_project: Project) -> Iterator[None]:
    yield
    process.run([drydock_tool("kind"), "delete", "cluster", "--name", NAME])
    shutil.rmtree(drydock_project.cache_dir / "deployments" / NAME, ignore_errors=True)


def docker(*arguments: str) -> str:
    return process.run([Docker().program, *arguments]).stdout.strip()


def assert_nothing_is_left(project: Project) -> None:
    label = f"label=io.x-k8s.kind.cluster={NAME}"
    assert docker("ps", "--all", "--quiet", "--filter", label) == ""
    assert NAME not in {each.name for each in list_deployments(project)}
    assert not (project.cache_dir / "deployments" / NAME).exists()


def test_an_environment_is_deployed_tested_and_removed(
    drydock: Drydock, drydock_project: Project, tmp_path: Path
) -> None:
    volumes = docker("volume", "ls", "--quiet")
    own = tmp_path / "own-kubeconfig"
    first = drydock(*DEPLOY, "--timeout", "300", env={"KUBECONFIG": str(own)})
    assert first.returncode == 0, first.stderr
    assert "Deployment on kind of dev (Kubernetes v1." in first.stdout
    assert "KWOK keeps the nodes of Karpenter" in first.stdout
    assert not own.exists(), "a user's own kubeconfig is left alone"
    kubeconfig = drydock_project.cache_dir / "deployments" / NAME / "kubeconfig"
    assert stat.S_IMODE(kubeconfig.stat().st_mode) == 0o600

    target = ["--cluster-type", "kind", "--kube-config", str(kubeconfig), "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", "tests/integration", *target]
    tested = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert tested.returncode == 0, tested.stdout
    assert "6 passed, 2 deselected" in tested.stdout
    assert "integration tests run on kind; deselected are tests that need accelerator (" in tested.stdout

    wrong = ("--set", "vllm.models.llama-3-8b.accelerator.pool=no-such", "--ignore-findings", "--timeout", "30")
    again = drydock(*DEPLOY, *wrong)
    assert again.returncode == 1
    assert json.loads(docker("inspect", f"{NAME}-control-plane"))[0]["State"]["Running"], "a later failure leaves it"

    gone = drydock("destroy", NAME)
    assert gone.returncode == 0, gone.stderr
    assert_nothing_is_left(drydock_project)
    assert docker("images", "--quiet", IMAGE) == ""
    assert docker("volume", "ls", "--quiet") == volumes


def test_a_failure_in_the_middle_leaves_nothing(drydock: Drydock, drydock_project: Project) -> None:
    done = drydock(*DEPLOY[:-1], "drydock.local/no-such:image")
    assert done.returncode == 1
    assert f"docker build of {IMAGE} failed" in done.stderr
    assert "--base-image" in done.stderr
    assert_nothing_is_left(drydock_project)


def test_an_interrupt_leaves_nothing(drydock_project: Project) -> None:
    command = [sys.executable, "-m", "drydock", *DEPLOY]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr
        for line in running.stderr:
            if f"kind cluster {NAME}" in line and "✓" in line:
                running.send_signal(signal.SIGINT)
                break
        rest = running.stderr.read()
    assert running.returncode == 130, rest
    assert_nothing_is_left(drydock_project)


def test_a_cluster_of_that_name_that_is_not_ours_stays(
    drydock: Drydock, drydock_tool: Callable[[str], Path], drydock_project: Project, tmp_path: Path
) -> None:
    options = ["--name", NAME, "--image", NODE, "--config", str(ROOT / "ci/kind/cluster.yaml")]
    made = [drydock_tool("kind"), "create", "cluster", *options, "--kubeconfig", str(tmp_path / "theirs")]
    process.run([str(each) for each in made])
    done = drydock(*DEPLOY)
    assert done.returncode == 2
    assert f"there is a kind cluster {NAME} that Drydock did not make" in done.stderr
    assert docker("ps", "--quiet", "--filter", f"label=io.x-k8s.kind.cluster={NAME}") != ""
    assert NAME not in {each.name for each in list_deployments(drydock_project)}
