"""`drydock deploy --target rehearsal`: the same way as on kind and EKS, on a control plane of this machine."""

import re
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from kubernetes import client

from drydock.clusters.kube import api_client
from drydock.deploy.deployments import list_deployments
from drydock.project import Project
from drydock.rehearsal.runs import list_clusters
from tests.conftest import Drydock

pytestmark = [pytest.mark.cluster, pytest.mark.independent]


@pytest.fixture
def name(drydock: Drydock, drydock_project: Project) -> Iterator[str]:
    made = f"test-{uuid.uuid4().hex[:8]}"
    yield made
    if made in {each.name for each in list_deployments(drydock_project)}:
        drydock("destroy", made)


def clusters(project: Project, name: str) -> list[str]:
    return [each.name for each in list_clusters(project) if name in each.name]


def test_a_cluster_is_made_upgraded_and_removed(drydock: Drydock, drydock_project: Project, name: str) -> None:
    deploy = ("deploy", "dev", "--target", "rehearsal", "--name", name, "--timeout", "900")
    first = drydock(*deploy)
    assert first.returncode == 0, first.stderr
    assert "READY  dev" in first.stdout
    assert "Images were neither pulled nor run" in first.stdout
    (made,) = clusters(drydock_project, name)
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
    drydock: Drydock, drydock_project: Project, name: str, tmp_path: Path
) -> None:
    impossible = tmp_path / "impossible.yaml"
    impossible.write_text(
        yaml.safe_dump({"vllm": {"models": {"llama-3-8b": {"scheduling": {"nodeSelector": {"no-such": "node"}}}}}})
    )
    failed = drydock("deploy", "dev", "--target", "rehearsal", "--name", name, "-f", impossible, "--timeout", "40")
    assert failed.returncode == 1
    assert "FailedScheduling" in failed.stderr
    assert clusters(drydock_project, name) == []
    assert name not in {each.name for each in list_deployments(drydock_project)}


def test_auto_mode_is_refused_and_leaves_nothing(drydock: Drydock, drydock_project: Project, name: str) -> None:
    refused = drydock("deploy", "auto-mode", "--target", "rehearsal", "--name", name)
    assert refused.returncode == 2
    assert "is for EKS Auto Mode" in refused.stderr
    assert clusters(drydock_project, name) == []
