"""Pure simulation: a workload against the engine, in virtual time and without HTTP."""

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import inf

from drydock.simulator.engine import Engine
from drydock.simulator.frontend import Frontend
from drydock.simulator.requests import EngineRequest, Limits, Outcome
from drydock.simulator.timing import Coefficients, StepTimer
from drydock.simulator.workload import Workload


@dataclass(slots=True)
class Record:
    """One finished request as the client saw it; times in s from the start."""

    sent: float
    first: float
    end: float
    prompt: int
    output: int
    preemptions: int


@dataclass(slots=True)
class Run:
    """Everything that happened.

    Attributes:
        table: of finished requests in the order of their end, the six numbers of a Record each (numbers in one piece:
            a million objects would keep the garbage collector busy).
        gaps: between tokens of one request: s, and how often, in turn.
        issued_until: s, when the last request was sent.
        engine_steps, preemptions: of the engine.
        most_running, most_waiting, most_blocks: highest seen after a step.
        virtual_seconds: when the last token was written.
    """

    table: "array[float]" = field(default_factory=lambda: array("d"))
    gaps: "array[float]" = field(default_factory=lambda: array("d"))
    issued: int = 0
    issued_until: float = 0.0
    engine_steps: int = 0
    preemptions: int = 0
    most_running: int = 0
    most_waiting: int = 0
    most_blocks: int = 0
    virtual_seconds: float = 0.0

    @property
    def records(self) -> list[Record]:
        """The table as objects."""
        row = iter(self.table)
        return [
            Record(sent, first, end, int(prompt), int(output), int(preemptions))
            for sent, first, end, prompt, output, preemptions in zip(row, row, row, row, row, row, strict=True)
        ]


Observer = Callable[[Engine, Outcome], None]


def simulate(coefficients: Coefficients, limits: Limits, workload: Workload, observe: Observer | None = None) -> Run:
    """Run a workload to its end: after `duration` nothing new is sent, what is under way is finished.

    The same arguments give the same result to the last bit. `observe` is called after each outcome of the engine.
    """
    return _Simulation(coefficients, limits, workload).run(observe)


class _Simulation:
    def __init__(self, coefficients: Coefficients, limits: Limits, workload: Workload) -> None:
        self._engine = Engine(limits, StepTimer(coefficients, limits.max_num_seqs))
        self._frontend = Frontend(coefficients)
        self._workload = workload
        self._lengths = workload.lengths()
        self._hashes = workload.hashes()
        self._arrivals = workload.arrivals()
        self._run = Run()
        self._due: list[float] = []
        self._in_flight = 0
        self._most_in_flight = workload.max_in_flight or inf
        self._most_requests = workload.requests or inf
        self._next_arrival = next(self._arrivals, inf)
        if workload.concurrency is not None:
            self._due = [0.0] * workload.concurrency

    def run(self, observe: Observer | None) -> Run:
        engine, run = self._engine, self._run
        while True:
            # requests enter the engine's queue early enough that no step runs past the arrival of the next
            while (due := self._peek()) <= engine.now or engine.next_ready == inf:
                if due == inf or not self._send():
                    break
            outcome = engine.advance()
            if outcome is None:
                break
            self._account(outcome)
            if observe is not None:
                observe(engine, outcome)
        run.preemptions = engine.preemptions
        return run

    def _peek(self) -> float:
        if self._put_back is not None:
            return self._put_back[0]
        return min(self._next_arrival, self._due[0]) if self._due else self._next_arrival

    def _send(self) -> bool:
        """Send what the serving process reads in one go; False when the client has too many open already."""
        request = self._next_request(0)
        if request is None:
            return False
        sent, prompt, output = request
        ready = self._frontend.request(sent, prompt, self._peek())
        if ready is not None:
            self._submit(sent, prompt, output, ready)
            return True
        taken = [request]
        times = self._frontend.requests(self._take(taken))
        self._put_back = taken[len(times)] if len(taken) > len(times) else self._put_back
        for (sent, prompt, output), at in zip(taken, times, strict=False):
            self._submit(sent, prompt, output, at)
        return True

    def _submit(self, sent: float, prompt: int, output: int, ready: float) -> None:
        self._engine.submit(EngineRequest(prompt, output, next(self._hashes), owner=sent, ready=ready))
        self._in_flight += 1
        run = self._run
        run.issued += 1
        run.issued_until = max(run.issued_until, sent)

    def _take(self, taken: list[tuple[float, int, int]]) -> Iterator[tuple[float, int]]:
        """The first request and those that follow, each noted in `taken`."""
        yield taken[0][:2]
        while (request := self._next_request(len(taken))) is not None:
            taken.append(request)
            yield request[:2]

    def _next_request(self, before: int) -> tuple[float, int, int] | None:
        """(sent, input, output tokens) of the next request, `before` others being about to be sent."""
        if self._in_flight + before >= self._most_in_flight:
            return None
        if self._put_back is not None:
            request, self._put_back = self._put_back, None
            return request
        again = bool(self._due) and self._due[0] <= self._next_arrival
        due = self._due[0] if again else self._next_arrival
        if due == inf or self._run.issued + before >= self._most_requests:
            return None
        if again:
            heappop(self._due)
        else:
            self._next_arrival = next(self._arrivals, inf)
        prompt, output = next(self._lengths)
        return (due if due > self._released else self._released), prompt, output

    _put_back: tuple[float, int, int] | None = None
    _released = 0.0

    def _account(self, outcome: Outcome) -> None:
        run, workload = self._run, self._workload
        steps, decodes = outcome.steps, outcome.decodes
        run.engine_steps += steps
        if decodes:
            run.gaps.extend(((outcome.end - outcome.start) / steps, decodes * steps))
        written = self._frontend.outputs(outcome.start, outcome.end, steps, decodes + len(outcome.first))
        for request in outcome.first:
            if request.first == outcome.end:
                request.first = written
        for request in outcome.finished:
            sent = request.owner
            assert isinstance(sent, float)  # noqa: S101 (this module is the owner)
            run.table.extend((sent, request.first, written, request.prompt, request.output, request.preemptions))
            run.virtual_seconds = written
            if workload.concurrency is not None and written < workload.duration:
                heappush(self._due, written)
        if outcome.finished:
            if self._in_flight >= self._most_in_flight:
                self._released = written
            self._in_flight -= len(outcome.finished)
        engine = self._engine
        if (running := len(engine.running)) > run.most_running:
            run.most_running = running
        if (waiting := len(engine.waiting)) > run.most_waiting:
            run.most_waiting = waiting
        if (blocks := engine.pool.used) > run.most_blocks:
            run.most_blocks = blocks
