"""How far repetitions agree, and whether a difference from an earlier load test is more than chance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95
SIGNIFICANCE = 0.05
LEAST_CHANGE = 0.07
"""Share below which a change is not reported: restarting a server moved its throughput by 1 to 7 % (measured)."""

_FEWEST_RUNS = 2
_HIGHER_IS_BETTER = ("_rps", "_tokens_per_second", "goodput", "chunks_per_token")


@dataclass(frozen=True, slots=True)
class Interval:
    """Mean of a measure over repetitions, and where the mean of many would be, at 95 % confidence."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Difference:
    """One measure beside an earlier load test's.

    Attributes:
        before, after: means over the repetitions.
        change: relative, 0.1 for 10 % more; None where it was 0 before and is no longer.
        p_value: of Welch's t-test over the repetitions; None where either side has one run only.
        verdict: `better`, `worse`, `same` or `unknown` (one run a side cannot distinguish chance from change).
    """

    name: str
    before: float
    after: float
    change: float | None
    p_value: float | None
    verdict: str


def intervals(runs: Sequence[Mapping[str, float | None]]) -> dict[str, Interval]:
    """Student's t interval of each measure that every run has; nothing for a single run."""
    from scipy import stats

    found = {}
    for name, values in _common(runs).items():
        if len(values) >= _FEWEST_RUNS:
            mean = sum(values) / len(values)
            error = float(stats.sem(values))
            low, high = stats.t.interval(CONFIDENCE, len(values) - 1, loc=mean, scale=error) if error else (mean, mean)
            found[name] = Interval(mean, float(low), float(high))
    return found


def compare(
    before: Sequence[Mapping[str, float | None]], after: Sequence[Mapping[str, float | None]]
) -> tuple[Difference, ...]:
    """Every measure that both load tests have, by Welch's t-test over their repetitions.

    A difference counts only when it is significant at 5 % and larger than 7 %.
    """
    old, new = _common(before), _common(after)
    return tuple(_difference(name, old[name], new[name]) for name in old if name in new)


def _difference(name: str, before: Sequence[float], after: Sequence[float]) -> Difference:
    from scipy import stats

    one, other = sum(before) / len(before), sum(after) / len(after)
    change = (other - one) / one if one else (0.0 if other == one else None)
    repeated = min(len(before), len(after)) >= _FEWEST_RUNS
    p_value = None
    if repeated:
        spread = len({*before}) > 1 or len({*after}) > 1
        p_value = float(stats.ttest_ind(before, after, equal_var=False).pvalue) if spread else float(one == other)
    if (change is not None and abs(change) <= LEAST_CHANGE) or (p_value is not None and p_value > SIGNIFICANCE):
        verdict = "same"
    elif p_value is None:
        verdict = "unknown"
    else:
        better = (other > one) == name.endswith(_HIGHER_IS_BETTER)
        verdict = "better" if better else "worse"
    return Difference(name, one, other, change, p_value, verdict)


def _common(runs: Sequence[Mapping[str, float | None]]) -> dict[str, list[float]]:
    names = [name for name in (runs[0] if runs else {}) if all(run.get(name) is not None for run in runs)]
    return {name: [float(run[name] or 0.0) for run in runs] for name in names}
