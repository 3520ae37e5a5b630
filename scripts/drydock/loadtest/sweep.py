"""Many loads of one endpoint: a list of rates, or a search for the highest one that meets the objectives."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt

from drydock.loadtest.loads import Measured

SATURATED_BELOW = 0.95
"""Completed by offered rate below which a server is taken for saturated: work piles up as long as the load lasts."""

_MOST_LOADS = 24
_GROWTH = 2.0


@dataclass(frozen=True, slots=True)
class Sweep:
    """Loads by rising rate.

    Attributes:
        highest_met: the highest rate of them that meets the objectives; None when none does.
        lowest_missed: the lowest that does not; None when all do.
        saturation: most conversations a second that ended, over all loads.
    """

    loads: tuple[Measured, ...]
    highest_met: float | None
    lowest_missed: float | None
    saturation: float


Offer = Callable[[float], Measured]


def sweep(rates: Sequence[float], offer: Offer) -> Sweep:
    """Offer each rate, from the lowest to the highest; an interrupted load ends it."""
    loads: list[Measured] = []
    for rate in sorted(rates):
        loads.append(offer(rate))
        if not loads[-1].run.complete:
            break
    return _summary(loads)


def find_limit(start: float, offer: Offer, *, precision: float = 0.05) -> Sweep:
    """Double the rate until a load misses, then halve the gap until it is within `precision` of the higher rate.

    When even `start` misses, rates are halved until one meets. At most 24 loads are offered.
    """
    loads: list[Measured] = []

    def tried(rate: float) -> bool:
        loads.append(offer(rate))
        return meets(loads[-1])

    def going() -> bool:
        return len(loads) < _MOST_LOADS and all(load.run.complete for load in loads)

    met, missed = 0.0, 0.0
    rate = start
    while going() and not (met and missed):
        if tried(rate):
            met, rate = rate, rate * _GROWTH
        else:
            missed, rate = rate, rate / _GROWTH
    while going() and missed - met > precision * missed:
        middle = (met + missed) / 2
        if tried(middle):
            met = middle
        else:
            missed = middle
    return _summary(loads)


def meets(load: Measured) -> bool:
    """Whether a load counts, is not saturated, and meets the objectives."""
    return load.counts and not is_saturated(load) and not load.missed


def is_saturated(load: Measured) -> bool:
    """Whether so many fewer ended than were sent that chance does not explain it (two standard deviations)."""
    sent, completed = (load.measures.values[name] or 0.0 for name in ("sent_rps", "completed_rps"))
    chance = 2 * sqrt(sent / load.run.stage.duration_seconds)
    return completed < SATURATED_BELOW * sent - chance


def _summary(loads: Sequence[Measured]) -> Sweep:
    ordered = tuple(sorted(loads, key=lambda load: load.rate or 0.0))
    met = [item.rate for item in ordered if item.rate is not None and meets(item)]
    missed = [item.rate for item in ordered if item.rate is not None and not meets(item)]
    completed = [item.measures.values["completed_rps"] or 0.0 for item in ordered]
    return Sweep(ordered, max(met, default=None), min(missed, default=None), max(completed, default=0.0))
