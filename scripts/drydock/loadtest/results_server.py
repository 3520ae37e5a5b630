"""What a master in a cluster reports to the command that started it: progress, the run, and until when it is kept.

GET  /progress      {"snapshot": {...} or null, "done": bool, "error": text, "remedy": text}
GET  /run.json, /records.npz    of `drydock.loadtest.run_files`, once done
POST /interrupt     end the load early
POST /collected     the results were fetched: the master may end
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gevent.event import Event
from gevent.pywsgi import WSGIServer

from drydock.loadtest.run_files import RECORDS_FILE, RUN_FILE

PROGRESS, INTERRUPT, COLLECTED = "/progress", "/interrupt", "/collected"
_FILES = (RUN_FILE, RECORDS_FILE)


@dataclass
class ResultsServer:
    """Serves one run, in greenlets of the master's process.

    Args:
        listen: HOST:PORT.
        folder: where the run will be.
        interrupt: called to end the load early.
    """

    listen: str
    folder: Path
    interrupt: Callable[[], None]
    progress: dict[str, Any] = field(
        default_factory=lambda: {"snapshot": None, "done": False, "error": "", "remedy": ""}
    )
    _collected: Event = field(default_factory=Event)

    def start(self) -> None:
        """Serve from now on."""
        WSGIServer(self.listen, self._answer, log=None, error_log=None).start()

    def wait_collected(self, seconds: float) -> bool:
        """Whether the results were fetched within that time."""
        return bool(self._collected.wait(seconds))

    def _answer(
        self, asked: Mapping[str, Any], respond: Callable[[str, list[tuple[str, str]]], object]
    ) -> Iterable[bytes]:
        kind, body = self._content(asked["REQUEST_METHOD"], asked["PATH_INFO"])
        status = "200 OK" if kind else "404 Not Found"
        respond(status, [("Content-Type", kind or "text/plain"), ("Content-Length", str(len(body)))])
        return [body]

    def _content(self, method: str, path: str) -> tuple[str, bytes]:
        """Media type and body; no type for what does not exist."""
        if method == "POST" and path == INTERRUPT:
            self.interrupt()
            return "text/plain", b""
        if method == "POST" and path == COLLECTED:
            self._collected.set()
            return "text/plain", b""
        if method == "GET" and path == PROGRESS:
            return "application/json", json.dumps(self.progress).encode()
        name = path.removeprefix("/")
        if method == "GET" and name in _FILES and self.progress["done"]:
            return "application/octet-stream", (self.folder / name).read_bytes()
        return "", b""
