"""HTTP/1.1 as bytes: what a request looks like, and where an answer ends. Nothing here reads a socket."""

import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

from drydock.errors import UsageError
from drydock.loadtest.settings import Target

PATHS = {"chat": "/chat/completions", "completions": "/completions"}
"""Of the API, by endpoint, after its `/v1`."""
_STATUS_LINE_PARTS = 2
_NO_BODY = (204, 304)
_MOST_HEADER_BYTES = 256 * 1024


class MalformedError(Exception):
    """Bytes that are not HTTP/1.1."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a target's server listens."""

    host: str
    port: int
    tls: bool

    @classmethod
    def of(cls, target: Target) -> "Address":
        """From its URL."""
        parts = urlsplit(target.base_url)
        tls = parts.scheme == "https"
        return cls(parts.hostname or "", parts.port or (443 if tls else 80), tls)


def tls_context(target: Target) -> ssl.SSLContext:
    """How an https target's certificate is checked.

    Raises:
        UsageError: the file of certificates holds none.
    """
    context = ssl.create_default_context()
    if target.ca_file is not None:
        try:
            context.load_verify_locations(cafile=target.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise UsageError(
                f"{target.ca_file} holds no certificates: {error}",
                remedy="Name a file in PEM form (BEGIN CERTIFICATE).",
            ) from error
    if not target.verify_tls:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def api_path(target: Target, rest: str) -> str:
    """Path and parameters of an API call, with the `/v1` that the URL may or may not end with."""
    return target.dialect.request_path(urlsplit(target.base_url).path, rest, target.model)


def request_head(target: Target) -> bytes:
    """All of a request up to the value of Content-Length, which comes last."""
    address = Address.of(target)
    host = f"[{address.host}]" if ":" in address.host else address.host
    default = 443 if address.tls else 80
    own = {
        "User-Agent": "drydock-loadtest",
        "Accept": "text/event-stream" if target.stream else "application/json",
        "Accept-Encoding": "identity",
        "Content-Type": "application/json",
    }
    lines = [
        f"POST {api_path(target, PATHS[target.endpoint])} HTTP/1.1",
        f"Host: {host}" if address.port == default else f"Host: {host}:{address.port}",
        *(f"{name}: {value}" for name, value in target.dialect.header_fields(own, target.api_key).items()),
        "Content-Length: ",
    ]
    return "\r\n".join(lines).encode("latin-1")


def request_bytes(head: bytes, body: bytes) -> bytes:
    """A complete request."""
    return b"%b%d\r\n\r\n%b" % (head, len(body), body)


@dataclass(frozen=True, slots=True)
class Head:
    """An answer's header.

    Attributes:
        end: bytes before the body.
        length: of the body; None where chunks or the connection's end decide.
        encoding: of the body, in lower case; empty where it has none.
    """

    status: int
    end: int
    chunked: bool
    length: int | None
    keep_alive: bool
    encoding: bytes = b""


def parse_head(raw: bytes) -> Head | None:
    """Read the header that `raw` begins with, interim (1xx) answers skipped; None while it is not complete.

    Raises:
        MalformedError: it is not that of HTTP/1.x.
    """
    start = 0
    while True:
        if not raw.startswith(b"HTTP/1."[: len(raw) - start], start):
            raise MalformedError("no status line")
        end = raw.find(b"\r\n\r\n", start)
        if end < 0:
            if len(raw) > _MOST_HEADER_BYTES:
                raise MalformedError("a header without end")
            return None
        lines = raw[start:end].split(b"\r\n")
        words = lines[0].split(None, 2)
        if len(words) < _STATUS_LINE_PARTS or not words[1].isdigit():
            raise MalformedError("no status")
        status = int(words[1])
        start = end + 4
        if status >= 200:  # noqa: PLR2004 (1xx are interim)
            return _head(status, start, words[0] != b"HTTP/1.0", lines[1:])
        if start >= len(raw):
            return None


def _head(status: int, end: int, modern: bool, lines: list[bytes]) -> Head:
    fields = {
        name.strip().lower(): value.strip().lower() for name, _, value in (line.partition(b":") for line in lines)
    }
    connection = fields.get(b"connection", b"")
    chunked = b"chunked" in fields.get(b"transfer-encoding", b"")
    length = fields.get(b"content-length")
    if length is not None and not length.isdigit():
        raise MalformedError("a length that is no number")
    return Head(
        status=status,
        end=end,
        chunked=chunked,
        length=0 if status in _NO_BODY else None if chunked or length is None else int(length),
        keep_alive=b"close" not in connection and (modern or b"keep-alive" in connection),
        encoding=fields.get(b"content-encoding", b"").removeprefix(b"identity"),
    )


class ChunkWalk:
    """Steps over chunks of chunked transfer coding as their bytes come, to know when the last one is complete."""

    __slots__ = ("_last", "_rest", "_skip")

    def __init__(self) -> None:
        self._skip = 0
        self._rest = b""
        self._last = False

    def feed(self, data: bytes) -> bool:
        """Whether the last chunk, and the trailer after it, is complete.

        Raises:
            MalformedError: a size is not one.
        """
        data = self._rest + data if self._rest else data
        at, size = self._skip, len(data)
        self._rest = b""
        while at < size:
            end = data.find(b"\r\n", at)
            if end < 0:
                self._rest, at = data[at:], 0
                self._skip = 0
                return False
            if self._last:
                if end == at:
                    return True
                at = end + 2
                continue
            length = chunk_size(data[at:end])
            self._last = length == 0
            at = end + 2 if self._last else end + 4 + length
        self._skip = at - size
        return False


def chunk_size(line: bytes) -> int:
    """Of a chunk, from the line before it."""
    try:
        return int(line.partition(b";")[0], 16)
    except ValueError as error:
        raise MalformedError("a chunk without size") from error


def chunk_spans(raw: bytes, at: int) -> list[tuple[int, int]]:
    """(start, end) of each chunk's payload in `raw`, of which the body begins at `at`; the last may be cut short.

    Raises:
        MalformedError: a size is not one.
    """
    spans = []
    total = len(raw)
    while at < total:
        end = raw.find(b"\r\n", at)
        if end < 0:
            break
        size = chunk_size(raw[at:end])
        if size == 0:
            break
        at = end + 2 + size
        spans.append((end + 2, min(at, total)))
        at += 2
    return spans
