"""The generator's watch on itself: whether its own slowness, and not the server's, is in the figures."""

import time
from array import array
from collections.abc import Sequence

import numpy as np

from drydock.loadtest.records import Floats, GeneratorHealth, Records, WorkerHealth
from drydock.loadtest.settings import Stage

SEND_LAG_P99_SECONDS = 0.010
WAKE_LAG_P99_SECONDS = 0.010
READ_DELAY_P99_SECONDS = 0.010
CPU_SHARE = 0.9
ACHIEVED_SHARE = 0.98
"""Beyond these a run does not count: what they add would be reported as the server's."""
LATENESS_SHARE = 0.05
"""Of the median latency that was measured: lateness below it does not change what is reported."""
_REMEDY = "close other programs, give more --processes (a core each), or load from another machine"

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
    measured = records.select(records.intended >= stage.warm_up_seconds)
    lag = measured.sent - measured.intended
    lag = lag[np.isfinite(lag)]
    allowed = _allowed_seconds(measured)
    p50, p99, most = (float(value) for value in np.percentile(lag, (50, 99, 100))) if lag.size else (np.nan,) * 3
    begun = int(np.count_nonzero(np.isfinite(records.sent) & (records.turn == 0)))
    achieved = begun / seconds if seconds else 0.0
    intended = None if due is None or not seconds else due / seconds
    reasons = []
    if lag.size and _late(lag) > max(SEND_LAG_P99_SECONDS, allowed):
        reasons.append(
            f"requests were sent {1e3 * _late(lag):.1f} ms late (all but the latest of a hundred), against answers of "
            f"{1e3 * allowed / LATENESS_SHARE:.0f} ms: {_REMEDY}"
        )
    if intended and achieved < ACHIEVED_SHARE * intended:
        reasons.append(f"{achieved:.1f} conversations/s were begun instead of {intended:.1f}: {_REMEDY}")
    for worker in workers:
        reasons += _reasons(worker, allowed)
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


def _allowed_seconds(measured: Records) -> float:
    """Lateness that does not show in what was measured: a twentieth of the median time to the first token, or end."""
    good = measured.select(measured.ok)
    first = good.first_token - good.intended
    times = first[np.isfinite(first)] if np.isfinite(first).any() else good.finished - good.intended
    return LATENESS_SHARE * float(np.median(times)) if times.size else 0.0


def _late(lag: Floats) -> float:
    """Seconds by which all were late at most, but for one in a hundred: one at least, since once is no load."""
    left_out = max(1, lag.size // 100)
    return float(np.sort(lag)[-1 - left_out]) if lag.size > left_out else 0.0


def _reasons(worker: WorkerHealth, allowed: float) -> list[str]:
    found = []
    if worker.cpu_share > CPU_SHARE:
        found.append(f"worker {worker.worker} used {worker.cpu_share:.0%} of a core: give it more --processes")
    if worker.wake_lag_p99_seconds > max(WAKE_LAG_P99_SECONDS, allowed):
        found.append(
            f"worker {worker.worker} woke {1e3 * worker.wake_lag_p99_seconds:.1f} ms late (99th percentile):"
            f" its machine was busy with something else: {_REMEDY}"
        )
    if worker.read_delay_p99_seconds > max(READ_DELAY_P99_SECONDS, allowed):
        found.append(
            f"worker {worker.worker} read up to {1e3 * worker.read_delay_p99_seconds:.1f} ms late (99th percentile):"
            " give it more --processes"
        )
    if worker.dropped:
        found.append(
            f"worker {worker.worker} could not send {worker.dropped} requests: no sockets were left; raise ulimit -n"
        )
    return found
