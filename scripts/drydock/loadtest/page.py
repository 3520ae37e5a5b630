"""A load test as one self-contained page: no script, nothing fetched, in the style of the rehearsal's report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from pathlib import Path
from typing import Any

import numpy as np

from drydock.loadtest.judgement import passed, verdict
from drydock.loadtest.measures import counted, times
from drydock.loadtest.records import Floats, Run
from drydock.report.html.kit import page_environment

WIDTH, HEIGHT = 900.0, 300.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 64.0, 130.0, 12.0, 40.0
_TEMPLATES = Path(__file__).parent / "templates"
_MOST_POINTS = 300
_TICKS = 5


@dataclass(frozen=True)
class Series:
    """One line: its name and its points."""

    name: str
    across: Sequence[float]
    up: Sequence[float]


@dataclass(frozen=True)
class Tick:
    """A mark on an axis, in units of the picture."""

    at: float
    label: str


class Chart:
    """Lines over one pair of linear axes that begin at zero."""

    width, height, left, top = WIDTH, HEIGHT, _LEFT, _TOP
    right, bottom = WIDTH - _RIGHT, HEIGHT - _BOTTOM

    def __init__(self, title: str, across: str, up: str, series: Sequence[Series]) -> None:
        self.title, self.across_label, self.up_label = title, across, up
        shown = [curve for curve in series if len(curve.across)]
        self.empty = not shown
        if self.empty:
            return
        self._wide = max(max(choice.across) for choice in shown) or 1.0
        self._high = max(max(choice.up) for choice in shown) or 1.0
        self.lines = [(choice.name, self._points(choice), self._y(choice.up[-1])) for choice in shown]
        self.across_ticks = [Tick(self._x(value), f"{value:g}") for value in ticks(self._wide)]
        self.up_ticks = [Tick(self._y(value), f"{value:g}") for value in ticks(self._high)]

    def _points(self, series: Series) -> str:
        step = max(1, len(series.across) // _MOST_POINTS)
        pairs = list(zip(series.across, series.up, strict=True))
        kept = pairs[::step] if pairs[::step][-1] == pairs[-1] else [*pairs[::step], pairs[-1]]
        return " ".join(f"{self._x(x):.1f},{self._y(y):.1f}" for x, y in kept)

    def _x(self, value: float) -> float:
        return _LEFT + value / self._wide * (self.right - _LEFT)

    def _y(self, value: float) -> float:
        return self.bottom - value / self._high * (self.bottom - _TOP)


def ticks(highest: float) -> list[float]:
    """Round values from zero to a highest one, some five of them."""
    rough = highest / _TICKS
    decade = 10.0 ** floor(log10(rough))
    step = next(factor * decade for factor in (1, 2, 5, 10) if factor * decade >= rough)
    return [round(number * step, 12) for number in range(ceil(highest / step + 1e-9)) if number * step <= highest]


def render_page(document: Mapping[str, Any], runs: Sequence[Run]) -> str:
    """The page of a load test's result.

    Args:
        document: as `loadtest.json` has it.
        runs: of its loads and repetitions, in the same order.
    """
    pictures = [*_against_rate(document), *_distributions(document, runs), *_timeline(document, runs)]
    template = page_environment(_TEMPLATES).get_template("loadtest.html.j2")
    return template.render(
        document=document,
        charts=[picture for picture in pictures if not picture.empty],
        verdict=verdict(document),
        passed=passed(document),
    )


def _against_rate(document: Mapping[str, Any]) -> list[Chart]:
    loads = [run for run in document["runs"] if run["load"]["rate"] is not None]
    if len({load["load"]["rate"] for load in loads}) < 2:  # noqa: PLR2004 (one point is no line)
        return []
    loads = sorted(loads, key=lambda each: float(each["load"]["rate"]))

    def line(name: str, measure: str) -> Series:
        points = [(load["load"]["rate"], load["values"][measure]) for load in loads if load["values"][measure]]
        return Series(name, [x for x, _ in points], [y for _, y in points])

    first = [line(f"TTFT {part}", f"ttft_{part}_ms") for part in ("p50", "p95", "p99")]
    token = [line(f"TPOT {part}", f"tpot_{part}_ms") for part in ("p50", "p95", "p99")]
    rates = [line("completed", "completed_rps")]
    across = "conversations a second, offered"
    return [
        Chart("Time to first token against rate", across, "ms", first),
        Chart("Time per output token against rate", across, "ms", token),
        Chart("Completed against offered", across, "requests a second", rates),
    ]


def _distributions(document: Mapping[str, Any], runs: Sequence[Run]) -> list[Chart]:
    charts = []
    for name, title in (("ttft", "Time to first token"), ("tpot", "Time per output token"), ("e2e", "End to end")):
        series = []
        for run, facts in zip(runs, document["runs"], strict=True):
            rows = counted(run)
            series.append(_cdf(facts["load"]["name"], times(rows.select(rows.ok))[name]))
        charts.append(Chart(f"{title}: share of requests", "ms", "share", series))
    return charts


def _cdf(name: str, values: Floats) -> Series:
    ordered = np.sort(values[np.isfinite(values)])
    shares = np.arange(1, ordered.size + 1) / max(ordered.size, 1)
    return Series(name, ordered.tolist(), shares.tolist())


def _timeline(document: Mapping[str, Any], runs: Sequence[Run]) -> list[Chart]:
    """The last run: what the client saw, and below it the server's metrics at the same time."""
    run, facts = runs[-1], document["runs"][-1]
    title = f"Over time, {facts['load']['name']}"
    rows = run.records.select(run.records.ok)
    order = np.argsort(rows.intended)
    ttft = times(rows)["ttft"][order]
    seconds = rows.intended[order]
    finite = np.isfinite(ttft)
    client = Series("TTFT", seconds[finite].tolist(), ttft[finite].tolist())
    charts = [Chart(f"{title}: time to first token of each request", "s, due", "ms", [client])]
    server = facts.get("server") or {}
    series = server.get("series", {})
    across = series.get("seconds", [])
    queue = [Series(name, across, series[name]) for name in ("running", "waiting") if name in series]
    cache = [Series("KV cache", across, series["kv_cache_usage"])] if "kv_cache_usage" in series else []
    charts.append(Chart(f"{title}: requests in the server", "s", "requests", queue))
    charts.append(Chart(f"{title}: share of the KV cache in use", "s", "share", cache))
    return charts
