"""`drydock deploy --target rehearsal`: the same way as on kind and EKS, on a control plane of this machine."""

import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from kubernetes import client

from drydock.clusters.kube import api_client
from drydock.deploy.deployments import list_deployments
from drydock.project import Project
from drydock.rehearsal.children import read_records
from drydock.rehearsal.runs import list_clusters, removable
from tests.conftest import ROOT, Drydock

NOTICED_SECONDS = 20
"""Until a command that waits on a control plane has ended after it, on a busy machine."""

pytestmark = pytest.mark.cluster


@pytest.fixture
def name(drydock: Drydock, drydock_project: Project) -> Iterator[str]:
    made = f"test-{uuid.uuid4().hex[:8]}"
    yield made
    if made in {each.name for each in list_deployments(drydock_project)}:
        drydock("destroy", made)


@pytest.fixture
def impossible(tmp_path: Path) -> Path:
    """Values with which Helm waits until its time is over."""
    file = tmp_path / "impossible.yaml"
    selector = {"nodeSelector": {"no-such": "node"}}
    file.write_text(yaml.safe_dump({"vllm": {"models": {"llama-3-8b": {"scheduling": selector}}}}))
    return file


def clusters(project: Project, name: str) -> list[str]:
    return [each.name for each in list_clusters(project) if name in each.name]


def test_a_cluster_is_made_upgraded_and_removed(drydock: Drydock, drydock_project: Project, name: str) -> None:
    deploy = ("deploy", "dev", "--target", "rehearsal", "--name", name, "--timeout", "900")
    first = drydock(*deploy)
    assert first.returncode == 0, first.stderr
    assert "READY  dev" in first.stdout
    assert "Images were neither pulled nor run" in first.stdout
    (made,) = clusters(drydock_project, name)
    listed = {each["name"]: each for each in json.loads(drydock("deploy", "--list", "--format", "json").stdout)}
    assert listed[name]["state"] == "deployed"
    found = re.search(r"^export KUBECONFIG=(.+)$", first.stdout, re.MULTILINE)
    assert found
    kubeconfig = Path(found[1])
    assert stat.S_IMODE(kubeconfig.stat().st_mode) == 0o600

    again = drydock(*deploy, "--set", "vllm.models.llama-3-8b.startup.nodeSeconds=901")
    assert again.returncode == 0, again.stderr
    assert clusters(drydock_project, name) == [made], "the second deployment is an upgrade"
    apps = client.AppsV1Api(api_client(kubeconfig))
    model = apps.read_namespaced_deployment("genai-vllm-llama-3-8b", "genai")
    assert model.spec.progress_deadline_seconds % 10 == 1

    gone = drydock("destroy", name)
    assert gone.returncode == 0, gone.stderr
    assert clusters(drydock_project, name) == []
    assert not kubeconfig.exists()


def test_a_first_deployment_that_fails_leaves_nothing(
    drydock: Drydock, drydock_project: Project, name: str, impossible: Path
) -> None:
    deploy = ("deploy", "dev", "--target", "rehearsal", "--name", name, "-f", impossible, "--timeout", "3600")
    failed = drydock(*deploy, "--ignore-findings")
    assert failed.returncode == 1
    assert "the release can never become ready" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert clusters(drydock_project, name) == []
    assert name not in {each.name for each in list_deployments(drydock_project)}


def test_a_deployment_under_way_is_spared_by_down_and_ends_with_its_control_plane(
    drydock: Drydock, drydock_project: Project, name: str, impossible: Path
) -> None:
    command = ["deploy", "dev", "--target", "rehearsal", "--name", name, "-f", str(impossible), "--ignore-findings"]
    with subprocess.Popen(
        [sys.executable, "-m", "drydock", *command],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    ) as deploy:
        assert deploy.stderr
        read = iter(deploy.stderr)
        next(line for line in read if "Start of Karpenter" in line)
        (made,) = [each for each in list_clusters(drydock_project) if name in each.name]
        assert (made.kind, made.doing, made.deployment) == ("deployment", "deploying", name)
        assert [user.pid for user in made.users] == [deploy.pid]
        refused = drydock("down", made.name)
        assert (refused.returncode, f"`drydock destroy {name}`" in refused.stderr) == (2, True)
        assert made.name not in {each.name for each in removable(list_clusters(drydock_project))}
        (supervisor,) = [each.pid for each in read_records(made.folder.processes) if each.name == "supervisor"]
        os.kill(supervisor, signal.SIGKILL)
        killed = time.monotonic()
        said = "".join(read)
        assert deploy.wait() == 1
    assert time.monotonic() - killed < NOTICED_SECONDS
    assert f"the control plane of {made.name} ended" in said
    assert str(made.folder.logs) in said
    assert clusters(drydock_project, name) == []


def test_auto_mode_is_refused_and_leaves_nothing(drydock: Drydock, drydock_project: Project, name: str) -> None:
    refused = drydock("deploy", "auto-mode", "--target", "rehearsal", "--name", name)
    assert refused.returncode == 2
    assert "is for EKS Auto Mode" in refused.stderr
    assert clusters(drydock_project, name) == []
