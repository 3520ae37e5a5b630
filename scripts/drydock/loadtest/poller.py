"""Asks the kernel which sockets have something; gevent replaces the standard library's ways to ask with its own."""

import sys
from collections.abc import Sequence
from typing import Any, Protocol

from gevent.monkey import get_original

READ, WRITE = 1, 4
"""Bits of an event (those of epoll); an error or a hang-up is reported as READ, for reading then says which."""
_MOST_EVENTS = 1024


class Poller(Protocol):
    """Sockets by their file descriptor."""

    def add(self, fd: int) -> None:
        """Report when it can be read."""

    def also_write(self, fd: int, wanted: bool) -> None:
        """Report, or no longer report, when it can be written too."""

    def remove(self, fd: int) -> None:
        """Report nothing more about it."""

    def ready(self) -> Sequence[tuple[int, int]]:
        """What has something now: (descriptor, bits)."""

    def wait(self, seconds: float) -> bool:
        """Wait, to the microsecond, until something has; whether it came in time."""

    def close(self) -> None:
        """Give it back."""


class _Waiting:
    """epoll counts its waiting in milliseconds, which is too coarse; select does not."""

    _queue: Any

    def __init__(self) -> None:
        self._select = get_original("select", "select")

    def wait(self, seconds: float) -> bool:
        return bool(self._select([self._queue], (), (), seconds)[0])

    def close(self) -> None:
        self._queue.close()


class _Epoll(_Waiting):
    def __init__(self) -> None:
        super().__init__()
        self._queue = get_original("select", "epoll")()

    def add(self, fd: int) -> None:
        self._queue.register(fd, READ)

    def also_write(self, fd: int, wanted: bool) -> None:
        self._queue.modify(fd, READ | WRITE if wanted else READ)

    def remove(self, fd: int) -> None:
        self._queue.unregister(fd)

    def ready(self) -> Sequence[tuple[int, int]]:
        return [(fd, bits if bits & READ else bits | READ if bits & ~WRITE else bits) for fd, bits in self._poll()]

    def _poll(self) -> Sequence[tuple[int, int]]:
        events: Sequence[tuple[int, int]] = self._queue.poll(0, _MOST_EVENTS)
        return events


class _Kqueue(_Waiting):
    """macOS."""

    def __init__(self) -> None:
        super().__init__()
        self._queue = get_original("select", "kqueue")()
        self._event = get_original("select", "kevent")
        self._readable, self._writable = -1, -2

    def add(self, fd: int) -> None:
        self._change(fd, self._readable, 1)

    def also_write(self, fd: int, wanted: bool) -> None:
        self._change(fd, self._writable, 1 if wanted else 2)

    def remove(self, fd: int) -> None:
        """A closed descriptor leaves by itself."""

    def ready(self) -> Sequence[tuple[int, int]]:
        found = self._queue.control(None, _MOST_EVENTS, 0)
        return [(event.ident, READ if event.filter == self._readable else WRITE) for event in found]

    def _change(self, fd: int, kind: int, flags: int) -> None:
        try:
            self._queue.control([self._event(fd, kind, flags)], 0)
        except FileNotFoundError:
            # what was not wanted need not be unwanted
            return


def make_poller() -> Poller:
    """The system's."""
    return _Kqueue() if sys.platform == "darwin" else _Epoll()
