"""The probes of containers, asked of processes of this machine."""

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from drydock.rehearsal.kubelet.pod_addresses import Address

_OK = range(200, 400)
_EAGER_SECONDS = 0.25


@dataclass(frozen=True)
class Probe:
    """One probe of a container; it is asked often until it succeeds the first time, then once a period.

    Args:
        content: as in the pod.
        ports: numbers of the container's ports by name.
        address: of the pod.
        succeeds: runs a command in the container, within so many seconds.
    """

    content: Mapping[str, Any]
    ports: Mapping[str, int]
    address: Address
    succeeds: Callable[[Sequence[str], float], bool]

    @property
    def period(self) -> float:
        """Seconds from one question to the next."""
        return float(self.content.get("periodSeconds", 10))

    @property
    def threshold(self) -> int:
        """Failures in a row that count."""
        return int(self.content.get("failureThreshold", 3))

    @property
    def patience(self) -> float:
        """Seconds until a first success is late."""
        return float(self.content.get("initialDelaySeconds", 0)) + self.period * self.threshold

    def pause(self, *, succeeded: bool) -> float:
        """Seconds until the next question."""
        return self.period if succeeded else min(self.period, _EAGER_SECONDS)

    def ask(self) -> bool:
        """Whether it succeeds now."""
        seconds = float(self.content.get("timeoutSeconds", 1))
        if "httpGet" in self.content:
            return self._http(self.content["httpGet"], seconds)
        if "exec" in self.content:
            return self.succeeds(self.content["exec"]["command"], seconds)
        for kind in ("tcpSocket", "grpc"):
            if kind in self.content:
                return self._connects(self._port(self.content[kind]["port"]), seconds)
        return True

    def _port(self, port: int | str) -> int:
        number = self.ports.get(port, 0) if isinstance(port, str) else port
        return self.address.port(number)

    def _connects(self, port: int, seconds: float) -> bool:
        try:
            with socket.create_connection((self.address.host, port), timeout=seconds):
                return True
        except OSError:
            return False

    def _http(self, action: Mapping[str, Any], seconds: float) -> bool:
        import urllib3

        scheme = action.get("scheme", "HTTP").lower()
        url = f"{scheme}://{self.address.host}:{self._port(action['port'])}{action.get('path', '/')}"
        headers = {each["name"]: each["value"] for each in action.get("httpHeaders") or ()}
        try:
            with urllib3.PoolManager(retries=False, timeout=seconds, cert_reqs="CERT_NONE") as pool:
                return pool.request("GET", url, headers=headers, redirect=False).status in _OK
        except urllib3.exceptions.HTTPError:
            return False
