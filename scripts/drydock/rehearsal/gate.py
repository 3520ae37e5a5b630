"""When Karpenter may buy: only once it knows everything that decides what is bought."""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from drydock.outcome.decisions import AWAITING, NOT_READY, Decided, PoolSkipped, RoundBegan

_HEARD_SECONDS = 2.0
"""How far the reading of Karpenter's log may be behind what it does; after that it has to begin another round."""


@dataclass
class Gate:
    """Holds purchases while an install is under way, and lets the first round through that knows all of it.

    Karpenter learns of pods and pools one by one, and on a busy machine its rounds of decisions fall between them. So
    nothing is bought during an install, and after it a marker is made, a pod that no node can host. The API server
    reports changes in their order: a round of decisions that speaks of the marker knows of every pod before it. All its
    claims are let through, or none of them.

    Args:
        clock: gives Unix time, as in Karpenter's log.
    """

    clock: Callable[[], float] = time.time
    _opened: threading.Condition = field(default_factory=threading.Condition)
    _held: bool = False
    _turn: int = 0
    _marked: float | None = None
    _usable: frozenset[str] = frozenset()
    _bound: frozenset[str] = frozenset()
    _incomplete: set[float] = field(default_factory=set)

    @property
    def turn(self) -> int:
        """How often purchases were held so far."""
        with self._opened:
            return self._turn

    def hold(self) -> None:
        """Let nothing through from now on."""
        with self._opened:
            self._held, self._marked, self._turn = True, None, self._turn + 1

    def mark(self, turn: int, usable: Iterable[str], bound: Iterable[str] = ()) -> bool:
        """The marker is about to be made: the first round after this that speaks of it counts.

        Args:
            turn: that is over; nothing happens, and the answer is False, when purchases were held again since.
            usable: names of the pools that such a round must not leave out because Karpenter does not know them yet.
            bound: pods, as `namespace/name`, that it must not ignore because it takes their volumes for unbound.
        """
        with self._opened:
            if not self._held or turn != self._turn:
                return False
            self._marked, self._usable, self._bound = self.clock(), frozenset(usable), frozenset(bound)
            self._incomplete.clear()
            return True

    def heard(self, event: Decided | PoolSkipped | RoundBegan, marker: str) -> bool:
        """Take note of a line of Karpenter's log; returns whether that opened the gate.

        Args:
            event: in the order of the log.
            marker: `namespace/name` of the marker.
        """
        with self._opened:
            if isinstance(event, RoundBegan):
                if event.ignored & self._bound:
                    self._incomplete.add(event.began)
                return False
            if isinstance(event, PoolSkipped):
                if event.pool in self._usable and event.reason in (AWAITING, NOT_READY):
                    self._incomplete.add(event.began)
                return False
            if event.pod != marker or self._marked is None or event.began <= self._marked:
                return False
            if event.began in self._incomplete:
                return False
            self._held, self._marked = False, None
            self._opened.notify_all()
            return True

    def admits(self, seconds: float = _HEARD_SECONDS) -> bool:
        """Whether a claim that is being made may be; waits a moment for what is still to be heard of its round."""
        with self._opened:
            if self._marked is not None:
                self._opened.wait_for(lambda: not self._held, seconds)
            if self._held and self._marked is not None:
                self._marked = self.clock()  # the rest of this round is not let through either
            return not self._held
