"""`drydock diff`: a change beside another revision, and beside a cluster."""

import itertools
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from kubernetes import client, config

from drydock.project import Project
from drydock.rehearsal.cluster import RehearsalCluster
from drydock.rehearsal.release import Release
from drydock.suite.environments import load_environment
from tests.conftest import ROOT, Drydock

DEPLOYMENT = "Deployment/genai/genai-vllm-llama-3-8b"


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.com"]
    done = subprocess.run(["git", "-C", str(folder), *identity, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Git repository with the suite in a folder of it, tagged v1."""
    root = tmp_path_factory.mktemp("repository")
    for folder in ("charts", "values", "ci/toolchain"):
        shutil.copytree(ROOT / folder, root / "platform" / folder, ignore=shutil.ignore_patterns("*.tgz"))
    git(root, "init", "--quiet", "--initial-branch=main")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message=first")
    git(root, "tag", "v1")
    return root


@pytest.fixture
def suite(repository: Path) -> Mapping[str, str]:
    return {"DRYDOCK_PROJECT": str(repository / "platform")}


def test_nothing_differs_from_the_commit_itself(drydock: Drydock, suite: Mapping[str, str]) -> None:
    done = drydock("diff", "dev", "--against", "v1", "--exit-code", env=suite)
    assert done.returncode == 0, done.stderr
    assert "dev: no object differs" in done.stdout


def test_a_change_is_shown_with_its_lines_in_each_form(
    drydock: Drydock, suite: Mapping[str, str], repository: Path
) -> None:
    changed = ("--against", "v1", "--set", "vllm.models.llama-3-8b.replicas=2")
    text = drydock("diff", "dev", *changed, "--exit-code", env=suite)
    assert text.returncode == 1
    assert f"~ {DEPLOYMENT} (vllm)" in text.stdout
    assert "-  replicas: 1" in text.stdout
    assert "+  replicas: 2" in text.stdout
    assert "+ PodDisruptionBudget/genai/genai-vllm-llama-3-8b (vllm)" in text.stdout

    comparison = json.loads(drydock("diff", "dev", *changed, "--format", "json", env=suite).stdout)
    assert comparison["before"]["name"] == f"v1 ({git(repository, 'rev-parse', '--short=10', 'v1')})"
    assert {(each["change"], each["object"]) for each in comparison["changes"]} == {
        ("changed", DEPLOYMENT),
        ("added", "PodDisruptionBudget/genai/genai-vllm-llama-3-8b"),
    }
    assert comparison["after"]["objects"] == comparison["before"]["objects"] + 1

    comment = drydock("diff", "dev", *changed, "--format", "markdown", env=suite).stdout
    assert comment.startswith("### `dev`: 1 added, 1 changed\n")
    assert f"<details><summary>changed: <code>{DEPLOYMENT}</code> (vllm)</summary>" in comment
    assert comment.count("```") == 4


def test_a_comment_is_never_longer_than_github_takes(drydock: Drydock, suite: Mapping[str, str]) -> None:
    long = (
        "--set",
        f"vllm.models.llama-3-8b.extraEnv.NOTE={'x' * 50_000}",
        "--set",
        "vllm.models.llama-3-8b.replicas=2",
    )
    comment = drydock("diff", "dev", "--against", "v1", *long, "--format", "markdown", env=suite).stdout
    assert len(comment) < 65_536 / 2, "two environments in one comment"
    assert f"changed: <code>{DEPLOYMENT}</code> (vllm), too long for a comment" in comment
    assert "added: <code>PodDisruptionBudget/genai/genai-vllm-llama-3-8b</code> (vllm)</summary>" in comment


def test_an_environment_that_the_other_revision_lacks_is_all_new(
    drydock: Drydock, suite: Mapping[str, str], repository: Path
) -> None:
    file = repository / "platform/values/environments/new.yaml"
    shutil.copy(file.with_name("dev.yaml"), file)
    try:
        done = drydock("diff", "new", "--against", "v1", "--format", "json", env=suite)
    finally:
        file.unlink()
    comparison = json.loads(done.stdout)
    assert comparison["before"]["objects"] == 0
    assert {each["change"] for each in comparison["changes"]} == {"added"}
    assert len(comparison["changes"]) == comparison["after"]["objects"] > 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--against", "nowhere"), "git: nowhere: no such revision"),
        ((), "give either --against REF or --live"),
        (("--live", "--against", "v1"), "give either --against REF or --live"),
        (("--live", "--rehearse"), "--rehearse compares two revisions"),
        (("--against", "--output=evil"), "git: --output=evil: no such revision"),
    ],
)
def test_wrong_use_is_told(drydock: Drydock, suite: Mapping[str, str], arguments: tuple[str, ...], said: str) -> None:
    done = drydock("diff", "dev", *arguments, env=suite)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.cluster
def test_rehearsals_of_both_show_what_the_change_costs(drydock: Drydock, suite: Mapping[str, str]) -> None:
    changed = ("--against", "v1", "--rehearse", "--set", "vllm.models.llama-3-8b.replicas=2")
    done = drydock("diff", "dev", *changed, "--format", "json", env=suite)
    assert done.returncode == 0, done.stderr
    comparison = json.loads(done.stdout)
    before, after = comparison["before"]["fleet"], comparison["after"]["fleet"]
    assert before["ready"]
    assert after["ready"]
    assert sum(after["nodes"].values()) == sum(before["nodes"].values()) + 1 == 2
    assert after["dollars_per_hour"] == pytest.approx(2 * before["dollars_per_hour"], rel=0.5)


@contextmanager
def busy_controller(apps: client.AppsV1Api) -> Iterator[None]:
    """Something that notes its progress on the workloads of the release all the time."""
    stop = threading.Event()
    deployments = [each.metadata.name for each in apps.list_namespaced_deployment("genai").items]
    assert deployments

    def write() -> None:
        for number in itertools.count():
            for name in deployments:
                progress = {"metadata": {"annotations": {"example.com/progress": str(number)}}}
                apps.patch_namespaced_deployment(name, "genai", progress)
                if stop.wait(0.02):
                    return

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        stop.set()
        writer.join()


def test_drift_from_a_cluster_is_what_somebody_changed_there(
    drydock: Drydock, rehearsal_release: Release, rehearsal_cluster: RehearsalCluster
) -> None:

    rehearsal_release.seed(load_environment(Project.discover(ROOT), "dev"))
    rehearsal_release.install()
    live = ("diff", "dev", "--live", "--kubeconfig", rehearsal_cluster.kubeconfig, "--format", "json")
    untouched = json.loads(drydock(*live).stdout)
    assert (untouched["changes"], untouched["shared"]) == ([], [])

    apps = client.AppsV1Api(config.new_client_from_config(config_file=str(rehearsal_cluster.kubeconfig)))
    with busy_controller(apps):
        assert json.loads(drydock(*live).stdout)["changes"] == [], "what a controller writes meanwhile is no drift"
    scaled = {"spec": {"replicas": 3}}
    apps.patch_namespaced_deployment("genai-vllm-llama-3-8b", "genai", scaled, field_manager="kubectl-scale")
    core = client.CoreV1Api(apps.api_client)
    core.delete_namespaced_service("genai-vllm-llama-3-8b", "genai")
    drifted = drydock(*live, "--exit-code")
    assert drifted.returncode == 1, drifted.stderr
    comparison = json.loads(drifted.stdout)
    assert comparison["shared"] == [{"object": DEPLOYMENT, "path": "spec.replicas", "writers": ["kubectl-scale"]}]
    changes = {each["object"]: each for each in comparison["changes"]}
    assert changes[DEPLOYMENT]["change"] == "changed"
    assert "-  replicas: 3" in changes[DEPLOYMENT]["lines"]
    assert changes["Service/genai/genai-vllm-llama-3-8b"]["change"] == "added"
    assert set(changes) == {DEPLOYMENT, "Service/genai/genai-vllm-llama-3-8b"}


def test_a_kubeconfig_of_nothing_is_told(drydock: Drydock, tmp_path: Path) -> None:
    empty = tmp_path / "config"
    empty.write_text("apiVersion: v1\nkind: Config\n")
    done = drydock("diff", "dev", "--live", "--kubeconfig", empty)
    assert done.returncode == 2
    assert "no access to a cluster" in done.stderr
    cluster = {"server": "https://127.0.0.1:1"}
    empty.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "a",
                "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
                "clusters": [{"name": "a", "cluster": cluster}],
                "users": [{"name": "a", "user": {}}],
            }
        )
    )
    done = drydock("diff", "dev", "--live", "--kubeconfig", empty)
    assert done.returncode == 1
    assert "the API server does not answer" in done.stderr
    assert "Traceback" not in done.stderr
