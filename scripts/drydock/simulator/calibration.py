"""Fit a profile to load-test results, and say how far it is off on results that it has not seen.

The simulator replays each measured point: same rate or concurrency, lengths, duration, limit of requests in flight and
engine arguments. The fit minimizes, by nonlinear least squares over the logarithms of the coefficients, the logarithms
of simulated over measured TPOT, output throughput, TTFT and ITL, each divided by the accuracy wanted of it, and holds
every coefficient near its starting value (roofline or an earlier profile) in as far as the data say nothing of it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, isfinite, log
from typing import TYPE_CHECKING, Any, TypeAlias

from drydock.errors import UsageError
from drydock.simulator.measurements import Point
from drydock.simulator.run_statistics import Summary, summarize
from drydock.simulator.simulation import simulate
from drydock.simulator.timing import NUMERIC, Coefficients

if TYPE_CHECKING:
    import numpy as np

UNCERTAINTY: Mapping[str, float] = {
    "base": 0.2,
    "mixed": 0.4,
    "weights": 0.04,
    "token": 0.1,
    "sequence": 0.8,
    "kv_read": 0.15,
    "attention": 0.3,
    "mixed_kv": 0.3,
    "launch_graph": 0.3,
    "launch_eager": 0.3,
    "power_cap": 0.1,
    "power_slope": 0.5,
    "request_cpu": 0.5,
    "request_latency": 2.0,
    "output_token_cpu": 0.3,
    "wake": 2.0,
}
"""What is fitted, each with the relative uncertainty of a first guess that the roofline or another profile gave.

What the processor does (launches, reading requests) differs from host to host, and the way to the client from one
load generator to the next: these are held least.
"""

_SEEDS = 3
_ENOUGH = 1500
"""Requests of one simulated open loop from which on another seed would hardly change its means."""
_GAIN = 1e-3
"""The solver stops where a round lowers its cost by less than this share: below is the noise of single runs."""
_STEP = 0.3
"""Uncertainties of a coefficient by which it is moved to see its effect: smaller moves see how single requests fall
into steps rather than the trend."""
Slopes: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"
"""Derivatives of a point's misses, one row each, by the coefficients, one column each."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One measure of one point: measured, simulated, and (simulated - measured) / measured."""

    label: str
    measure: str
    measured: float
    simulated: float
    saturated: bool

    @property
    def error(self) -> float:
        """Relative error."""
        return self.simulated / self.measured - 1


def replay(coefficients: Coefficients, point: Point, *, seed: int = 0) -> Summary:
    """Simulate a measured point."""
    workload = replace(point.workload, seed=seed)
    run = simulate(coefficients, point.limits, workload)
    return summarize(run, blocks=point.limits.blocks, rate=workload.rate, duration=workload.duration)


def simulated(coefficients: Coefficients, point: Point) -> dict[str, float]:
    """The measures of a point as simulated; short open loops are averaged over some seeds."""
    workload = point.workload
    short = workload.rate is not None and (workload.requests or workload.rate * workload.duration) < _ENOUGH
    seeds = _SEEDS if short and workload.arrival != "constant" else 1
    found = [_measures(replay(coefficients, point, seed=seed)) for seed in range(seeds)]
    return {name: sum(one[name] for one in found) / seeds for name in found[0]}


def _measures(summary: Summary) -> dict[str, float]:
    return {
        "tpot": summary.tpot_ms.mean,
        "ttft": summary.ttft_ms.p50,
        "ttft_mean": summary.ttft_ms.mean,
        "ttft_p99": summary.ttft_ms.p99,
        "itl": summary.itl_ms.p50,
        "e2e": summary.e2e_ms.mean,
        "completed": summary.completed_rps,
    }


def compare(coefficients: Coefficients, points: Sequence[Point]) -> list[Comparison]:
    """Every measure of every point."""
    found: list[Comparison] = []
    for point in points:
        result = simulated(coefficients, point)
        found += [
            Comparison(point.label, name, value, result[name], point.saturated)
            for name, value in point.measured.items()
            if isfinite(result[name])
        ]
    return found


