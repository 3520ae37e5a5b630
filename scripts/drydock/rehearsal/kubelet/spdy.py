"""Streams over one connection as API servers open them to kubelets: SPDY/3.1, the server's side.

Source: https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/. No flow control, as in Kubernetes.
"""

import queue
import socket
import struct
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from io import BufferedIOBase

PROTOCOL = "SPDY/3.1"
_CONTROL, _VERSION = 0x8000, 3
_SYN_STREAM, _SYN_REPLY, _RST_STREAM, _PING, _GO_AWAY = 1, 2, 3, 6, 7
_FIN = 0x01
_STREAM_MASK = 0x7FFFFFFF
_WORDS = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow "
    "authorization cache-control connection content-base content-encoding content-language content-length "
    "content-location content-md5 content-range content-type date etag expect expires from host if-match "
    "if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
    "proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade "
    "user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie "
    "keep-alive origin"
)
_REST = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 Non-Authoritative "
    "Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not Found500 "
    "Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec "
    "00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,"
    "application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8"
    "charset=iso-8859-1,utf-,*,enq=0."
)


def _sized(text: bytes) -> bytes:
    return struct.pack(">I", len(text)) + text


_DICTIONARY = b"".join(_sized(word.replace("_", " ").encode()) for word in _WORDS.split()) + _REST.encode()
"""What both sides compress headers with, section 2.6.10.1."""


@dataclass
class Stream:
    """One stream that the client opened.

    Attributes:
        headers: that it was opened with.
    """

    headers: Mapping[str, str]
    _number: int
    _send: Callable[[int, bytes, int], None]
    _parts: "queue.SimpleQueue[bytes | None]" = field(default_factory=queue.SimpleQueue)
    _closed: bool = False

    def read(self) -> Iterator[bytes]:
        """What the client sends, until it ends the stream or the connection."""
        while (part := self._parts.get()) is not None:
            yield part

    def write(self, content: bytes) -> None:
        """Send; nothing happens after the end of the connection."""
        if content:
            self._send(self._number, content, 0)

    def close(self) -> None:
        """Send no more."""
        if not self._closed:
            self._closed = True
            self._send(self._number, b"", _FIN)

    def take(self, part: bytes | None) -> None:
        """Called with what arrives; None at its end."""
        self._parts.put(part)


class Connection:
    """The server's side of a connection.

    Args:
        connection: after the upgrade.
        source: what has been read of it already and the rest.
        opened: called with each new stream.
    """

    def __init__(self, connection: socket.socket, source: BufferedIOBase, opened: Callable[[Stream], None]) -> None:
        self._connection, self._source, self._opened = connection, source, opened
        self._inflater = zlib.decompressobj(zdict=_DICTIONARY)
        self._deflater = zlib.compressobj(zdict=_DICTIONARY)
        self._streams: dict[int, Stream] = {}
        self._lock = threading.Lock()

    def serve(self) -> None:
        """Until the client is gone."""
        try:
            while len(head := self._source.read(8)) == struct.calcsize(">II"):
                first, second = struct.unpack(">II", head)
                content = self._source.read(second & 0xFFFFFF)
                if first >> 16 & _CONTROL:
                    self._control(first & 0xFFFF, second >> 24, content)
                else:
                    self._data(first & _STREAM_MASK, second >> 24, content)
        except (OSError, zlib.error, struct.error):
            pass
        finally:
            for stream in self._streams.values():
                stream.take(None)

    def close(self) -> None:
        """End it for both sides."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def _control(self, kind: int, flags: int, content: bytes) -> None:
        if kind == _SYN_STREAM:
            number = struct.unpack(">I", content[:4])[0] & _STREAM_MASK
            stream = Stream(self._headers(content[10:]), number, self._send_data)
            self._streams[number] = stream
            block = self._deflater.compress(struct.pack(">I", 0)) + self._deflater.flush(zlib.Z_SYNC_FLUSH)
            self._write(_frame(_SYN_REPLY, struct.pack(">I", number) + block))
            if flags & _FIN:
                stream.take(None)
            self._opened(stream)
        elif kind == _RST_STREAM:
            self._data(struct.unpack(">I", content[:4])[0] & _STREAM_MASK, _FIN, b"")
        elif kind == _PING:
            self._write(_frame(_PING, content))
        elif kind == _GO_AWAY:
            self.close()

    def _data(self, number: int, flags: int, content: bytes) -> None:
        if stream := self._streams.get(number):
            if content:
                stream.take(content)
            if flags & _FIN:
                stream.take(None)

    def _headers(self, block: bytes) -> dict[str, str]:
        content = self._inflater.decompress(block)
        count, place = struct.unpack(">I", content[:4])[0], 4
        words: list[str] = []
        for _ in range(2 * count):
            size = struct.unpack(">I", content[place : place + 4])[0]
            words.append(content[place + 4 : place + 4 + size].decode(errors="replace"))
            place += 4 + size
        return {name.lower(): value for name, value in zip(words[::2], words[1::2], strict=True)}

    def _send_data(self, number: int, content: bytes, flags: int) -> None:
        self._write(struct.pack(">II", number, flags << 24 | len(content)) + content)

    def _write(self, frame: bytes) -> None:
        with self._lock, suppress(OSError):
            self._connection.sendall(frame)


def _frame(kind: int, content: bytes) -> bytes:
    return struct.pack(">HHI", _CONTROL | _VERSION, kind, len(content)) + content
