"""Etcd's keys and values, over the HTTP gateway that it serves beside gRPC on the socket in the cluster's folder."""

import json
import socket
import time
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from drydock.errors import ClusterError

Record = Mapping[str, str]
"""`key` and `value`, each in base64, as the gateway takes and gives them."""

_PAUSE_SECONDS = 0.02
_ANSWER_SECONDS = 120


class _Connection(HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_ANSWER_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


@dataclass(frozen=True)
class Etcd:
    """A running etcd; `path` is that of its client socket, relative where the absolute one is too long for a socket."""

    path: Path

    def wait(self, seconds: float) -> None:
        """Until it answers.

        Raises:
            ClusterError: it does not in time.
        """
        deadline = time.monotonic() + seconds
        while True:
            try:
                self._ask("range", {"key": _base64(b"/"), "limit": 1})
            except ClusterError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_PAUSE_SECONDS)
            else:
                return

    def under(self, prefix: str) -> tuple[Record, ...]:
        """The records whose keys begin with a prefix, sorted by key.

        Raises:
            ClusterError: it does not answer, or refuses.
        """
        first = prefix.encode()
        end = first[:-1] + bytes([first[-1] + 1])
        found = self._ask("range", {"key": _base64(first), "range_end": _base64(end)}).get("kvs", ())
        return tuple({"key": item["key"], "value": item["value"]} for item in found)

    def put(self, records: Iterable[Record]) -> None:
        """Write records; errors as for `under`."""
        for record in records:
            self._ask("put", record)

    def _ask(self, verb: str, question: Mapping[str, Any]) -> Any:
        connection = _Connection(self.path)
        try:
            connection.request("POST", f"/v3/kv/{verb}", json.dumps(question))
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, HTTPException) as error:
            raise ClusterError(f"etcd does not answer: {error}") from error
        finally:
            connection.close()
        if answer.status != HTTPStatus.OK:
            raise ClusterError(f"etcd refuses a {verb}: {content.decode(errors='replace')}")
        return json.loads(content)


def _base64(content: bytes) -> str:
    return b64encode(content).decode()
