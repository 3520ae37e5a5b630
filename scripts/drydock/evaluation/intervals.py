"""What a sample says of a model: intervals that hold its true value in 95 of 100 evaluations, and a paired test."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, comb, floor, sqrt
from statistics import NormalDist, median

_Z = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class Estimate:
    """A measure with its 95 % confidence interval."""

    value: float
    low: float
    high: float


def share(right: int, total: int) -> Estimate:
    """A share of right answers, with Wilson's interval (Wilson 1927), which holds near 0 and 1 too."""
    value = right / total
    centre = (value + _Z**2 / (2 * total)) / (1 + _Z**2 / total)
    half = _Z / (1 + _Z**2 / total) * sqrt(value * (1 - value) / total + _Z**2 / (4 * total**2))
    return Estimate(value, min(value, max(0.0, centre - half)), max(value, min(1.0, centre + half)))


def middle(values: Sequence[float]) -> Estimate:
    """The median, with an interval between two of the values, whatever their distribution (Conover 1999, 3.2)."""
    ordered = sorted(values)
    half = _Z * sqrt(len(ordered)) / 2
    low = max(0, floor(len(ordered) / 2 - half) - 1)
    high = min(len(ordered) - 1, ceil(len(ordered) / 2 + half))
    return Estimate(median(ordered), ordered[low], ordered[high])


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, ceil(percent / 100 * len(ordered)) - 1)]


def difference(only_first: int, only_second: int, total: int) -> Estimate:
    """Share of the second minus that of the first, of the same questions (Agresti and Min 2005, adjusted Wald).

    Args:
        only_first: questions that the first alone answered right.
        only_second: those that the second alone did.
        total: all questions.
    """
    first, second, count = only_first + 0.5, only_second + 0.5, total + 2
    centre = (second - first) / count
    half = _Z * sqrt(first + second - (second - first) ** 2 / count) / count
    value = (only_second - only_first) / total
    return Estimate(value, max(-1.0, min(value, centre - half)), min(1.0, max(value, centre + half)))


def paired_p(only_first: int, only_second: int) -> float:
    """Probability of such a difference between equally good models: McNemar's test, exact, two-sided."""
    count = only_first + only_second
    tail = sum(comb(count, hits) for hits in range(min(only_first, only_second) + 1))
    return float(min(1.0, 2 * tail / 2**count))
