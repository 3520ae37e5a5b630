"""Pure simulation: a workload against the engine, in virtual time and without HTTP."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import inf

from drydock.vllm_sim.engine import Engine, EngineRequest, Limits, Outcome
from drydock.vllm_sim.frontend import Frontend
from drydock.vllm_sim.timing import Coefficients, StepTimer
from drydock.vllm_sim.workload import Workload


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
        records: finished requests in the order of their end.
        gaps: (s, how often) between tokens of one request.
        issued_until: s, when the last request was sent.
        engine_steps, preemptions: of the engine.
        most_running, most_waiting, most_blocks: highest seen after a step.
        virtual_seconds: when the last token was written.
    """

    records: list[Record] = field(default_factory=list)
    gaps: list[tuple[float, int]] = field(default_factory=list)
    issued: int = 0
    issued_until: float = 0.0
    engine_steps: int = 0
    prefill_tokens: int = 0
    preemptions: int = 0
    most_running: int = 0
    most_waiting: int = 0
    most_blocks: int = 0
    virtual_seconds: float = 0.0


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
        self._arrivals = workload.arrivals()
        self._run = Run()
        self._due: list[float] = []
        self._in_flight = 0
        self._most_in_flight = workload.max_in_flight or inf
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
        taken: list[tuple[float, int, int]] = []
        ready = self._frontend.requests(self._take(taken))
        for (sent, prompt, output), at in zip(taken, ready, strict=False):
            self._engine.submit(EngineRequest(prompt, output, owner=sent, ready=at))
        for sent, prompt, output in taken[len(ready) :]:
            self._put_back = (sent, prompt, output)
        self._in_flight += len(ready)
        self._run.issued += len(ready)
        if ready:
            self._run.issued_until = max(self._run.issued_until, taken[len(ready) - 1][0])
        return bool(ready)

    def _take(self, taken: list[tuple[float, int, int]]) -> Iterator[tuple[float, int]]:
        """The requests that are due, as far as the client may send them."""
        most = self._workload.requests or inf
        while self._in_flight + len(taken) < self._most_in_flight:
            if self._put_back is not None:
                request, self._put_back = self._put_back, None
            else:
                due = self._peek()
                if due == inf or self._run.issued + len(taken) >= most:
                    return
                if self._due and self._due[0] <= self._next_arrival:
                    heappop(self._due)
                else:
                    self._next_arrival = next(self._arrivals, inf)
                prompt, output = next(self._lengths)
                request = (max(due, self._released), prompt, output)
            taken.append(request)
            yield request[0], request[1]

    _put_back: tuple[float, int, int] | None = None
    _released = 0.0

    def _account(self, outcome: Outcome) -> None:
        run, workload = self._run, self._workload
        steps, decodes = outcome.steps, outcome.decodes
        run.engine_steps += steps
        run.prefill_tokens += outcome.prefill
        if decodes:
            run.gaps.append(((outcome.end - outcome.start) / steps, decodes * steps))
        written = self._frontend.outputs(outcome.start, outcome.end, steps, decodes + len(outcome.first))
        for request in outcome.first:
            if request.first == outcome.end:
                request.first = written
        for request in outcome.finished:
            sent = request.owner
            assert isinstance(sent, float)  # noqa: S101 (this module is the owner)
            run.records.append(
                Record(sent, request.first, written, request.prompt, request.output, request.preemptions)
            )
            run.virtual_seconds = written
            if workload.concurrency is not None and written < workload.duration:
                heappush(self._due, written)
        if outcome.finished:
            if self._in_flight >= self._most_in_flight:
                self._released = written
            self._in_flight -= len(outcome.finished)
        engine = self._engine
        run.most_running = max(run.most_running, len(engine.running))
        run.most_waiting = max(run.most_waiting, len(engine.waiting))
        run.most_blocks = max(run.most_blocks, engine.pool.used)
