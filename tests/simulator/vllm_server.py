"""A real server process, and short ways to talk to it."""

import http.client
import json
import queue
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Server:
    """A running `drydock-vllm`."""

    process: subprocess.Popen[str]
    port: int
    lines: list[str] = field(default_factory=list)
    new_lines: "queue.Queue[str | None]" = field(default_factory=queue.Queue)

    def wait_for(self, text: str, timeout: float = 180) -> str:
        """The first line of the log from now on that holds this text."""
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            line = self.new_lines.get(timeout=left)
            if line is None:
                break
            if text in line:
                return line
        raise AssertionError(f"{text!r} never came; the log is {''.join(self.lines)}")

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=180)

    def call(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
        """Status and body, as JSON where it is JSON."""
        connection = self.connection()
        raw = body if isinstance(body, str) else json.dumps(body) if body is not None else None
        connection.request(method, path, raw, headers)
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        try:
            return response.status, json.loads(text)
        except ValueError:
            return response.status, text

    def events(self, path: str, body: object) -> list[Any]:
        """Data of a server-sent event stream, the last of it as text."""
        connection = self.connection()
        connection.request("POST", path, json.dumps(body))
        response = connection.getresponse()
        assert response.status == 200
        assert response.headers["Content-Type"].startswith("text/event-stream")
        events = response.read().decode().split("\n\n")
        connection.close()
        assert events.pop() == ""
        assert all(event.startswith("data: ") for event in events)
        assert events[-1] == "data: [DONE]"
        return [json.loads(event[6:]) for event in events[:-1]]

    def metric(self, line: str) -> float:
        """The value of one metric with exactly these labels."""
        text = self.call("GET", "/metrics")[1]
        found = [row for row in text.splitlines() if row.startswith(line + " ")]
        assert len(found) == 1, f"{line} is there {len(found)} times"
        return float(found[0].rsplit(" ", 1)[1])

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(timeout=120)
        while self.new_lines.get(timeout=120) is not None:  # its last words are read by then
            pass
        return status


StartServer = Callable[..., Server]
