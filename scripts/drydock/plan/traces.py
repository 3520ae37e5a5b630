"""A day's traffic: requests a second over time, from a preset or the user's CSV."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

from drydock.errors import UsageError

DAY = 86400.0
_HOUR = 3600.0
_FORM = "write a header `seconds,rate` (or `hour,rate`) and a line for each moment, in order"


@dataclass(frozen=True)
class DayTrace:
    """Requests a second at moments (s from midnight, in order); between two, and over midnight, on a line."""

    name: str
    seconds: tuple[float, ...]
    rates: tuple[float, ...]

    @property
    def peak(self) -> float:
        """The highest rate."""
        return max(self.rates)

    def scaled(self, peak: float) -> "DayTrace":
        """The same day with another highest rate."""
        return DayTrace(self.name, self.seconds, tuple(rate * peak / self.peak for rate in self.rates))

    def sampled(self, step: float) -> Sequence[float]:
        """Rates at the middle of each step of the day."""
        import numpy as np

        times = np.arange(step / 2, DAY, step)
        return [float(rate) for rate in np.interp(times, self.seconds, self.rates, period=DAY)]


@cache
def trace_presets() -> dict[str, dict[str, Any]]:
    """The carried days by name."""
    import yaml

    loaded: dict[str, dict[str, Any]] = yaml.safe_load((files("drydock") / "data/traces.yaml").read_text())
    return loaded


def load_trace(name: str, peak: float | None) -> DayTrace:
    """A preset at a highest rate, or a CSV file, whose rates are scaled where one is given.

    Raises:
        UsageError: there is none of that name, the file has another form, or a preset lacks its highest rate.
    """
    if name in trace_presets():
        if peak is None:
            raise UsageError(
                f"the trace {name!r} has no rates of its own", remedy="Give its peak, in requests/s, with --rate."
            )
        hourly = trace_presets()[name]["hourly"]
        moments = tuple((hour + 0.5) * _HOUR for hour in range(len(hourly)))
        return DayTrace(name, moments, tuple(peak * share for share in hourly))
    read = _read(Path(name))
    return read if peak is None else read.scaled(peak)


def _read(file: Path) -> DayTrace:
    try:
        rows = list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        known = ", ".join(trace_presets())
        raise UsageError(
            f"cannot read the trace {file}: {error}", remedy=f"Name a CSV file, or one of {known}."
        ) from error
    if not rows or "rate" not in rows[0] or not {"seconds", "hour"} & rows[0].keys():
        raise UsageError(f"the trace {file} has no columns `seconds` and `rate`", remedy=_FORM)
    unit, column = (1.0, "seconds") if "seconds" in rows[0] else (_HOUR, "hour")
    try:
        moments = tuple(float(row[column]) * unit for row in rows)
        rates = tuple(float(row["rate"]) for row in rows)
    except (TypeError, ValueError) as error:
        raise UsageError(f"the trace {file}: {error}", remedy=_FORM) from error
    ordered = all(earlier < later for earlier, later in pairwise(moments))
    if not ordered or moments[0] < 0 or moments[-1] > DAY:
        raise UsageError(f"the moments of the trace {file} are not in order, or not within one day", remedy=_FORM)
    if min(rates) < 0 or not 0 < max(rates) < float("inf"):
        raise UsageError(f"the rates of the trace {file} must be 0 or more, and one above 0", remedy=_FORM)
    return DayTrace(file.name, moments, rates)
