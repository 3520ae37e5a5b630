"""The processes of the gateway, with the files that the chart's ConfigMaps would mount."""

import contextlib
import hmac
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

CHAT = "/v1/chat/completions"
MASTER = "sk-master-of-the-tests"
ACTIVATOR = {"X-Drydock-Activator": hmac.digest(MASTER.encode(), b"activator", "sha256").hex()}
"""What the gateway shows to the activator."""
QUESTION: dict[str, Any] = {"messages": [{"role": "user", "content": "Say something secret."}], "max_tokens": 4}


class NotYetError(AssertionError):
    """What is waited for has not come."""


until = retry(
    retry=retry_if_exception_type(NotYetError), stop=stop_after_delay(240), wait=wait_fixed(0.1), reraise=True
)
"""Tries again until no NotYetError comes, for some minutes at most."""


_GIVEN: set[int] = set()


def free_port() -> int:
    """A port at which nobody listens, another one each time: who gets it may come to it much later."""
    while True:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port: int = free.getsockname()[1]
        if port not in _GIVEN:
            _GIVEN.add(port)
            return port


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


def call(
    port: int, method: str, path: str, body: object = None, key: str = "", headers: Mapping[str, str] | None = None
) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=240)
    own = {"Authorization": f"Bearer {key}"} if key else {}
    raw = body if isinstance(body, bytes) or body is None else json.dumps(body)
    connection.request(method, path, raw, {"Content-Type": "application/json", **own, **(headers or {})})
    response = connection.getresponse()
    answer = Answer(response.status, dict(response.headers.items()), response.read().decode())
    connection.close()
    return answer


@dataclass
class Waiting:
    """A request in a thread of its own."""

    thread: threading.Thread
    answers: list[Answer] = field(default_factory=list)

    def answer(self) -> Answer:
        self.thread.join(240)
        assert self.answers, "no answer came"
        return self.answers[0]


def send(port: int, path: str, body: object, key: str = "", headers: Mapping[str, str] | None = None) -> Waiting:
    answers: list[Answer] = []

    def ask() -> None:
        with contextlib.suppress(OSError, http.client.HTTPException):  # the server may end before the request does
            answers.append(call(port, "POST", path, body, key, headers))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    return Waiting(thread, answers)


@dataclass
class Running:
    """A process whose output is kept."""

    process: subprocess.Popen[str]
    port: int
    look_port: int
    lines: list[str] = field(default_factory=list)

    def follow(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.append(line)

    @property
    def log(self) -> str:
        return "".join(self.lines)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(120)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(30)

    @until
    def up(self, path: str, *, look: bool = False) -> None:
        if self.process.poll() is not None:
            raise AssertionError(f"it ended:\n{self.log}")
        try:
            status = call(self.look_port if look else self.port, "GET", path).status
        except OSError as error:
            raise NotYetError(self.log) from error
        if status != 200:
            raise NotYetError(f"{path} is {status}\n{self.log}")


def start(command: list[str], port: int, look_port: int, environment: Mapping[str, str]) -> Running:
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
    )
    running = Running(process, port, look_port)
    threading.Thread(target=running.follow, daemon=True).start()
    return running


@dataclass(frozen=True)
class Mounts:
    """The folder that /etc/gateway and /opt/gateway are in a pod."""

    folder: Path

    def settings(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.folder / "settings/settings.json").read_text())
        return content

    def change_settings(self, **values: Any) -> None:
        (self.folder / "settings/settings.json").write_text(json.dumps({**self.settings(), **values}))

    def write(self, path: str, text: str) -> None:
        """Replace a file in one step, as the kubelet does."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh = file.with_name(f".{file.name}.new")
        fresh.write_text(text)
        fresh.replace(file)

    def catalogue(self, entries: Mapping[str, Any]) -> None:
        self.write("catalogue/models.json", json.dumps(entries))


def entry(port: int, name: str, **others: Any) -> dict[str, Any]:
    """An entry of the catalogue."""
    return {"names": [name], "url": f"http://127.0.0.1:{port}", "scaleToZero": False, **others}


def start_activator(mounts: Mounts, **settings: str) -> Running:
    port, look_port = free_port(), free_port()
    environment = {
        "GATEWAY_FOLDER": str(mounts.folder),
        "LITELLM_MASTER_KEY": MASTER,
        "ACTIVATOR_HOST": "127.0.0.1",
        "ACTIVATOR_PORT": str(port),
        "ACTIVATOR_LOOK_PORT": str(look_port),
    }
    command = [sys.executable, str(mounts.folder / "code/activator.py")]
    running = start(command, port, look_port, {**environment, **settings})
    try:
        running.up("/healthz", look=True)
    except AssertionError:
        running.end()
        raise
    return running


def start_model(port: int, name: str, *arguments: str, **environment: str) -> Running:
    """`drydock-vllm`: the engine's server, with the engine simulated."""
    command = [sys.executable, "-m", "drydock.simulator.server", "serve", "meta-llama/Llama-3.1-8B-Instruct"]
    command += ["--served-model-name", name, "--host", "127.0.0.1", "--port", str(port), "--max-model-len", "4096"]
    command += arguments
    return start(command, port, port, {"DRYDOCK_VLLM_SPEED": "20", **environment})


@until
def has_printed(running: Running, text: str) -> None:
    if text not in running.log:
        raise NotYetError(running.log)


def start_gateway(litellm: Path, mounts: Mounts, **environment: str) -> Running:
    """LiteLLM with the chart's files; the folder is that of its programs."""
    port, metrics = free_port(), free_port()
    (mounts.folder / f"tmp{port}").mkdir()
    own = {
        "GATEWAY_FOLDER": str(mounts.folder),
        "GATEWAY_LOOK_SECONDS": "0.5",
        "GATEWAY_METRICS_PORT": str(metrics),
        "LITELLM_MASTER_KEY": MASTER,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "TMPDIR": str(mounts.folder / f"tmp{port}"),
        "PATH": f"{litellm}:/usr/bin:/bin",
    }
    command = [str(litellm / "python"), str(mounts.folder / "code/start.py")]
    return start([*command, "--host", "127.0.0.1", "--port", str(port)], port, metrics, {**own, **environment})


StartModel = Callable[..., Running]
