"""One connection to the server: non-blocking, with or without TLS."""

import _socket
import errno
import ssl

from drydock.loadtest.exchange import Exchange

_READ_BYTES = 65536
_UNDER_WAY = (0, errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EINTR)
_NOT_YET = (errno.ENOTCONN, errno.EAGAIN)
"""What writing to a connection that is still being made brings on macOS and on Linux."""

SocketAddress = tuple[int, tuple[object, ...]]
"""Family and address, as `socket.getaddrinfo` returns them."""


class Connection:
    """A socket of the C library's kind: gevent's own would switch greenlets for each read.

    Attributes:
        exchange: what it is busy with; None while it is kept for the next one.
        used: it has carried an answer before.
        idle_since: when that answer ended.

    Raises:
        OSError: no socket, or no connection, can be made.
    """

    __slots__ = ("_pending", "_sock", "exchange", "fd", "idle_since", "used")

    def __init__(self, where: SocketAddress) -> None:
        family, name = where
        self._sock = _socket.socket(family, _socket.SOCK_STREAM)
        self.fd = self._sock.fileno()
        self.exchange: Exchange | None = None
        self.used = False
        self.idle_since = 0.0
        self._pending = b""
        self._sock.setblocking(False)
        self._sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        code = self._sock.connect_ex(name)
        if code not in _UNDER_WAY:
            self._sock.close()
            raise OSError(code, "cannot connect")

    @property
    def wants_write(self) -> bool:
        """Whether something is still to be written."""
        return bool(self._pending)

    def send(self, exchange: Exchange) -> None:
        """Take on a request and write as much of it as the kernel takes now.

        Raises:
            OSError: the connection could not be made, or broke.
        """
        self.exchange = exchange
        self._pending = exchange.request
        self.flush()

    def flush(self) -> None:
        """Go on writing; errors as those of `send`."""
        while self._pending:
            try:
                written = self._sock.send(self._pending)
            except OSError as error:
                if error.errno in _NOT_YET:
                    return
                raise
            self._pending = self._pending[written:]

    def read(self) -> bytes | None:
        """What came; empty at the end, None where nothing has come yet.

        Raises:
            OSError: the connection broke.
        """
        try:
            return self._sock.recv(_READ_BYTES)
        except BlockingIOError:
            return None

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()


class TlsConnection(Connection):
    """The same, encrypted; its errors may be those of `ssl`."""

    __slots__ = ("_incoming", "_outgoing", "_shaken", "_tls")

    def __init__(self, where: SocketAddress, context: ssl.SSLContext, host: str) -> None:
        super().__init__(where)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._shaken = False

    def send(self, exchange: Exchange) -> None:
        """Take on a request; the first on a connection waits for its handshake."""
        self.exchange = exchange
        self._advance()

    def read(self) -> bytes | None:
        """What came, decrypted."""
        data = super().read()
        if not data:
            return data
        self._incoming.write(data)
        if not self._shaken:
            self._advance()
        plain = []
        try:
            while more := self._tls.read(_READ_BYTES):
                plain.append(more)
        except ssl.SSLWantReadError:
            return b"".join(plain) or None
        return b"".join(plain)

    def _advance(self) -> None:
        try:
            if not self._shaken:
                self._tls.do_handshake()
                self._shaken = True
            if self.exchange:
                self._tls.write(self.exchange.request)
        except ssl.SSLWantReadError:
            pass
        self._pending += self._outgoing.read()
        self.flush()
