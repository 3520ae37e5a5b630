"""What is wrong on the command line or in a file is named with the way out, before anything is begun."""

import json
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from drydock.deploy.deployments import Deployment, alone, deployments_dir, keep, list_deployments, now
from drydock.deploy.target import Overlay
from drydock.deploy.targets import TARGETS
from drydock.project import Project
from drydock.rehearsal.runs import list_clusters
from tests.conftest import ROOT, Drydock

MakeProject = Callable[[Mapping[str, str]], Project]

IMPOSSIBLE = ("--set", "vllm.models.llama-3-8b.scheduling.nodeSelector.no-such=node")
EKS = ("deploy", "dev", "--target", "eks", "--yes", "--account-id")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("deploy", "dev", "--target", "kind", "--name", "../../elsewhere"), "--name ../../elsewhere: not the name"),
        (("deploy", "dev", "--target", "rehearsal", "--name", "Dev"), "Lower-case letters, digits and hyphens"),
        ((*EKS, "123456789012", "--name", "a" * 36), "2 to 35 of them"),
        ((*EKS, "1234-5678-9012"), "--account-id 1234-5678-9012: not an AWS account"),
        ((*EKS, "12345"), "Give its 12 digits"),
        ((*EKS, "123456789012", "--ttl", "99999999d"), "366d at most"),
        ((*EKS, "123456789012", "--ttl", "\u00b2h"), "Give hours or days"),
        (("destroy", "--expired", "--account-id", "mine"), "--account-id mine: not an AWS account"),
        (("deploy", "nowhere", "--target", "kind"), "unknown environment 'nowhere'"),
    ],
)
def test_a_wrong_option_is_told_with_what_it_takes(
    drydock: Drydock, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = drydock(*arguments, env={"DRYDOCK_CACHE": str(tmp_path / "cache")})
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert not deployments_dir(Project(ROOT, tmp_path / "cache")).exists()


@pytest.mark.parametrize(
    "content", ["clusters: [", "hello", "[1]", "clusters: 3", "current-context: x\ncontexts: []", "\x00\xff"]
)
def test_a_file_that_is_no_kubeconfig_is_named(drydock: Drydock, tmp_path: Path, content: str) -> None:
    file = tmp_path / "config"
    file.write_text(content, encoding="latin-1")
    done = drydock("deploy", "dev", "--kubeconfig", file, env={"DRYDOCK_CACHE": str(tmp_path / "cache")})
    assert done.returncode == 2
    assert "Give a file that kubectl takes to --kubeconfig" in done.stderr
    assert "Traceback" not in done.stderr
    assert not deployments_dir(Project(ROOT, tmp_path / "cache")).exists()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"name": "dev-kind"}', '{"name": "dev-kind", "what": 1}'])
def test_a_broken_record_of_a_deployment_is_named(drydock: Drydock, tmp_path: Path, content: str) -> None:
    record = deployments_dir(Project(ROOT, tmp_path)) / "dev-kind" / "deployment.json"
    record.parent.mkdir(parents=True)
    record.write_text(content)
    done = drydock("deploy", "--list", env={"DRYDOCK_CACHE": str(tmp_path)})
    assert done.returncode == 2
    assert f"error: {record}: not the record of a deployment" in done.stderr


def test_the_list_tells_names_and_times_in_full(drydock: Drydock, tmp_path: Path) -> None:
    name, expires = "the-platform-of-the-search-team", "2999-01-01T00:00:00Z"
    keep(Project(ROOT, tmp_path), Deployment(name, "auto-mode", "eks", "genai", "2026-01-01T00:00:00Z", expires))
    (line,) = [
        each
        for each in drydock("deploy", "--list", env={"DRYDOCK_CACHE": str(tmp_path)}).stdout.splitlines()
        if name in each
    ]
    assert expires in line


