"""The engine against the clock: requests come from HTTP handlers, tokens go back to them when their step has ended."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from drydock.simulator.engine import Engine
from drydock.simulator.frontend import Frontend
from drydock.simulator.metrics import Finished, Metrics
from drydock.simulator.profile import Setup
from drydock.simulator.requests import EngineRequest, Outcome
from drydock.simulator.timing import StepTimer

log = logging.getLogger("vllm")

_REPORT_SECONDS = 10.0


@dataclass(eq=False)
class Ticket:
    """One request under way.

    Attributes:
        tokens: how many have been delivered.
        on_token: called in the event loop with each token's number, from 1.
        finish_reason: `stop` or `length`, known beforehand.
        done: set once all tokens are delivered or the request was aborted.
    """

    request: EngineRequest
    finish_reason: str
    max_tokens: int
    on_token: Callable[[int], None] | None
    arrival: float
    all_hashes: Sequence[int] = ()
    tokens: int = 0
    aborted: bool = False
    done: asyncio.Event = field(default_factory=asyncio.Event)


class LiveEngine:
    """Runs one engine in the present event loop, `speed` times faster than the clock."""

    def __init__(self, setup: Setup, metrics: Metrics, *, speed: float = 1.0, log_stats: bool = True) -> None:
        coefficients = setup.profile.coefficients
        self.setup = setup
        self.metrics = metrics
        self._speed = speed
        self._log_stats = log_stats
        self._engine = Engine(setup.limits, StepTimer(coefficients, setup.limits.max_num_seqs))
        self._engine.on_end = _whole_prefix
        self._frontend = Frontend(coefficients)
        self._started = time.monotonic()
        self._wake = asyncio.Event()
        self._decoding: dict[EngineRequest, Ticket] = {}
        self._tickets: dict[EngineRequest, Ticket] = {}
        self._counts = [0, 0]

    def open_tickets(self) -> list[Ticket]:
        """Requests that are not finished."""
        return list(self._tickets.values())

    def now(self) -> float:
        """Seconds of the engine's clock."""
        return (time.monotonic() - self._started) * self._speed

    @property
    def in_flight(self) -> int:
        """Requests that are not finished."""
        return len(self._tickets)

    def submit(
        self,
        *,
        prompt: int,
        output: int,
        finish_reason: str,
        max_tokens: int,
        hashes: Sequence[int] = (),
        all_hashes: Sequence[int] = (),
        lora: str = "",
        on_token: Callable[[int], None] | None = None,
    ) -> Ticket:
        """Hand a request to the engine."""
        now = self.now()
        ready = self._frontend.requests([(now, prompt)])[0] - self.setup.profile.coefficients.request_latency
        request = EngineRequest(prompt, output, hashes=hashes, lora=lora, ready=max(now, ready))
        ticket = Ticket(request, finish_reason, max_tokens, on_token, now, all_hashes)
        request.owner = ticket
        self._engine.submit(request)
        self._tickets[request] = ticket
        self._wake.set()
        return ticket

    def abort(self, ticket: Ticket) -> None:
        """Forget a request whose client has gone."""
        if ticket.done.is_set():
            return
        self._engine.abort(ticket.request)
        self._decoding.pop(ticket.request, None)
        self._tickets.pop(ticket.request, None)
        ticket.aborted = True
        ticket.done.set()
        self._count_finished(ticket, "abort")
        self._show_queues()

    def abort_all(self) -> None:
        """Forget every request."""
        for ticket in tuple(self._tickets.values()):
            self.abort(ticket)

    async def run(self) -> None:
        """Step until cancelled."""
        report = asyncio.create_task(self._report()) if self._log_stats else None
        try:
            while True:
                outcome = self._engine.advance(self.now(), max_steps=1)
                if outcome is None:
                    await self._idle()
                    continue
                self._show_queues()
                await self._sleep_until(outcome.end)
                self._deliver(outcome)
        finally:
            if report is not None:
                report.cancel()

    async def _idle(self) -> None:
        self._show_queues()
        self._wake.clear()
        wait = (self._engine.next_ready - self.now()) / self._speed
        if wait > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), min(wait, 3600.0))

    async def _sleep_until(self, end: float) -> None:
        await asyncio.sleep(max(0.0, (end - self.now()) / self._speed))

    def _deliver(self, outcome: Outcome) -> None:
        metrics = self.metrics
        for request in outcome.preempted:
            self._decoding.pop(request, None)
        decoded = len(self._decoding)
        for decoding in tuple(self._decoding.values()):
            self._token(decoding)
        metrics.gaps(outcome.end - outcome.start, decoded)
        for request in outcome.first:
            ticket = self._tickets.get(request)
            if ticket is None:
                continue
            if not ticket.tokens:
                caching = self.setup.args.enable_prefix_caching
                metrics.first_token(
                    outcome.end - ticket.arrival, prompt=request.prompt, cached=request.cached, caching=caching
                )
            self._decoding[request] = ticket
            self._token(ticket)
        for request in outcome.finished:
            ended = self._tickets.pop(request, None)
            self._decoding.pop(request, None)
            if ended is not None:
                ended.done.set()
                self._count_finished(ended, ended.finish_reason)
        generated = decoded + len(outcome.first)
        metrics.step(generated=generated, prefill=outcome.prefill, preempted=len(outcome.preempted))
        self._frontend.outputs(outcome.start, outcome.end, 1, generated)
        self._counts[0] += outcome.prefill
        self._counts[1] += generated
        self._show_queues()

    @staticmethod
    def _token(ticket: Ticket) -> None:
        ticket.tokens += 1
        if ticket.on_token is not None:
            ticket.on_token(ticket.tokens)

    def _count_finished(self, ticket: Ticket, reason: str) -> None:
        request = ticket.request
        self.metrics.finished(
            Finished(
                reason=reason,
                arrival=ticket.arrival,
                scheduled=max(ticket.arrival, request.scheduled),
                first=request.first,
                end=request.end,
                prompt=request.prompt,
                output=ticket.tokens,
                cached=request.cached,
                max_tokens=ticket.max_tokens,
            )
        )

    def _show_queues(self) -> None:
        engine = self._engine
        pool = engine.pool
        self.metrics.queues(running=len(engine.running), waiting=len(engine.waiting), kv_usage=pool.used / pool.total)
        if self.setup.args.values["enable_lora"]:
            names = [sorted({r.lora for r in queue if r.lora}) for queue in (engine.waiting, engine.running)]
            self.metrics.loras(self.setup.limits.max_loras, *names)

    async def _report(self) -> None:
        """The line that vLLM logs every ten seconds while there is work, and once after."""
        quiet = True
        while True:
            await asyncio.sleep(_REPORT_SECONDS)
            prompt, generated = (count / _REPORT_SECONDS for count in self._counts)
            self._counts = [0, 0]
            busy = bool(prompt or generated or self._tickets)
            if busy or not quiet:
                engine = self._engine
                hits = 100 * engine.cached_tokens / engine.queried_tokens if engine.queried_tokens else 0.0
                log.info(
                    "Engine 000: Avg prompt throughput: %.1f tokens/s, Avg generation throughput: %.1f tokens/s,"
                    " Running: %d reqs, Waiting: %d reqs, GPU KV cache usage: %.1f%%, Prefix cache hit rate: %.1f%%",
                    prompt,
                    generated,
                    len(engine.running),
                    len(engine.waiting),
                    100 * engine.pool.used / engine.pool.total,
                    hits,
                    extra={"where": "loggers.py:259"},
                )
            quiet = not busy


def _whole_prefix(request: EngineRequest) -> Sequence[int]:
    """Hashes of prompt and answer, for the next turn."""
    ticket = request.owner
    return ticket.all_hashes if isinstance(ticket, Ticket) else ()
