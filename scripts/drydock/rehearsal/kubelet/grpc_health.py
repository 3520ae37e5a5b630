"""One call of gRPC's health service, as a kubelet's gRPC probe makes it: over HTTP/2 without TLS.

Sources: https://github.com/grpc/grpc/blob/master/doc/health-checking.md and doc/PROTOCOL-HTTP2.md; RFC 9113, RFC 7541.
"""

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GO_AWAY = 0x0, 0x1, 0x3, 0x4, 0x6, 0x7
_END_STREAM, _ACK, _END_HEADERS, _PADDED = 0x1, 0x1, 0x4, 0x8
_STREAM = 1
_SERVING = 1
_STATUSES = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}


@dataclass(frozen=True)
class _Frame:
    kind: int
    flags: int
    stream: int
    content: bytes

    def encoded(self) -> bytes:
        size = len(self.content)
        return struct.pack(">BHBBI", size >> 16, size & 0xFFFF, self.kind, self.flags, self.stream) + self.content


def unhealthy(host: str, port: int, service: str, seconds: float) -> str:
    """Why a server does not serve `service`; empty when it does.

    Args:
        host: of the server.
        port: of the server.
        service: its name there; empty for the server as a whole.
        seconds: to wait for the connection, and for each part of the response.
    """
    try:
        with socket.create_connection((host, port), timeout=seconds) as connection:
            connection.sendall(_request(f"{host}:{port}", service))
            return _unserving(_message(connection))
    except OSError as error:
        return f"gRPC: {error.strerror or error}"


def _request(authority: str, service: str) -> bytes:
    name = service.encode()
    message = b"\x0a" + bytes([len(name)]) + name if name else b""
    headers = {
        ":method": "POST",
        ":scheme": "http",
        ":path": "/grpc.health.v1.Health/Check",
        ":authority": authority,
        "content-type": "application/grpc",
        "te": "trailers",
    }
    block = b"".join(_literal(key, value) for key, value in headers.items())
    frames = (
        _Frame(_SETTINGS, 0, 0, b""),
        _Frame(_HEADERS, _END_HEADERS, _STREAM, block),
        _Frame(_DATA, _END_STREAM, _STREAM, struct.pack(">BI", 0, len(message)) + message),
    )
    return _PREFACE + b"".join(frame.encoded() for frame in frames)


def _literal(key: str, value: str) -> bytes:
    """A header that no table is needed to read (RFC 7541, 6.2.2); names and values have less than 127 bytes."""
    return b"\x00" + b"".join(bytes([len(part)]) + part for part in (key.encode(), value.encode()))


def _message(connection: socket.socket) -> bytes:
    """What the response holds; its headers do not matter, since a failed call has no message."""
    found = b""
    for frame in _frames(connection):
        if frame.kind == _SETTINGS and not frame.flags & _ACK:
            connection.sendall(_Frame(_SETTINGS, _ACK, 0, b"").encoded())
        elif frame.kind == _PING and not frame.flags & _ACK:
            connection.sendall(_Frame(_PING, _ACK, 0, frame.content).encoded())
        elif frame.kind == _DATA:
            padded = frame.flags & _PADDED
            found += frame.content[1 : len(frame.content) - frame.content[0]] if padded else frame.content
        elif frame.kind in (_RESET, _GO_AWAY):
            return found
        if frame.kind in (_DATA, _HEADERS) and frame.flags & _END_STREAM:
            return found
    return found


def _frames(connection: socket.socket) -> Iterator[_Frame]:
    with connection.makefile("rb") as source:
        while len(head := source.read(9)) == struct.calcsize(">BHBBI"):
            high, low, kind, flags, stream = struct.unpack(">BHBBI", head)
            yield _Frame(kind, flags, stream & 0x7FFFFFFF, source.read(high << 16 | low))


def _unserving(response: bytes) -> str:
    message = response[5:]  # after a byte for its compression and its length
    if not response:
        return "gRPC: the health service has no such service, or is not there"
    status = message[1] if message[:1] == b"\x08" and len(message) > 1 else 0
    return "" if status == _SERVING else f"gRPC: the health service answers {_STATUSES.get(status, status)}"