def test_an_environment_with_errors_is_refused_before_anything_is_made(
    drydock: Drydock, drydock_project: Project
) -> None:
    name = f"test-{uuid.uuid4().hex[:8]}"
    refused = drydock("deploy", "dev", "--target", "rehearsal", "--name", name, *IMPOSSIBLE, "--format", "json")
    assert refused.returncode == 1
    assert "Validation found errors; nothing was made or changed." in refused.stderr
    assert "no-such" in refused.stderr
    printed = json.loads(refused.stdout)
    assert printed["error"]["exitStatus"] == 1
    assert "--ignore-findings" in printed["error"]["remedy"]
    (finding,) = [finding for finding in printed["findings"] if finding["severity"] == "error"]
    assert (finding["check"], finding["environment"]) == ("pod-feasibility", "dev")
    assert not (deployments_dir(drydock_project) / name).exists()
    assert name not in " ".join(cluster.name for cluster in list_clusters(drydock_project))


def test_wrong_usage_is_reported_before_the_environment_is_validated(drydock: Drydock, tmp_path: Path) -> None:
    project = Project(ROOT, tmp_path)
    keep(project, Deployment("ours", "dev", "kind", "genai", now()))
    command = ("deploy", "dev", "--target", "rehearsal", "--name", "ours", *IMPOSSIBLE)
    taken = drydock(*command, env={"DRYDOCK_CACHE": str(tmp_path)}, timeout=300)
    assert (taken.returncode, taken.stdout) == (2, "")
    assert "deployment ours is of environment dev on another kind target" in taken.stderr
    assert not (tmp_path / "findings").exists()


def test_values_that_a_target_adds_are_known_before_its_cluster(small_project: MakeProject) -> None:
    zones, vpc = ["eu-west-1a", "eu-west-1b"], {"id": "vpc-1"}
    files = {
        "values/kind/added.yaml": "",
        "values/home.yaml": "global: {region: eu-west-1, zones: [eu-west-1b]}\n",
        "values/environments/home.yaml": "description: x\nstack: [home.yaml]\n",
        "values/environments/plain.yaml": "description: x\nstack: [empty.yaml]\nkind: {values: [kind/added.yaml]}\n",
        "values/environments/zones.yaml": f"description: x\nstack: [empty.yaml]\neks: {json.dumps({'zones': zones})}\n",
        "values/environments/vpc.yaml": f"description: x\nstack: [empty.yaml]\neks: {json.dumps({'vpc': vpc})}\n",
    }
    project, settings = small_project(files), {"account_id": "123456789012", "region": "eu-west-1"}

    def known(environment: str, target: str) -> Overlay:
        deployment = Deployment("ours", environment, target, "genai", now(), settings=settings)
        return TARGETS[target](project, deployment, print).known()

    assert known("plain", "rehearsal") == Overlay()
    assert known("plain", "kind").files == (project.values_dir / "kind" / "added.yaml",)
    place = {
        environment: known(environment, "eks").values["global"] for environment in ("plain", "home", "zones", "vpc")
    }
    assert {values["clusterName"] for values in place.values()} == {"ours"}
    assert {values["region"] for values in place.values()} == {"eu-west-1"}
    assert place["plain"]["zones"] == ["eu-west-1a", "eu-west-1b", "eu-west-1c"], "AWS chooses the zones of a new VPC"
    assert "zones" not in place["home"], "those of the values stand for them"
    assert place["zones"]["zones"] == zones
    assert "zones" not in place["vpc"], "those of the values are installed"


def test_two_commands_do_not_work_on_one_deployment(drydock: Drydock, tmp_path: Path) -> None:
    project = Project(ROOT, tmp_path)
    env = {"DRYDOCK_CACHE": str(tmp_path), "PATH": str(tmp_path)}
    keep(project, Deployment("ours", "dev", "kind", "genai", now()))
    with alone(project, "ours"):
        second = drydock("destroy", "ours", env=env)
    assert second.returncode == 2
    assert "another command is at work on deployment ours" in second.stderr
    assert "docker is not on PATH" in drydock("destroy", "ours", env=env).stderr, "it goes on once the other has ended"
    assert [each.name for each in list_deployments(project)] == ["ours"]
