"""The part of a kubelet that forwards ports over WebSockets, for the API server's own way to it."""

import socket
import socketserver
import ssl
import struct
import threading
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, RejectConnection, Request

PROTOCOL = "v4.channel.k8s.io"
DATA, ERRORS = b"\x00", b"\x01"
"""Channels of the first port."""


class Kubelet(socketserver.ThreadingTCPServer):
    """Forwards every port of every pod to one address.

    Args:
        certificate: PEM file with its key; the API server does not verify it.
    """

    daemon_threads = True
    target = ("127.0.0.1", 0)

    def __init__(self, certificate: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Forward)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
        self.context = context
        self.forwarded: list[str] = []
        self.port = int(self.socket.getsockname()[1])
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Forward(socketserver.BaseRequestHandler):
    server: Kubelet

    def handle(self) -> None:
        with suppress(OSError), self.server.context.wrap_socket(self.request, server_side=True) as there:
            self._serve(there)

    def _serve(self, there: ssl.SSLSocket) -> None:
        ws, lock, pod = WSConnection(ConnectionType.SERVER), threading.Lock(), None
        message = b""
        while data := there.recv(65536):
            with lock:
                ws.receive_data(data)
            for event in ws.events():
                if isinstance(event, Request) and PROTOCOL not in event.subprotocols:
                    there.sendall(ws.send(RejectConnection(status_code=403)))
                elif isinstance(event, Request):
                    self.server.forwarded.append(event.target)
                    there.sendall(ws.send(AcceptConnection(subprotocol=PROTOCOL)))
                    (port,) = map(int, parse_qs(urlsplit(event.target).query)["port"])
                    for channel in (DATA, ERRORS):
                        there.sendall(ws.send(BytesMessage(channel + struct.pack("<H", port))))
                    pod = socket.create_connection(self.server.target)
                    threading.Thread(target=_back, args=(pod, there, ws, lock), daemon=True).start()
                elif isinstance(event, BytesMessage) and pod:
                    message += bytes(event.data)
                    if event.message_finished:
                        pod.sendall(message[1:])
                        message = b""
                elif isinstance(event, Ping):
                    with lock:
                        there.sendall(ws.send(event.response()))
                elif isinstance(event, CloseConnection) and pod:
                    pod.close()
                    return


def _back(pod: socket.socket, there: ssl.SSLSocket, ws: WSConnection, lock: threading.Lock) -> None:
    with suppress(OSError):
        while data := pod.recv(65536):
            with lock:
                there.sendall(ws.send(BytesMessage(DATA + data)))
