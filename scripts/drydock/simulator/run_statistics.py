"""What a run comes to: rates, means and percentiles, each defined once."""

from array import array
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from drydock.simulator.simulation import Run
from drydock.suite.objectives import PERCENTILES


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean, median and 99th percentile of one measure, ms; not-a-number when there is nothing to measure."""

    mean: float
    p50: float
    p99: float


@dataclass(frozen=True, slots=True)
class Summary:
    """One run.

    Attributes:
        requests: finished.
        offered_rps: what the workload asked for (open loop).
        achieved_rps: requests sent, by the time in which they were sent.
        completed_rps: requests finished, by the time from the start to the last token.
        output_tokens_per_second: the same for output tokens.
        ttft: sent to first token.
        tpot: (E2E - TTFT) / (output tokens - 1) of each request with two tokens or more.
        itl: between two tokens of one request, every gap counted.
        e2e: sent to last token.
        duration_seconds: from the start to the last token.
    """

    requests: int
    offered_rps: float | None
    achieved_rps: float
    completed_rps: float
    output_tokens_per_second: float
    ttft_ms: Spread
    tpot_ms: Spread
    itl_ms: Spread
    e2e_ms: Spread
    duration_seconds: float
    engine_steps: int
    preemptions: int
    max_running: int
    max_waiting: int
    max_kv_usage: float

    def as_dict(self) -> dict[str, Any]:
        """For JSON: NaN as null."""
        return {key: _plain(value) for key, value in asdict(self).items()}


def summarize(run: Run, *, blocks: int, rate: float | None, duration: float) -> Summary:
    """Reduce a run; `blocks` is the size of the pool, `rate` and `duration` are those of the workload."""
    sent, first, end, _, output, _ = np.array(run.table).reshape(-1, 6).T
    many = output > 1
    seconds = run.virtual_seconds or float("nan")
    sending = max(duration, run.issued_until) if rate is not None else run.issued_until or duration
    return Summary(
        requests=sent.size,
        offered_rps=rate,
        achieved_rps=run.issued / sending,
        completed_rps=sent.size / seconds,
        output_tokens_per_second=float(output.sum()) / seconds,
        ttft_ms=_spread(first - sent),
        tpot_ms=_spread((end - first)[many] / (output[many] - 1)),
        itl_ms=_weighted(run.gaps),
        e2e_ms=_spread(end - sent),
        duration_seconds=seconds,
        engine_steps=run.engine_steps,
        preemptions=run.preemptions,
        max_running=run.most_running,
        max_waiting=run.most_waiting,
        max_kv_usage=run.most_blocks / blocks,
    )


@dataclass(frozen=True, slots=True)
class SimulatedMeasures:
    """A run by the names of objectives (`drydock.suite.objectives`); a request fails if it is too long alone."""

    judged: int
    values: Mapping[str, float | None]

    @property
    def ok(self) -> int:
        """Requests that succeeded: all."""
        return self.judged

    @property
    def worst(self) -> Mapping[str, float | None]:
        """The same: no failure is slower."""
        return self.values

    @property
    def reasons(self) -> Mapping[str, str]:
        """Why a measure is None."""
        return dict.fromkeys(("ttft", "tpot", "itl", "e2e"), "no request has such a time")


def measures(run: Run, request_limits: Mapping[str, float], refused: float = 0.0) -> SimulatedMeasures:
    """Measures of a run for objectives.

    Args:
        run: a simulation.
        request_limits: ms by `ttft`, `tpot` and `e2e` that a good request keeps; goodput counts those.
        refused: share of the requests that the engine refuses.
    """
    sent, first, end, prompt, output, _ = np.array(run.table).reshape(-1, 6).T
    seconds = run.virtual_seconds or float("nan")
    times = {
        "ttft": 1e3 * (first - sent),
        "tpot": 1e3 * np.where(output > 1, (end - first) / np.maximum(output - 1, 1), np.nan),
        "e2e": 1e3 * (end - sent),
    }
    found: dict[str, float | None] = {"error_rate": refused, "completed_rps": sent.size / seconds}
    found["output_tokens_per_second"] = float(output.sum()) / seconds
    found["total_tokens_per_second"] = float((output + prompt).sum()) / seconds
    gaps, weights = np.array(run.gaps).reshape(-1, 2).T if run.gaps else (np.array([]), np.array([]))
    for name, values in (*times.items(), ("itl", 1e3 * gaps)):
        kept = values[~np.isnan(values)]
        counts = weights if name == "itl" else None
        found[f"{name}_mean_ms"] = float(np.average(kept, weights=counts)) if kept.size else None
        method: Any = "linear" if counts is None else "inverted_cdf"
        for percentile in PERCENTILES:
            value = np.percentile(kept, percentile, weights=counts, method=method) if kept.size else None
            found[f"{name}_p{percentile}_ms"] = None if value is None else float(value)
    if request_limits:
        good = np.ones(sent.size, bool)
        for name, limit in request_limits.items():
            good &= ~(times[name] > limit)
        found["goodput"] = float(good.mean()) * (1 - refused) if sent.size else None
        found["goodput_rps"] = float(good.sum()) / seconds
    return SimulatedMeasures(int(sent.size), found)


def _spread(seconds: "np.ndarray[Any, np.dtype[np.float64]]") -> Spread:
    if not seconds.size:
        return Spread(float("nan"), float("nan"), float("nan"))
    p50, p99 = np.percentile(seconds, (50, 99))
    return Spread(1e3 * float(seconds.mean()), 1e3 * float(p50), 1e3 * float(p99))


def _weighted(gaps: "array[float]") -> Spread:
    if not gaps:
        return _spread(np.array([]))
    values, weights = np.array(gaps).reshape(-1, 2).T
    p50, p99 = np.percentile(values, (50, 99), weights=weights, method="inverted_cdf")
    return Spread(1e3 * float(np.average(values, weights=weights)), 1e3 * float(p50), 1e3 * float(p99))


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, float) and value != value:  # noqa: PLR0124 (not a number)
        return None
    return round(value, 6) if isinstance(value, float) else value
