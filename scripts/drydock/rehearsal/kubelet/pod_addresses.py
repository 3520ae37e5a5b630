"""Where pods that run listen: every pod has an address of the cluster, and one of this machine behind it."""

import re
import secrets
import socket
import sys
import threading
from dataclasses import dataclass, field

_LISTENS = re.compile(r"^(?P<before>(?:[^=]*=)?)(?:0\.0\.0\.0|\[::\]|\*)?:(?P<port>\d{2,5})$")
_ANYWHERE = re.compile(r"^(?P<before>(?:[^=]*=)?)(?:0\.0\.0\.0|::|\[::\])$")
_FIRST_NETS = (129, 250)
"""Of 10.0.0.0/8: 10.96.0.0/16 are Services, 10.128.0.0/16 pods that KWOK keeps."""
_LAST = 254


@dataclass
class Address:
    """Of one pod.

    Attributes:
        pod: its IP in the cluster.
        host: the loopback address of this machine where it listens.
        whole: it has all ports of `host`; otherwise each of its ports is another one there.
    """

    pod: str
    host: str
    whole: bool
    _ports: dict[int, int] = field(default_factory=dict)

    def port(self, port: int) -> int:
        """The port of `host` for one of the pod's own."""
        if self.whole:
            return port
        if port not in self._ports:
            self._ports[port] = _free_port()
        return self._ports[port]

    def listening(self, text: str) -> str:
        """An argument or variable that says where to listen, changed so that it is here; any other as it is.

        A pod has a network of its own, where `:8080` and `0.0.0.0:8080` are the pod's address.
        """
        if found := _LISTENS.match(text):
            return f"{found['before']}{self.host}:{self.port(int(found['port']))}"
        if found := _ANYWHERE.match(text):
            return f"{found['before']}{self.host}"
        return text


class Addresses:
    """Addresses of the pods of one cluster; Linux has 127.0.0.0/8, macOS only 127.0.0.1.

    Args:
        whole: whether a pod gets a loopback address of its own.
    """

    def __init__(self, *, whole: bool = sys.platform == "linux") -> None:
        first, past = _FIRST_NETS
        self._net = f"{first + secrets.randbelow(past - first)}.{secrets.randbelow(256)}"  # others run here too
        self._whole = whole
        self._taken: dict[str, Address] = {}
        self._lock = threading.Lock()

    def take(self) -> Address | None:
        """A free address; None when all are taken."""
        with self._lock:
            for last in range(1, _LAST + 1):
                pod = f"10.{self._net}.{last}"
                if pod not in self._taken:
                    host = f"127.{self._net}.{last}" if self._whole else "127.0.0.1"
                    self._taken[pod] = Address(pod, host, self._whole)
                    return self._taken[pod]
        return None

    def give_back(self, address: Address) -> None:
        """Free it."""
        with self._lock:
            self._taken.pop(address.pod, None)

    def behind(self, host: str, port: int) -> tuple[str, int] | None:
        """Where this machine answers for an address of the cluster; None where nothing does."""
        with self._lock:
            address = self._taken.get(host)
        if address:
            return address.host, address.port(port)
        return (host, port) if host == "127.0.0.1" else None


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
