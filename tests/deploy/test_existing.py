"""`drydock deploy --kubeconfig` on a control plane of this machine: install, upgrade, rollback, destroy."""

import json
import re
import stat
import uuid
from importlib import resources
from pathlib import Path

import yaml

from drydock.clusters.api import Api
from drydock.deploy.deployments import list_deployments
from drydock.json_schemas import Draft202012Validator
from drydock.project import Project
from drydock.rehearsal.cluster import RehearsalCluster
from drydock.rehearsal.prerequisites import create_prerequisites
from drydock.rehearsal.release import Release
from drydock.suite.environments import load_environment
from tests.conftest import Drydock

NODE_CLAIMS = "/apis/karpenter.sh/v1/nodeclaims"
RELEASES = "/api/v1/namespaces/genai/secrets"
DEPLOYMENTS = "/apis/apps/v1/namespaces/genai/deployments"


def history(api: Api) -> list[tuple[str, str]]:
    """(revision, status) of the release."""
    secrets = [each["metadata"] for each in api.get(RELEASES)["items"] if each["type"] == "helm.sh/release.v1"]
    return sorted((each["labels"]["version"], each["labels"]["status"]) for each in secrets)


def assert_reported(printed: str, file: Path) -> None:
    """The report of a rehearsal, on this cluster."""
    assert "Deployment on existing of dev (Kubernetes v1." in printed
    assert "READY" in printed
    report = json.loads(file.read_text())
    schema = resources.files("drydock").joinpath("data/report.schema.json").read_text()
    Draft202012Validator(json.loads(schema)).validate(report)
    (engine,) = [each for each in report["pods"] if each["accelerators"]]
    (node,) = report["nodes"]
    assert (engine["phase"], engine["node"], node["pool"]) == ("Ready", node["name"], "gpu")
    assert report["dollars_per_hour"] == node["dollars_per_hour"] > 0.5
    assert {"CRD nodepools.karpenter.sh", "Install dev"} <= {each["name"] for each in report["steps"]}


def assert_given_up(printed: str) -> None:
    """Before the time-out, with Karpenter's reason by pool, and what to do."""
    assert "the release can never become ready:\n  Pod/genai/genai-vllm-llama-3-8b-" in printed
    assert re.search(r"pool gpu: .*no-such", printed)
    assert "Change what the pod requires or what a pool offers" in printed
    assert "It was rolled back" in printed


SLOW_NODES = "vllm.models.llama-3-8b.startup.nodeSeconds=901"


