"""The generator's watch on itself: whether its own slowness, and not the server's, is in the figures."""

import time
from array import array
from collections.abc import Sequence

import numpy as np

from drydock.loadtest.records import GeneratorHealth, Records, WorkerHealth
from drydock.loadtest.settings import Stage

SEND_LAG_P99_SECONDS = 0.010
WAKE_LAG_P99_SECONDS = 0.010
READ_DELAY_P99_SECONDS = 0.010
CPU_SHARE = 0.9
ACHIEVED_SHARE = 0.98
"""Beyond these a run does not count: what they add would be told as the server's."""

_BUCKET_SECONDS = 0.0001
_BUCKETS = 2000


class Watch:
    """How one worker's reactor keeps up, between `start` and `stop`."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Sending begins."""
        self._began = self._ended = (time.monotonic(), time.process_time())
        self._delays, self._lags = _histogram(), _histogram()

    def stop(self) -> None:
        """Sending is over."""
        self._ended = (time.monotonic(), time.process_time())

    def batch(self, seconds: float, reads: int) -> None:
        """So many reads were done in so many seconds since the kernel had been asked: none waited longer."""
        self._delays[min(int(seconds / _BUCKET_SECONDS), _BUCKETS)] += reads

    def overslept(self, seconds: float) -> None:
        """It woke so much later than it had asked for, and nothing had come."""
        self._lags[min(int(seconds / _BUCKET_SECONDS), _BUCKETS)] += 1

    def health(self, worker: int, dropped: int) -> WorkerHealth:
        """What it came to."""
        (began, cpu_began), (ended, cpu_ended) = self._began, self._ended
        return WorkerHealth(
            worker=worker,
            cpu_share=(cpu_ended - cpu_began) / (ended - began) if ended > began else 0.0,
            wake_lag_p99_seconds=_percentile(self._lags, 0.99),
            read_delay_p99_seconds=_percentile(self._delays, 0.99),
            dropped=dropped,
        )


def _histogram() -> "array[int]":
    return array("q", bytes(8 * (_BUCKETS + 1)))


def _percentile(histogram: "array[int]", part: float) -> float:
    """Upper bound of the bucket that holds it; 0 where nothing was counted."""
    total = sum(histogram)
    seen = 0
    for bucket, number in enumerate(histogram):
        seen += number
        if number and seen >= part * total:
            return (bucket + 1) * _BUCKET_SECONDS
    return 0.0


def judge(
    records: Records, stage: Stage, workers: Sequence[WorkerHealth], *, due: int | None, seconds: float
) -> GeneratorHealth:
    """Say whether a run counts.

    Args:
        records: all of it.
        stage: what was asked for.
        workers: what each worker saw of itself.
        due: conversations that should have been begun; None in a closed loop.
        seconds: for which they were begun.
    """
    lag = records.sent - records.intended
    lag = lag[np.isfinite(lag)]
    p50, p99, most = (float(value) for value in np.percentile(lag, (50, 99, 100))) if lag.size else (np.nan,) * 3
    begun = int(np.count_nonzero(np.isfinite(records.sent) & (records.turn == 0)))
    achieved = begun / seconds if seconds else 0.0
    intended = None if due is None or not seconds else due / seconds
    reasons = []
    if lag.size and p99 > SEND_LAG_P99_SECONDS:
        reasons.append(f"requests were sent {1e3 * p99:.1f} ms late (99th percentile)")
    if intended and achieved < ACHIEVED_SHARE * intended:
        reasons.append(f"{achieved:.1f} conversations/s were begun instead of {intended:.1f}")
    for each in workers:
        reasons += _reasons(each)
    return GeneratorHealth(
        send_lag_p50_seconds=p50,
        send_lag_p99_seconds=p99,
        send_lag_max_seconds=most,
        intended_rate=intended,
        achieved_rate=achieved,
        workers=tuple(workers),
        valid=not reasons,
        reasons=tuple(reasons),
    )


def _reasons(worker: WorkerHealth) -> list[str]:
    found = []
    if worker.cpu_share > CPU_SHARE:
        found.append(f"worker {worker.worker} used {worker.cpu_share:.0%} of a core: give it more --processes")
    if worker.wake_lag_p99_seconds > WAKE_LAG_P99_SECONDS:
        found.append(
            f"worker {worker.worker} woke {1e3 * worker.wake_lag_p99_seconds:.1f} ms late (99th percentile):"
            " its machine was busy with something else"
        )
    if worker.read_delay_p99_seconds > READ_DELAY_P99_SECONDS:
        found.append(
            f"worker {worker.worker} read up to {1e3 * worker.read_delay_p99_seconds:.1f} ms late (99th percentile)"
        )
    if worker.dropped:
        found.append(
            f"worker {worker.worker} could not send {worker.dropped} requests: no sockets were left (ulimit -n)"
        )
    return found
