"""The serving process around the engine: one thread that reads requests and writes tokens, one thing at a time."""

from collections.abc import Iterable

from drydock.simulator.timing import Coefficients

_BUSIEST = 0.5
"""Share of the process that outputs take from requests at most: an event loop gives both their turn."""


class Frontend:
    """Turns times at the client into times at the engine and back.

    Requests queue for the process among themselves, and outputs among themselves; each side is slowed by the share of
    the process that the other one uses. That keeps both in order of time without simulating every write.
    """

    def __init__(self, coefficients: Coefficients) -> None:
        self._c = coefficients
        self._read_until = 0.0
        self._written_until = 0.0
        self._output_share = 0.0

    def request(self, sent: float, prompt: int, following: float) -> float | None:
        """When a request reaches the engine, if the one after it is sent too late to be read in one go; else None."""
        c = self._c
        work = (c.request_cpu + c.request_token_cpu * prompt) / (1 - self._output_share)
        start = sent if sent > self._read_until else self._read_until
        if following <= start + work * c.request_share:
            return None
        self._read_until = start + work
        return self._read_until + c.request_latency

    def requests(self, waiting: Iterable[tuple[float, int]]) -> list[float]:
        """When requests, (sent, prompt tokens) in order of time, reach the engine.

        Takes from `waiting` those that the process reads in one go: the first, and all that come in while it is still
        at the first part of the work of those before.
        """
        c = self._c
        slower = 1 / (1 - self._output_share)
        rest: list[float] = []
        done = self._read_until
        for sent, prompt in waiting:
            if rest and sent > done:
                break
            work = (c.request_cpu + c.request_token_cpu * prompt) * slower
            done = max(done, sent) + work * c.request_share
            rest.append(work * (1 - c.request_share))
        ready: list[float] = []
        for work in rest:
            done += work
            ready.append(done + c.request_latency)
        self._read_until = done
        return ready

    def outputs(self, start: float, end: float, steps: int, tokens: int) -> float:
        """When the last of a step's `tokens` is written; of `steps` equal ones between `start` and `end`, the last."""
        c = self._c
        work = c.output_cpu + c.output_token_cpu * tokens
        length = (end - start) / steps
        self._output_share = min(_BUSIEST, work / length) if length > 0 else _BUSIEST
        backlog = max(0.0, self._written_until - end) if steps == 1 else max(0.0, self._written_until - start)
        if steps > 1:
            backlog = max(0.0, backlog + steps * work - (end - start)) if work > length else 0.0
        self._written_until = end + backlog + work
        return self._written_until