def test_install_upgrade_rollback_and_destroy_on_a_cluster_that_exists(
    drydock: Drydock,
    rehearsal_release: Release,
    rehearsal_cluster: RehearsalCluster,
    drydock_project: Project,
    tmp_path: Path,
) -> None:
    rehearsal_release.seed(load_environment(drydock_project, "dev"))
    api = rehearsal_cluster.await_api()
    name = f"test-{uuid.uuid4().hex[:8]}"
    deploy = ("deploy", "dev", "--kubeconfig", rehearsal_cluster.kubeconfig, "--name", name)

    early = drydock(*deploy)
    assert early.returncode == 1
    assert "Secrets or keys are missing in namespace genai: hf-secret (hf_api_token)" in early.stderr

    create_prerequisites(api, rehearsal_release.prerequisites)
    first = drydock(*deploy, "--timeout", "900")
    assert first.returncode == 0, first.stderr
    assert "Traceback" not in first.stderr
    assert_reported(first.stdout, drydock_project.cache_dir / "deployments" / name / "report.json")
    assert f"drydock destroy {name}" in first.stderr
    namespace = api.get("/api/v1/namespaces/genai")["metadata"]
    assert namespace["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert api.get(NODE_CLAIMS)["items"]
    record = next(each for each in list_deployments(drydock_project) if each.name == name)
    folder = record.folder(drydock_project)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    key = yaml.safe_load(rehearsal_cluster.kubeconfig.read_text())["users"][0]["user"]
    secrets = [value for value in key.values() if isinstance(value, str) and len(value) > 200]
    written = "".join(file.read_text() for file in folder.rglob("*") if file.is_file())
    assert "client-key" not in written
    assert not any(each in written + first.stdout + first.stderr for each in secrets)
    assert name in drydock("deploy", "--list").stdout

    unknown = drydock(*deploy, "--set", "vllm.models.llama-3-8b.nodeSelector.no-such=node")
    assert unknown.returncode == 1
    assert "unknown key" in unknown.stderr
    assert "nothing was made or changed" in unknown.stderr

    scheduling = {"scheduling": {"nodeSelector": {"no-such": "node"}}}
    impossible = tmp_path / "impossible.yaml"
    impossible.write_text(yaml.safe_dump({"vllm": {"models": {"llama-3-8b": scheduling}}}))
    second = drydock(*deploy, "-f", impossible, "--timeout", "3600", "--ignore-findings")
    assert second.returncode == 1
    assert_given_up(second.stderr)
    assert history(api) == [("1", "superseded"), ("2", "failed"), ("3", "deployed")]

    patient = drydock(*deploy, "--set", SLOW_NODES, "--timeout", "900")
    assert patient.returncode == 0, patient.stderr
    assert history(api)[-2:] == [("3", "superseded"), ("4", "deployed")]
    assert_conflicts_are_named_and_taken_over(drydock, deploy, api)

    taken = drydock("deploy", "airgap", "--kubeconfig", rehearsal_cluster.kubeconfig, "--name", name)
    assert taken.returncode == 2
    assert "is of environment dev" in taken.stderr

    gone = drydock("destroy", name, "--timeout", "900")
    assert gone.returncode == 0, gone.stderr
    assert api.get(NODE_CLAIMS)["items"] == []
    assert history(api) == []
    assert not folder.exists()


def assert_conflicts_are_named_and_taken_over(drydock: Drydock, deploy: tuple[str | Path, ...], api: Api) -> None:
    """A field of a model's Deployment that was edited stays so until it is taken over."""
    deadline = api.get(f"{DEPLOYMENTS}/genai-vllm-llama-3-8b")["spec"]["progressDeadlineSeconds"]
    assert deadline % 10 == 1, "901 s for the node, and the rest in tens"
    model, again = f"{DEPLOYMENTS}/genai-vllm-llama-3-8b", ("--set", SLOW_NODES, "--timeout", "900")
    api.merge(f"{model}?fieldManager=kubectl-edit", {"spec": {"progressDeadlineSeconds": 1234}})
    conflict = drydock(*deploy, *again)
    assert conflict.returncode == 1
    field = "Deployment/genai/genai-vllm-llama-3-8b: spec.progressDeadlineSeconds, written by kubectl-edit"
    assert field in conflict.stderr
    assert history(api)[-1] == ("4", "deployed"), "nothing was tried"
    forced = drydock(*deploy, *again, "--force-conflicts")
    assert forced.returncode == 0, forced.stderr
    assert api.get(model)["spec"]["progressDeadlineSeconds"] == deadline


def test_wrong_usage_is_told(drydock: Drydock) -> None:
    neither = drydock("deploy", "dev")
    assert neither.returncode == 2
    assert "either --target or --kubeconfig" in neither.stderr
    unnamed = drydock("deploy", "dev", "--target", "eks")
    assert "--target eks needs --account-id" in unnamed.stderr
    endless = drydock("deploy", "dev", "--target", "eks", "--account-id", "123456789012", "--ttl", "forever", "--yes")
    assert "--ttl forever: not a time to live" in endless.stderr
    unasked = drydock("deploy", "dev", "--target", "eks", "--account-id", "123456789012")
    assert unasked.returncode == 2
    assert "there is no terminal to confirm on" in unasked.stderr
    unknown = drydock("destroy", "no-such")
    assert unknown.returncode == 2
    assert "no deployment no-such" in unknown.stderr
