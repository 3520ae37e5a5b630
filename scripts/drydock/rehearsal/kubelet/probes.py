"""The probes of containers, sent to processes of this machine."""

import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

from drydock.rehearsal.kubelet.grpc_health import unhealthy
from drydock.rehearsal.kubelet.pod_addresses import Address

_OK, _REDIRECTS, _MOST_REDIRECTS = range(200, 400), range(300, 400), 10
_EAGER_SECONDS = 0.25

Execute = Callable[[Sequence[str], float], str]
"""Runs a command in a container, within so many seconds: why it failed, empty when it did not."""


@dataclass(frozen=True)
class Handler:
    """What a probe or a hook does: `exec`, `httpGet`, `tcpSocket`, `grpc` or `sleep`.

    Args:
        content: as in the pod.
        ports: numbers of the container's ports by name.
        address: of the pod.
        execute: runs a command in the container.
    """

    content: Mapping[str, Any]
    ports: Mapping[str, int]
    address: Address
    execute: Execute

    def run(self, seconds: float) -> str:
        """Do it within so many seconds: why it failed, empty when it did not."""
        acts = {"exec": self._exec, "httpGet": self._http, "tcpSocket": self._tcp, "grpc": self._grpc}
        kind = next((kind for kind in acts if kind in self.content), None)
        return acts[kind](self.content[kind], seconds) if kind else ""

    def _exec(self, action: Mapping[str, Any], seconds: float) -> str:
        return self.execute(action["command"], seconds)

    def _tcp(self, action: Mapping[str, Any], seconds: float) -> str:
        try:
            with socket.create_connection((self._host(action), self._port(action["port"])), timeout=seconds):
                return ""
        except OSError as error:
            return f"TCP: {error.strerror or error}"

    def _grpc(self, action: Mapping[str, Any], seconds: float) -> str:
        return unhealthy(self.address.host, self._port(action["port"]), action.get("service") or "", seconds)

    def _http(self, action: Mapping[str, Any], seconds: float) -> str:
        """As a kubelet: a redirect to another host succeeds, one to the same host is followed."""
        import urllib3

        url = f"{action.get('scheme', 'HTTP').lower()}://{self._host(action)}:{self._port(action['port'])}"
        url = urljoin(url, action.get("path") or "/")
        headers = {"User-Agent": "kube-probe", "Accept": "*/*"}
        headers |= {header["name"]: header["value"] for header in action.get("httpHeaders") or ()}
        try:
            with urllib3.PoolManager(retries=False, timeout=seconds, cert_reqs="CERT_NONE") as pool:
                for _ in range(_MOST_REDIRECTS):
                    response = pool.request("GET", url, headers=headers, redirect=False)
                    target = urljoin(url, response.headers.get("Location", ""))
                    elsewhere = urlsplit(target).hostname != urlsplit(url).hostname
                    if response.status not in _REDIRECTS or target == url or elsewhere:
                        return "" if response.status in _OK else f"HTTP status {response.status}"
                    url = target
        except urllib3.exceptions.HTTPError as error:
            return f"HTTP: {type(error).__name__.removesuffix('Error')}"
        return f"HTTP: more than {_MOST_REDIRECTS} redirects"

    def _host(self, action: Mapping[str, Any]) -> str:
        return str(action.get("host") or self.address.host)

    def _port(self, port: int | str) -> int:
        return self.address.port(self.ports.get(port, 0) if isinstance(port, str) else port)


@dataclass(frozen=True)
class Probe:
    """One probe of a container, sent as the kubelet does, but eagerly until it succeeds for the first time.

    Args:
        content: as in the pod.
        handler: what it does.
    """

    content: Mapping[str, Any]
    handler: Handler

    def await_success(self, over: threading.Event) -> str:
        """As a startup probe: return when it succeeds, or `over` is set; else why it failed for too long."""
        late = time.monotonic() + self._initial_delay + self._period * self._failures
        while not over.wait(min(self._period, _EAGER_SECONDS)):
            if not (why := self._send()):
                return ""
            if time.monotonic() > late:
                return f"startup probe failed: {why}"
        return ""

    def follow(self, over: threading.Event, tell: Callable[[bool], None]) -> None:
        """As a readiness probe: report each change until `over` is set."""
        ready, successes, failures = False, 0, 0
        interval, pause = min(self._period, _EAGER_SECONDS), 0.0
        while not over.wait(pause):
            began = time.monotonic()
            if self._send():
                successes, failures = 0, failures + 1
            else:
                successes, failures, interval = successes + 1, 0, self._period
            now = failures < self._failures if ready else successes >= self._successes
            if now != ready:
                ready = now
                tell(ready)
            pause = max(0.0, interval - (time.monotonic() - began))

    def await_failure(self, over: threading.Event) -> str:
        """As a liveness probe: why it failed so many times in a row; empty when `over` is set before."""
        failures, pause = 0, self._initial_delay
        while not over.wait(pause):
            began = time.monotonic()
            why = self._send()
            failures = failures + 1 if why else 0
            if failures >= self._failures:
                return f"liveness probe failed {failures} times in a row: {why}"
            pause = max(0.0, self._period - (time.monotonic() - began))
        return ""

    def grace(self, of_pod: float) -> float:
        """Seconds that the container has to end once the probe has failed."""
        return float(self.content.get("terminationGracePeriodSeconds", of_pod))

    def _send(self) -> str:
        return self.handler.run(float(self.content.get("timeoutSeconds", 1)))

    @property
    def _period(self) -> float:
        return float(self.content.get("periodSeconds", 10))

    @property
    def _initial_delay(self) -> float:
        return float(self.content.get("initialDelaySeconds", 0))

    @property
    def _failures(self) -> int:
        return int(self.content.get("failureThreshold", 3))

    @property
    def _successes(self) -> int:
        return int(self.content.get("successThreshold", 1))
