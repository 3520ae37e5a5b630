"""One replica at every rate up to the highest that it keeps up with: simulated at some, interpolated between them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from drydock.plan.estimate import Estimate, observed
from drydock.plan.sizing import Task

if TYPE_CHECKING:
    from collections.abc import Sequence

_SHARES = (0.02, 0.1, 0.25, 0.4, 0.55, 0.7, 0.8, 0.87, 0.93, 0.97)
_HIGHEST = 2000.0


@dataclass(frozen=True)
class Level:
    """One replica at one rate: its times, and means over time of what autoscalers look at.

    Attributes:
        waiting, running: requests.
        kv_usage: share of the KV cache's blocks that are taken.
    """

    estimate: Estimate
    waiting: float
    running: float
    kv_usage: float


@dataclass(frozen=True)
class Surface:
    """Levels by rising rate; the last is at the highest rate that a replica keeps up with."""

    levels: "Sequence[Level]"

    @property
    def capacity(self) -> float:
        """Requests a second."""
        return self.levels[-1].estimate.rate

    def measure(self, name: str, rate: float) -> float:
        """A measure, ms, at a rate."""
        return self._between(rate, [level.estimate.measures[name] for level in self.levels])

    def waiting(self, rate: float) -> float:
        """Requests in the engine's queue."""
        return self._between(rate, [level.waiting for level in self.levels], zero=0.0)

    def running(self, rate: float) -> float:
        """Requests in the batch."""
        return self._between(rate, [level.running for level in self.levels], zero=0.0)

    def kv_usage(self, rate: float) -> float:
        """Share of the KV cache."""
        return self._between(rate, [level.kv_usage for level in self.levels], zero=0.0)

    def _between(self, rate: float, values: "Sequence[float]", zero: float | None = None) -> float:
        import numpy as np

        rates = [level.estimate.rate for level in self.levels]
        if zero is not None:
            rates, values = [0.0, *rates], [zero, *values]
        return float(np.interp(rate, rates, values))


def surface(task: Task) -> Surface:
    """Find the capacity by halving, then simulate shares of it."""

    def level(rate: float) -> Level:
        return Level(*observed(task.gpu, task.model, task.args, task.demand.workload, rate, seed=task.seed))

    low, high = 0.0, 1.0
    while high < _HIGHEST and level(high).estimate.keeps_up:
        low, high = high, high * 2
    while high - low > 0.02 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if level(middle).estimate.keeps_up else (low, middle)
    highest = low or high
    return Surface([level(share * highest) for share in (*_SHARES, 1.0)])
