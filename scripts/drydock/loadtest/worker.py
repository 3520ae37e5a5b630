"""One worker: a Locust worker that makes its part of the load and hands its rows to the master."""

import io
import logging
import os
import signal
import time
from typing import Any

import gevent

from drydock.errors import DrydockError
from drydock.loadtest.messages import BEGIN, FAILED, INTERRUPT, PROGRESS, RECORDS, SECONDS_BETWEEN_REPORTS
from drydock.loadtest.reactor import clock
from drydock.loadtest.records import Outcome
from drydock.loadtest.settings import LoadPlan
from drydock.loadtest.user_model import Load, make_room_for_sockets

_PART_BYTES = 4 * 2**20


def run_worker(plan: LoadPlan, host: str, port: int, *, with_parent: bool) -> None:
    """Serve a master until it says that all is done.

    Args:
        plan: the same that the master has.
        host: of the master.
        port: of the master.
        with_parent: end when the process that started this one does.
    """
    logging.getLogger("locust").setLevel(logging.ERROR)
    make_room_for_sockets()
    load = Load(plan)
    runner = load.environment.create_worker_runner(host, port)

    def on_begin(msg: Any, **_: Any) -> None:
        try:
            load.begin(clock() + msg.data["at"] - time.time(), runner.worker_index)
            reports = gevent.spawn(_report, load, runner)
            load.finish()
            reports.kill()
            _hand_over(load, runner)
        except DrydockError as error:
            runner.send_message(FAILED, {"message": error.message, "remedy": error.remedy})

    def on_interrupt(**_: Any) -> None:
        load.interrupt()

    runner.register_message(BEGIN, on_begin, concurrent=True)
    runner.register_message(INTERRUPT, on_interrupt)
    gevent.signal_handler(signal.SIGTERM, load.interrupt)
    parent = os.getppid()
    while len(runner.greenlet) and not (with_parent and os.getppid() != parent):
        runner.greenlet.join(timeout=1)


def _report(load: Load, runner: Any) -> None:
    while True:
        gevent.sleep(SECONDS_BETWEEN_REPORTS)
        recorder = load.recorder
        recent = list(recorder.recent)
        recorder.recent.clear()
        runner.send_message(
            PROGRESS,
            {
                "worker": load.worker,
                "seconds": clock() - load.start,
                "sent": recorder.finished + load.reactor.in_flight,
                "in_flight": load.reactor.in_flight,
                "finished": recorder.finished,
                "errors": recorder.errors,
                "reads": recorder.reads,
                "ttft": recent,
            },
        )


def _hand_over(load: Load, runner: Any) -> None:
    records = load.recorder.records(load.start)
    file = io.BytesIO()
    records.save(file)
    raw = file.getvalue()
    parts = [raw[at : at + _PART_BYTES] for at in range(0, len(raw), _PART_BYTES)]
    health = load.watch.health(load.worker, int((records.outcome == Outcome.NOT_SENT).sum()))
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        runner.send_message(
            RECORDS,
            {
                "worker": load.worker,
                "data": part,
                "last": last,
                "interrupted": load.interrupted,
                "said": load.recorder.said,
                "health": {name: getattr(health, name) for name in health.__dataclass_fields__},
            },
        )
        gevent.sleep(0)
