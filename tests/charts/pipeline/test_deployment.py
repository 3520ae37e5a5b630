"""The deployment stage, against an API server as far as it uses one."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.charts.pipeline.conftest import Script

PATH = "/apis/apps/v1/namespaces/genai/deployments"


class Cluster:
    """One Deployment of one pod. A new path becomes healthy, unless it is `broken`."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.tokens: set[str] = set()
        self.patches: list[Any] = []
        self.generation = self.observed = 1
        self.args = ["/model$(DRYDOCK_MODEL_FOLDER)", "--port=8000"]
        self.annotations = {"drydock.dev/model-folder": "/old"}
        self.replicas = 1
        self.trouble = ""
        self.scalings = 0
        """Changes of somebody else, each after a reading."""

    def deployment(self) -> dict[str, Any]:
        done = self.observed == self.generation and not self.trouble
        counts = {"replicas": self.replicas, "updatedReplicas": int(done) and self.replicas}
        progressing = {"type": "Progressing", "status": "False", "message": self.trouble}
        return {
            "metadata": {"generation": self.generation, "resourceVersion": str(self.generation)},
            "spec": {
                "replicas": self.replicas,
                "template": {
                    "metadata": {"annotations": self.annotations},
                    "spec": {"containers": [{"name": "vllm", "args": self.args}]},
                },
            },
            "status": {
                "observedGeneration": self.observed,
                **counts,
                "availableReplicas": self.replicas,
                "conditions": [progressing] if self.trouble else [],
            },
        }

    @property
    def folder(self) -> str:
        return self.annotations["drydock.dev/model-folder"]

    def patch(self, change: Any) -> None:
        assert list(change["spec"]) == ["template"]
        assert list(change["spec"]["template"]) == ["metadata"]
        with self.changed:
            self.patches.append(change)
            self.annotations = {**self.annotations, **change["spec"]["template"]["metadata"]["annotations"]}
            self.generation += 1
            self.trouble = ""
            self.changed.notify_all()

    def roll_out(self) -> None:
        with self.changed:
            self.observed = self.generation
            self.trouble = "ProgressDeadlineExceeded" if "broken" in self.folder else ""


