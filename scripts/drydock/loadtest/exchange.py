"""One request on its way, and the bytes that came back with the time of each read."""

from collections.abc import Callable
from math import nan

from drydock.loadtest.records import UNKNOWN, Outcome
from drydock.loadtest.wire import ChunkWalk, Head, parse_head

_END_OF_EVENTS = b"data: [DONE]\n\n\r\n0\r\n\r\n"
"""A stream that ends so is complete: no event can hold this, since JSON has no line ends within strings."""
_LAST_CHUNK = b"0\r\n\r\n"
_HEADER_END = b"\r\n\r\n"


def _nobody() -> None:
    """Waits for nothing."""


class Exchange:
    """A request and its answer; times are of the monotonic clock.

    The reactor fills it in. Where the answer ends is all that is looked at meanwhile; what it says is read later.
    """

    __slots__ = (
        "_every",
        "_fed",
        "_received",
        "_walk",
        "asked",
        "due",
        "finished",
        "head",
        "outcome",
        "pieces",
        "request",
        "retried",
        "sent",
        "stamps",
        "wake",
    )

    def __init__(self, request: bytes, due: float, wake: Callable[[], object]) -> None:
        self.request = request
        self.due = due
        self.wake = wake
        self.asked = UNKNOWN
        self.sent = nan
        self.finished = nan
        self.outcome: Outcome | None = None
        self.retried = 0
        self.begin()

    def begin(self) -> None:
        """Forget what came back, to be sent (again)."""
        self.pieces: list[bytes] = []
        self.stamps: list[float] = []
        self.head: Head | None = None
        self._walk = ChunkWalk()
        self._every = True
        self._fed = 0
        self._received = 0

    def received(self, data: bytes, now: float) -> bool:
        """Keep what one read brought; whether the answer is complete.

        Raises:
            MalformedError: it is not HTTP.
        """
        self.pieces.append(data)
        self.stamps.append(now)
        if self._every or data.endswith(_HEADER_END) or len(data) < len(_LAST_CHUNK):
            return self._complete(data)
        return False

    def woken(self) -> None:
        """Wake who waits for it, and forget how: what stays would refer to itself."""
        wake, self.wake = self.wake, _nobody
        wake()

    def closed(self) -> bool:
        """The server closed the connection; whether that is how this answer ends."""
        return self.head is not None and not self.head.chunked and self.head.length is None

    @property
    def status(self) -> int:
        """Of HTTP; 0 before the header is there."""
        return self.head.status if self.head else 0

    @property
    def failed(self) -> bool:
        """Whether it ended otherwise than with a complete answer of status 200."""
        return self.outcome is not Outcome.OK

    def _complete(self, data: bytes) -> bool:
        if self.head is None:
            raw = b"".join(self.pieces)
            self.head = parse_head(raw)
            if self.head is None:
                return False
            self._every = not self.head.chunked
            if self.head.chunked:
                self._fed = len(self.pieces)
                return self._walk.feed(raw[self.head.end :])
            self._received = len(raw) - self.head.end
        elif self.head.chunked:
            return self._walked(data)
        else:
            self._received += len(data)
        return self.head.length is not None and self._received >= self.head.length

    def _walked(self, data: bytes) -> bool:
        tail = data if len(data) >= len(_END_OF_EVENTS) else b"".join(self.pieces[-2:])
        if tail.endswith(_END_OF_EVENTS):
            return True
        fresh, self._fed = self.pieces[self._fed :], len(self.pieces)
        return self._walk.feed(b"".join(fresh))
