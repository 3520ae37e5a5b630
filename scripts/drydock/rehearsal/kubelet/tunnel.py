"""The way of the API server into the cluster's network: an HTTP CONNECT proxy that knows the pods which run here.

Kubernetes has a setting for control planes outside that network (EgressSelectorConfiguration); so the API server's
proxy to pods and Services reaches processes of this machine. Loopback addresses themselves it refuses as a pod's.
"""

import json
import socket
import socketserver
from collections.abc import Callable
from pathlib import Path

from drydock.clusters.watching import in_background
from drydock.rehearsal.kubelet.endpoint import SOCKET

Behind = Callable[[str, int], tuple[str, int] | None]
_SOCKET = "egress.sock"  # relative: the length of a socket's path is limited
KUBELET_PORT = 10250
_CHUNK = 1 << 16
_CONNECT_SECONDS = 5


def serve_tunnel(behind: Behind) -> None:
    """Serve it on a socket in the working directory; `behind` gives the machine's address for one of the cluster."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            host, port = _asked(self.rfile.readline().decode(errors="replace"))
            target = SOCKET if port == KUBELET_PORT else behind(host, port)
            while self.rfile.readline().strip():
                continue
            try:
                with _connect(target) as there:
                    there.settimeout(None)
                    self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    in_background(_copy, there, self.connection)
                    _copy(self.connection, there)
            except OSError:
                self._refuse()

        def _refuse(self) -> None:
            try:
                self.wfile.write(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
            except OSError:
                return

    server = socketserver.ThreadingUnixStreamServer(_SOCKET, Handler)
    Path(_SOCKET).chmod(0o600)
    server.daemon_threads = True
    in_background(server.serve_forever)


def _connect(target: tuple[str, int] | str | None) -> socket.socket:
    """To a port, or to a socket in the working directory."""
    if target is None:
        raise ConnectionRefusedError
    if isinstance(target, tuple):
        return socket.create_connection(target, timeout=_CONNECT_SECONDS)
    there = socket.socket(socket.AF_UNIX)
    there.connect(target)
    return there


def write_configuration(file: Path) -> None:
    """What the API server reads, if it works in the same directory: its way into the cluster is the proxy."""
    connection = {"proxyProtocol": "HTTPConnect", "transport": {"uds": {"udsName": _SOCKET}}}
    content = {
        "apiVersion": "apiserver.k8s.io/v1beta1",
        "kind": "EgressSelectorConfiguration",
        "egressSelections": [{"name": "cluster", "connection": connection}],
    }
    file.write_text(json.dumps(content))


def _asked(line: str) -> tuple[str, int]:
    """Host and port of `CONNECT 10.0.0.1:80 HTTP/1.1`; nothing that exists for any other line."""
    words = line.split()
    host, _, port = words[1].rpartition(":") if len(words) > 1 and words[0] == "CONNECT" else ("", "", "")
    return host.strip("[]"), int(port) if port.isdigit() else 0


def _copy(source: socket.socket, target: socket.socket) -> None:
    """Until the source ends; then the target's side is shut down."""
    try:
        while data := source.recv(_CHUNK):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return