@pytest.fixture
def cluster() -> Iterator[tuple[Cluster, str]]:
    """A cluster, and the address of its API."""
    state = Cluster()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.tokens.add(self.headers["Authorization"])
            url = urlsplit(self.path)
            query = parse_qs(url.query)
            if "watch" in query:
                assert query["fieldSelector"] == ["metadata.name=assistant"]
                self.answer({"type": "ADDED", "object": state.deployment()})
                state.roll_out()
                self.wfile.write(json.dumps({"type": "MODIFIED", "object": state.deployment()}).encode() + b"\n")
            elif url.path == f"{PATH}/assistant":
                self.answer(state.deployment())
                if state.scalings:
                    state.scalings -= 1
                    state.generation += 1
            else:
                self.answer({"message": "deployments.apps is forbidden"}, 403)

        def do_PATCH(self) -> None:
            assert self.headers["Content-Type"] == "application/strategic-merge-patch+json"
            change = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if change["metadata"]["resourceVersion"] != str(state.generation):
                self.answer({"message": "the object has been modified"}, 409)
                return
            state.patch(change)
            self.answer(state.deployment())

        def answer(self, content: Any, status: int = 200) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(content).encode() + b"\n")

        def log_message(self, format: str, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield state, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def account(tmp_path: Path) -> Path:
    """A ServiceAccount's folder."""
    (tmp_path / "token").write_text("secret-token\n")
    return tmp_path


def deploy(script: Script, monkeypatch: pytest.MonkeyPatch, account: Path, server: str, model: str) -> int:
    stage = script("deployment")
    monkeypatch.setattr(stage.Api.__init__, "__defaults__", (account,))
    best = account / "best.json"
    best.write_text(json.dumps({"model": model}))
    arguments = {
        "best": str(best),
        "models": "s3://models/assistant/",
        "namespace": "genai",
        "deployment": "assistant",
        "seconds": "300",
        "server": server,
    }
    status: int = stage.main([f"--{name}={value}" for name, value in arguments.items()])
    return status


def test_the_new_model_is_served_and_nothing_else_changes(
    script: Script, cluster: tuple[Cluster, str], account: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, server = cluster
    assert deploy(script, monkeypatch, account, server, "s3://models/assistant/run-1/trial-2") == 0
    assert state.folder == "/run-1/trial-2"
    assert len(state.patches) == 1
    assert state.tokens == {"Bearer secret-token"}
    assert deploy(script, monkeypatch, account, server, "s3://models/assistant/run-1/trial-2") == 0
    assert len(state.patches) == 1, "a second try has nothing to change"


@pytest.mark.parametrize(("scalings", "status"), [(3, 0), (99, 1)])
def test_an_autoscaler_that_changes_the_deployment_too_is_waited_for(
    script: Script,
    cluster: tuple[Cluster, str],
    account: Path,
    monkeypatch: pytest.MonkeyPatch,
    scalings: int,
    status: int,
) -> None:
    state, server = cluster
    state.scalings = scalings
    assert deploy(script, monkeypatch, account, server, "s3://models/assistant/run-1/trial-2") == status
    assert state.folder == ("/old" if status else "/run-1/trial-2")


def test_a_model_that_does_not_get_healthy_is_taken_back(
    script: Script,
    cluster: tuple[Cluster, str],
    account: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    state, server = cluster
    assert deploy(script, monkeypatch, account, server, "s3://models/assistant/run-2/broken") == 1
    assert state.folder == "/old"
    assert len(state.patches) == 2
    stderr = capsys.readouterr().err
    assert "ProgressDeadlineExceeded" in stderr
    assert "/model/old is served again" in stderr


def test_a_second_try_after_an_interruption_still_knows_what_to_put_back(
    script: Script, cluster: tuple[Cluster, str], account: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, server = cluster
    stage = script("deployment")
    state.patch(stage.change_to(state.deployment(), "/run-2/broken", "/old"))  # and the node went away
    assert deploy(script, monkeypatch, account, server, "s3://models/assistant/run-2/broken") == 1
    assert state.folder == "/old"


def test_somebody_elses_choice_meanwhile_is_no_success_and_stays(
    script: Script,
    cluster: tuple[Cluster, str],
    account: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    state, server = cluster

    def revert() -> None:
        state.annotations = {"drydock.dev/model-folder": "/other"}

    monkeypatch.setattr(state, "roll_out", revert)
    assert deploy(script, monkeypatch, account, server, "s3://models/assistant/run-1/base") == 1
    assert "changed to serve '/other' meanwhile" in capsys.readouterr().err
    assert state.folder == "/other"


def test_a_model_without_pods_is_not_said_to_be_served(
    script: Script,
    cluster: tuple[Cluster, str],
    account: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    state, server = cluster
    state.replicas = 0
    assert deploy(script, monkeypatch, account, server, "s3://models/assistant/run-1/base") == 0
    assert "has no pods: the next that starts loads /model/run-1/base, untried" in capsys.readouterr().out


def test_a_deployment_that_does_not_follow_the_annotation_is_left_alone(
    script: Script,
    cluster: tuple[Cluster, str],
    account: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    state, server = cluster
    state.args = ["/model/run-0/base", "--port=8000"]
    assert deploy(script, monkeypatch, account, server, "s3://models/assistant/run-1/base") == 1
    assert "not /model$(DRYDOCK_MODEL_FOLDER): upgrade the release" in capsys.readouterr().err
    assert not state.patches


def test_a_model_that_the_server_could_not_read_is_refused(
    script: Script,
    cluster: tuple[Cluster, str],
    account: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    state, server = cluster
    assert deploy(script, monkeypatch, account, server, "s3://elsewhere/assistant/run-1") == 1
    assert "lies outside of s3://models/assistant/" in capsys.readouterr().err
    assert not state.patches


def test_what_the_api_refuses_is_told(script: Script, cluster: tuple[Cluster, str], account: Path) -> None:
    stage = script("deployment")
    with pytest.raises(stage.DeploymentError, match=r"403 deployments\.apps is forbidden"):
        stage.Api(cluster[1], "genai", "other", account).read()


@pytest.mark.parametrize(
    ("status", "healthy"),
    [
        ({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}, True),
        ({"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}, False),
        ({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 2, "availableReplicas": 2}, False),
        ({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 1}, False),
        ({}, False),
    ],
)
def test_healthy_is_every_pod_of_the_last_template(script: Script, status: Any, healthy: bool) -> None:
    deployment = {"metadata": {"generation": 2}, "spec": {"replicas": 2}, "status": status}
    assert script("deployment").is_healthy(deployment) is healthy


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../a", "a/../../b", "a//b", "a b", "", "--trust-remote-code/..", "a\n--b", "."]
)
def test_only_a_plain_path_below_the_mounted_folder_is_served(script: Script, name: str) -> None:
    stage = script("deployment")
    assert stage.folder_of("s3://b/models/run-1/base", "s3://b/models/") == "/run-1/base"
    with pytest.raises(stage.DeploymentError):
        stage.folder_of(f"s3://b/models/{name}", "s3://b/models")
