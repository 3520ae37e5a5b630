"""`kubectl exec` and `port-forward` of a container whose program runs here, over streams of the API server."""

import contextlib
import fcntl
import json
import os
import pty
import signal
import socket
import struct
import subprocess
import termios
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BufferedIOBase
from typing import Any, Protocol

from drydock.clusters.watching import in_background
from drydock.rehearsal.kubelet.spdy import Connection, Stream

_CHUNK = 1 << 14
_CONNECT_SECONDS = 5
_STREAM_SECONDS = 30.0
"""To wait for the streams that a client has announced."""

Reach = Callable[[int], tuple[str, int]]
"""Where a port of a pod is on this machine."""


class StartBeside(Protocol):
    """Starts a command beside a container's process.

    Raises:
        OSError: it could not be started.
    """

    def __call__(
        self, command: Sequence[str], *, stdin: int, stdout: int, stderr: int, terminal: bool = False
    ) -> "subprocess.Popen[bytes]":
        """Where the process runs, with these files; with `terminal` its input is one that it controls."""
        ...


@dataclass
class _Opened:
    """Streams of a client by their type."""

    streams: dict[str, Stream] = field(default_factory=dict)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def add(self, stream: Stream) -> None:
        with self._changed:
            self.streams[stream.headers.get("streamtype", "")] = stream
            self._changed.notify_all()

    def wait(self, names: Sequence[str]) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: set(names) <= self.streams.keys(), _STREAM_SECONDS)


def serve_exec(
    connection: socket.socket, source: BufferedIOBase, query: Mapping[str, Sequence[str]], start: StartBeside
) -> None:
    """Run one command, which ends with the client; `query` is that of the request, with `command` and its streams."""
    opened = _Opened()
    served = Connection(connection, source, opened.add)
    started: list[subprocess.Popen[bytes]] = []

    def begin(command: Sequence[str], **files: Any) -> "subprocess.Popen[bytes]":
        started.append(start(command, **files))
        return started[-1]

    def read() -> None:
        served.serve()
        for running in started:
            if running.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(running.pid, signal.SIGKILL)

    reading = in_background(read)
    asked = {kind for name, kind in (("input", "stdin"), ("output", "stdout"), ("error", "stderr")) if _on(query, name)}
    terminal = _on(query, "tty")
    wanted = [*(asked - {"stderr"} if terminal else asked), "error", *(["resize"] if terminal else [])]
    if opened.wait(wanted):
        status = _run(query.get("command", ()), opened.streams, begin, terminal=terminal)
        opened.streams["error"].write(json.dumps(status).encode())
    for stream in opened.streams.values():
        stream.close()
    reading.join(_STREAM_SECONDS)
    served.close()


def _on(query: Mapping[str, Sequence[str]], name: str) -> bool:
    return "1" in query.get(name, ()) or "true" in query.get(name, ())


def _run(
    command: Sequence[str], streams: Mapping[str, Stream], start: StartBeside, *, terminal: bool
) -> dict[str, Any]:
    try:
        code = (_in_terminal if terminal else _with_pipes)(command, streams, start)
    except OSError as error:
        return _failure(f"error executing command in container: {error}", "InternalError", {})
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    causes = {"causes": [{"reason": "ExitCode", "message": str(code if code > 0 else 128 - code)}]}
    return _failure(f"command terminated with non-zero exit code: {code}", "NonZeroExitCode", causes)


def _failure(message: str, reason: str, details: Mapping[str, Any]) -> dict[str, Any]:
    return {"metadata": {}, "status": "Failure", "message": message, "reason": reason, "details": details}


def _with_pipes(command: Sequence[str], streams: Mapping[str, Stream], start: StartBeside) -> int:
    pipe = subprocess.PIPE
    with start(command, stdin=pipe, stdout=pipe, stderr=pipe) as running:
        if running.stdin and "stdin" in streams:
            in_background(_feed, streams["stdin"], running.stdin)
        elif running.stdin:
            running.stdin.close()
        copies = [
            in_background(_drain, output.fileno(), streams.get(name))
            for name, output in (("stdout", running.stdout), ("stderr", running.stderr))
            if output
        ]
        for copy in copies:
            copy.join()
        return running.wait()


def _in_terminal(command: Sequence[str], streams: Mapping[str, Stream], start: StartBeside) -> int:
    here, there = pty.openpty()
    try:
        running = start(command, stdin=there, stdout=there, stderr=there, terminal=True)
    except OSError:
        os.close(here)
        raise
    finally:
        os.close(there)
    with os.fdopen(here, "r+b", buffering=0) as screen:
        if "stdin" in streams:
            in_background(_feed, streams["stdin"], screen)
        in_background(_resize, streams["resize"], here)
        _drain(here, streams.get("stdout"))
        return running.wait()


def _feed(stream: Stream, target: Any) -> None:
    with contextlib.suppress(OSError, ValueError):
        for part in stream.read():
            target.write(part)
            target.flush()
    if not target.closed and not os.isatty(target.fileno()):
        with contextlib.suppress(OSError):
            target.close()


def _drain(source: int, stream: Stream | None) -> None:
    with contextlib.suppress(OSError):  # of a terminal whose other end is closed
        while part := os.read(source, _CHUNK):
            if stream:
                stream.write(part)


def _resize(stream: Stream, screen: int) -> None:
    for part in stream.read():
        for line in part.splitlines():
            size = json.loads(line)
            with contextlib.suppress(OSError):
                fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", size["Height"], size["Width"], 0, 0))


def serve_port_forward(connection: socket.socket, source: BufferedIOBase, reach: Reach) -> None:
    """Connect each pair of streams, one for data and one for an error, to the port that it names."""
    pairs: dict[str, dict[str, Stream]] = {}

    def opened(stream: Stream) -> None:
        pair = pairs.setdefault(stream.headers.get("requestid", ""), {})
        pair[stream.headers.get("streamtype", "")] = stream
        if {"data", "error"} <= pair.keys():
            in_background(_forward, pair["data"], pair["error"], reach)

    Connection(connection, source, opened).serve()


def _forward(data: Stream, error: Stream, reach: Reach) -> None:
    port = int(data.headers.get("port") or 0)
    try:
        there = socket.create_connection(reach(port), timeout=_CONNECT_SECONDS)
    except OSError as failure:
        error.write(f"nothing listens at port {port} of the pod: {failure.strerror or failure}".encode())
    else:
        with there:
            there.settimeout(None)
            back = in_background(_drain_socket, there, data)
            with contextlib.suppress(OSError):
                for part in data.read():
                    there.sendall(part)
                there.shutdown(socket.SHUT_WR)
            back.join()
    error.close()
    data.close()


def _drain_socket(there: socket.socket, data: Stream) -> None:
    with contextlib.suppress(OSError):
        while part := there.recv(_CHUNK):
            data.write(part)
    data.close()
