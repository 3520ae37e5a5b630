"""The master: starts the stage on all workers at one time, reports progress, and puts their rows together."""

import io
import logging
import signal
import statistics
import time
from collections import defaultdict, deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import gevent
from locust.env import Environment

from drydock.errors import DrydockError
from drydock.loadtest.arrivals import due_times
from drydock.loadtest.generator_health import judge
from drydock.loadtest.messages import BEGIN, FAILED, INTERRUPT, PROGRESS, RECORDS, SECONDS_BETWEEN_REPORTS
from drydock.loadtest.records import Records, Run, Snapshot, WorkerHealth
from drydock.loadtest.settings import Closed, LoadPlan
from drydock.loadtest.user_model import user_class, user_count

_HEAD_START_SECONDS = 0.3
"""From the message that names the start to the start."""
_HAND_OVER_SECONDS = 60.0
_LOOK_SECONDS = 0.1
_RATE_SECONDS = 2.0
_ROUNDING_SECONDS = 1e-6
"""Recorded times are differences of clock readings: the last one must not fall before the moment that it was due."""


@dataclass
class _Heard:
    """What the workers have said."""

    parts: dict[int, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    health: dict[int, WorkerHealth] = field(default_factory=dict)
    progress: dict[int, dict[str, Any]] = field(default_factory=dict)
    failure: DrydockError | None = None
    interrupted: bool = False
    said: dict[str, str] = field(default_factory=dict)

    def on_records(self, msg: Any, **_: Any) -> None:
        worker = msg.data["worker"]
        self.parts[worker].append(msg.data["data"])
        if msg.data["last"]:
            self.health[worker] = WorkerHealth(**msg.data["health"])
            self.interrupted |= msg.data["interrupted"]
            self.said = {kind: words for kind, words in msg.data["said"].items() if words} | self.said

    def on_progress(self, msg: Any, **_: Any) -> None:
        self.progress[msg.data["worker"]] = msg.data

    def on_failed(self, msg: Any, **_: Any) -> None:
        self.failure = DrydockError(msg.data["message"], remedy=msg.data["remedy"])


class Master:
    """Conducts one run.

    Args:
        plan: what is to be done.
        host: interface to listen on.
        port: to listen on, 0 for any that is free.
        lost: returns the workers that have ended, if that can be known.
        tell: called with each snapshot.
        connect_seconds: that the workers have to come.
    """

    def __init__(
        self,
        plan: LoadPlan,
        host: str,
        port: int,
        *,
        lost: Callable[[], Collection[object]],
        tell: Callable[[Snapshot], None],
        connect_seconds: float = 60.0,
    ) -> None:
        logging.getLogger("locust").setLevel(logging.ERROR)
        self._plan, self._lost, self._tell = plan, lost, tell
        self._environment = Environment(user_classes=[user_class(plan)])
        self._runner = self._environment.create_master_runner(host, port)
        self._heard = _Heard()
        for name, listener in (
            (RECORDS, self._heard.on_records),
            (PROGRESS, self._heard.on_progress),
            (FAILED, self._heard.on_failed),
        ):
            self._runner.register_message(name, listener)
        self._connect_seconds = connect_seconds
        self._stopping = False
        self._history: deque[tuple[float, int, int]] = deque([(0.0, 0, 0)])

    @property
    def port(self) -> int:
        """Where workers find it."""
        return int(self._runner.server.port)

    def run(self) -> Run:
        """From the first worker's coming to the last row.

        Raises:
            DrydockError: workers did not come, or none of them could make its load.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            gevent.signal_handler(number, self.interrupt)
        try:
            self._gather()
            self._runner.start(user_count(self._plan), spawn_rate=user_count(self._plan))
            at = time.time() + _HEAD_START_SECONDS
            self._runner.send_message(BEGIN, {"at": at})
            notes = self._follow(at)
            return self._result(at, notes)
        finally:
            self._runner.quit()

    def interrupt(self) -> None:
        """End the load early; what was recorded until then is the run."""
        self._stopping = True

    def _gather(self) -> None:
        deadline = time.monotonic() + self._connect_seconds
        while len(self._runner.clients.ready) < self._plan.processes:
            if self._stopping or self._lost() or time.monotonic() > deadline:
                here = len(self._runner.clients.ready)
                raise DrydockError(
                    f"only {here} of {self._plan.processes} load generating workers started",
                    remedy="Give fewer --processes, or look at the machine's memory and load.",
                )
            gevent.sleep(0.02)

    def _follow(self, at: float) -> list[str]:
        """Until all have handed over their rows; gives what went wrong."""
        told = deadline = 0.0
        latest = at + self._plan.stage.sending_seconds + self._plan.target.timeout_seconds + _HAND_OVER_SECONDS
        while len(self._heard.health) < self._plan.processes:
            gevent.sleep(_LOOK_SECONDS)
            now = time.time()
            if self._heard.failure:
                raise self._heard.failure
            if self._stopping and not deadline:
                self._runner.send_message(INTERRUPT, {})
                deadline = now + _HAND_OVER_SECONDS
            missing = self._plan.processes - len(self._heard.health)
            if len(self._lost()) + len(self._heard.health) >= self._plan.processes and self._lost():
                return [f"{missing} of {self._plan.processes} workers were lost with what they had recorded"]
            if now > (deadline or latest):
                return [f"{missing} of {self._plan.processes} workers did not hand over what they had recorded"]
            if now - told >= SECONDS_BETWEEN_REPORTS:
                told = now
                self._tell(self._snapshot(now - at))
        self._tell(self._snapshot(time.time() - at))
        return []

    def _snapshot(self, seconds: float) -> Snapshot:
        said = list(self._heard.progress.values())
        totals = {
            name: sum(report[name] for report in said) for name in ("sent", "in_flight", "finished", "errors", "reads")
        }
        # workers report at their own times: rates are of their clocks, over two seconds
        told = statistics.fmean(report["seconds"] for report in said) if said else 0.0
        self._history.append((told, totals["sent"], totals["reads"]))
        while told - self._history[1][0] >= _RATE_SECONDS:
            self._history.popleft()
        since, sent, reads = self._history[0]
        passed = max(told - since, 1e-9)
        recent = [value for report in said for value in report["ttft"]]
        return Snapshot(
            seconds=seconds,
            sent=totals["sent"],
            in_flight=totals["in_flight"],
            finished=totals["finished"],
            errors=totals["errors"],
            sent_per_second=(totals["sent"] - sent) / passed,
            chunks_per_second=(totals["reads"] - reads) / passed,
            ttft_seconds=statistics.median(recent) if recent else float("nan"),
        )

    def _result(self, at: float, notes: list[str]) -> Run:
        plan, heard = self._plan, self._heard
        found = [Records.load(io.BytesIO(b"".join(heard.parts[worker]))) for worker in sorted(heard.health)]
        records = Records.concatenate(found)
        interrupted = heard.interrupted or self._stopping
        complete = not notes and not interrupted
        due, seconds = self._due(records, complete)
        workers = [heard.health[worker] for worker in sorted(heard.health)]
        return Run(
            records=records,
            health=judge(records, plan.stage, workers, due=due, seconds=seconds),
            stage=plan.stage,
            started_at=at,
            complete=complete,
            notes=(*notes, *(["the run was interrupted"] if interrupted else [])),
            said=heard.said,
            interrupted=interrupted,
        )

    def _due(self, records: Records, complete: bool) -> tuple[int | None, float]:
        """Conversations that should have begun, and in how many seconds."""
        begun = records.intended[records.turn == 0]
        seconds = self._plan.stage.sending_seconds
        if not complete or self._plan.stage.max_conversations:
            seconds = min(seconds, float(begun.max(initial=0.0)) or seconds)
        if isinstance(self._plan.stage.arrival, Closed):
            return None, seconds
        times = due_times(self._plan.stage, self._plan.seed)
        return int((times <= seconds + _ROUNDING_SECONDS).sum()), seconds
