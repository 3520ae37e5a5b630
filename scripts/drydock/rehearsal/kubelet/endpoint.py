"""What a kubelet answers to `kubectl logs`, `exec`, `attach` and `port-forward`, on a socket in the cluster's folder.

Only the API server gets an answer: the socket is its user's alone, and the client shows the API server's certificate.
"""

import json
import re
import socketserver
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from drydock.clusters.watching import in_background
from drydock.rehearsal.credentials import Credentials
from drydock.rehearsal.kubelet.spdy import PROTOCOL
from drydock.rehearsal.kubelet.streaming import Reach, StartBeside, serve_exec, serve_port_forward

SOCKET = "kubelet.sock"
"""Relative to the working directory: the length of a socket's path is limited."""
_VERBS = "containerLogs|exec|attach|run|portForward"
_PATH = re.compile(rf"/(?P<verb>{_VERBS})/(?P<pod>[^/]+/[^/]+)(?:/(?P<container>[^/]+))?")
_REFUSED = 400
_PROTOCOLS = {"exec": "v4.channel.k8s.io", "portForward": "portforward.k8s.io"}
_FOLLOW_SECONDS = 0.2
_CHUNK = 1 << 16
_KEPT = (
    "nothing runs in pod {pod} of this rehearsal: there is no program for its image, so KWOK keeps it alive. "
    "Servers answer with `rehearse --live`; docs/rehearsal.md lists the images whose programs run."
)


@dataclass(frozen=True)
class RunningContainer:
    """A container whose program runs on this machine.

    Attributes:
        pid: of its process; 0 while there is none.
        log: all that it wrote.
        folder: holds its volumes.
        reach: gives where a port of it is on this machine.
        start_beside: starts a command beside its process.
    """

    pid: int
    log: Path
    folder: Path
    reach: Reach
    start_beside: StartBeside


Find = Callable[[str, str], RunningContainer | None]


def serve_kubelet(credentials: Credentials, find: Find) -> None:
    """Serve it in the working directory until the cluster ends.

    Args:
        credentials: the server's and the authority that signed the client's.
        find: gives the container of a pod, named `namespace/name`; an empty name of the container means its first.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(credentials.server_certificate, credentials.server_key)
    context.load_verify_locations(credentials.authority)
    context.verify_mode = ssl.CERT_REQUIRED

    class Handler(BaseHTTPRequestHandler):
        def setup(self) -> None:
            self.request = context.wrap_socket(self.request, server_side=True)
            super().setup()

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            found = _PATH.fullmatch(url.path)
            if not found:
                self._refuse("a rehearsal's nodes answer for logs alone")
                return
            pod, container = found["pod"], found["container"] or ""
            running = find(pod, container)
            if running is None:
                self._refuse(_KEPT.format(pod=pod))
            elif found["verb"] == "containerLogs":
                self._send_log(running.log, {key: values[0] for key, values in parse_qs(url.query).items()})
            elif found["verb"] in ("exec", "portForward") and self.headers.get("Upgrade", "").upper() == PROTOCOL:
                self._stream(found["verb"], running, parse_qs(url.query))
            else:
                self._refuse(_instead(found["verb"], pod, running))

        def _stream(self, verb: str, running: RunningContainer, query: dict[str, list[str]]) -> None:
            offered = self.headers.get_all("X-Stream-Protocol-Version") or []
            known = _PROTOCOLS[verb]
            if not any(known in header.split(", ") for header in offered):
                self._refuse(f"of stream protocols only {known} is known here")
                return
            self.protocol_version = "HTTP/1.1"
            self.send_response(101)
            for name, value in (("Connection", "Upgrade"), ("Upgrade", PROTOCOL), ("X-Stream-Protocol-Version", known)):
                self.send_header(name, value)
            self.end_headers()
            self.close_connection = True
            if verb == "exec":
                serve_exec(self.connection, self.rfile, query, running.start_beside)
            else:
                serve_port_forward(self.connection, self.rfile, running.reach)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            return

        def _send_log(self, log: Path, options: dict[str, str]) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain")
            self.end_headers()  # its end is that of the connection
            try:
                for part in read_log(log, options):
                    self.wfile.write(part)
                    self.wfile.flush()
            except OSError:
                return

        def _refuse(self, sentence: str) -> None:
            status = {
                "apiVersion": "v1",
                "kind": "Status",
                "status": "Failure",
                "reason": "BadRequest",
                "message": sentence,
                "code": _REFUSED,
            }
            text = self.command == "GET" and self.path.startswith("/containerLogs/")  # kubectl shows this as it is
            body = sentence.encode() if text else json.dumps(status).encode()
            self.send_response(_REFUSED)
            self.send_header("Content-Type", "text/plain" if text else "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    class Server(socketserver.ThreadingUnixStreamServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that shows no certificate, or that is gone."""

    server = Server(SOCKET, Handler)
    Path(SOCKET).chmod(0o600)
    in_background(server.serve_forever)


def read_log(log: Path, options: dict[str, str]) -> Iterator[bytes]:
    """A log as `kubectl logs` asks for it, by `tailLines`, `limitBytes` and `follow`; times are not kept."""
    left = int(options.get("limitBytes") or -1)
    try:
        source = log.open("rb")
    except OSError:
        return
    with source:
        if "tailLines" in options:
            yield from deque(source, maxlen=int(options["tailLines"]))
        while left:
            part = source.read(_CHUNK if left < 0 else min(_CHUNK, left))
            left -= len(part) if left > 0 else 0
            if part:
                yield part
            elif options.get("follow") == "true" and log.parent.is_dir():
                time.sleep(_FOLLOW_SECONDS)
            else:
                return


def _instead(verb: str, pod: str, running: RunningContainer) -> str:
    return (
        f"{verb} is not known here: "
        f"pod {pod} is process {running.pid} of this machine, its files are in "
        f"{running.folder}, its log is {running.log}"
    )