def fit(
    points: Sequence[Point],
    start: Coefficients,
    *,
    free: Mapping[str, float] = UNCERTAINTY,
    evaluations: int = 12,
    slopes: Sequence[Slopes] | None = None,
) -> Coefficients:
    """Coefficients that bring the simulation of all points nearest to what was measured.

    Derivatives are taken by differences at the first guess and from there on brought up to date by what each round
    found (Broyden's update), which takes one simulation of the points a round.

    Args:
        points: measured loads.
        start: first guess.
        free: coefficients to fit, each with the relative uncertainty of its first guess.
        evaluations: rounds of the least-squares solver at most.
        slopes: of the points at the first guess, where they are known already.
    """
    import numpy as np
    from scipy.optimize import least_squares

    names = _names(start, free)
    slopes = slopes or starting_slopes(points, start, free=free)
    latest: list[Any] = [None, None]
    known = [np.zeros(len(names)), np.array([]), np.vstack([np.eye(len(names)), *slopes])]

    def residuals(steps: Any) -> Any:
        candidate = _moved(start, free, names, steps)
        latest[:] = steps.copy(), np.concatenate([steps, *(_misses(candidate, point) for point in points)])
        return latest[1]

    def derivatives(steps: Any) -> Any:
        before, missed, matrix = known
        now = latest[1] if np.array_equal(latest[0], steps) else residuals(steps)
        moved = steps - before
        if moved.any():
            matrix = matrix + np.outer(now - missed - matrix @ moved, moved) / (moved @ moved)
        known[:] = steps.copy(), now, matrix
        return matrix

    solution = least_squares(
        residuals, np.zeros(len(names)), derivatives, loss="soft_l1", ftol=_GAIN, max_nfev=evaluations
    )
    return _moved(start, free, names, solution.x)


def starting_slopes(
    points: Sequence[Point], start: Coefficients, *, free: Mapping[str, float] = UNCERTAINTY
) -> list[Slopes]:
    """How the misses of each point change with each coefficient, by one step of `_STEP` uncertainties up and down."""
    import numpy as np

    names = _names(start, free)
    steps = _STEP * np.eye(len(names))
    found: list[Slopes] = []
    for point in points:
        ahead, behind = (
            np.array([_misses(_moved(start, free, names, sign * step), point) for step in steps]) for sign in (1, -1)
        )
        found.append((ahead - behind).T / (2 * _STEP))
    return found


def _names(start: Coefficients, free: Mapping[str, float]) -> list[str]:
    unknown = set(free) - set(NUMERIC)
    if unknown:
        raise UsageError(
            f"no such coefficient: {', '.join(sorted(unknown))}", remedy=f"There are {', '.join(NUMERIC)}."
        )
    return [name for name in free if getattr(start, name) > 0]


def _misses(coefficients: Coefficients, point: Point) -> list[float]:
    """Logarithm of simulated over measured for each measure of a point, by the accuracy wanted of it."""
    result = simulated(coefficients, point)
    return [log(result[name] / point.measured[name]) / accuracy for name, accuracy in point.accuracies().items()]


def _moved(start: Coefficients, free: Mapping[str, float], names: Sequence[str], steps: Any) -> Coefficients:
    """The first guess moved by so many uncertainties of each coefficient."""
    values: dict[str, Any] = {
        name: getattr(start, name) * exp(float(step) * free[name]) for name, step in zip(names, steps, strict=True)
    }
    return replace(start, **values)


def cross_validate(
    points: Sequence[Point],
    start: Coefficients,
    *,
    free: Mapping[str, float] = UNCERTAINTY,
    folds: int = 5,
    evaluations: int = 12,
    slopes: Sequence[Slopes] | None = None,
) -> Iterator[tuple[Coefficients, list[Point]]]:
    """For each fold a fit to all other points, and the points that it has not seen."""
    folds = min(folds, len(points))
    slopes = slopes or starting_slopes(points, start, free=free)
    for fold in range(folds):
        seen = [index for index in range(len(points)) if index % folds != fold]
        chosen = fit(
            [points[index] for index in seen],
            start,
            free=free,
            evaluations=evaluations,
            slopes=[slopes[index] for index in seen],
        )
        yield chosen, [point for index, point in enumerate(points) if index % folds == fold]
