"""A plan as one self-contained page: no script, nothing fetched, with the style sheet of the rehearsal's report."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, inf, isnan, log10
from pathlib import Path

from drydock.plan.choices import Choice
from drydock.plan.plan_tables import memory_row, weights_gib
from drydock.plan.planner import Plan
from drydock.plan.what_if import WhatIf, thinned
from drydock.report.html.kit import page_environment

WIDTH, HEIGHT = 900.0, 360.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 64.0, 150.0, 16.0, 40.0
_TEMPLATES = Path(__file__).parent / "templates"
_COLOURS = 8


@dataclass(frozen=True)
class Mark:
    """A tick of an axis, or a point with its words."""

    x: float
    y: float
    label: str
    colour: int = 0
    best: bool = False
    story: str = ""


class Scale:
    """A logarithmic axis over whole decades' parts, from a lowest to a highest value."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        self._low, self._high = log10(min(values)) - 0.05, log10(max(values)) + 0.05
        self._start, self._end = start, end

    def at(self, value: float) -> float:
        """Where a value lies."""
        share = (log10(value) - self._low) / (self._high - self._low)
        return self._start + share * (self._end - self._start)

    @property
    def ticks(self) -> list[float]:
        """1, 2 and 5 of each decade that the axis covers."""
        decades = range(floor(self._low), ceil(self._high) + 1)
        candidates = (step * 10.0**decade for decade in decades for step in (1, 2, 5))
        return [candidate for candidate in candidates if self._low <= log10(candidate) <= self._high]


class Picture:
    """Dollars an hour to the right, time to first token upwards, both logarithmic; the frontier is a line."""

    def __init__(self, plan: Plan) -> None:
        kind = plan.capacity_type
        shown = [choice for choice in plan.choices if choice.cost(kind) < inf and _ttft(choice) < inf]
        self.empty = not shown
        if self.empty:
            return
        costs = [choice.cost(kind) for choice in shown]
        times = [_ttft(choice) for choice in shown]
        across, up = Scale(costs, _LEFT, WIDTH - _RIGHT), Scale(times, HEIGHT - _BOTTOM, _TOP)
        gpus = sorted({choice.gpu for choice in shown})
        best = {id(choice) for choice in plan.frontier}
        self.points = [
            Mark(
                across.at(choice.cost(kind)),
                up.at(_ttft(choice)),
                choice.instance_type,
                gpus.index(choice.gpu) % _COLOURS,
                id(choice) in best,
                f"{choice.sizing.replicas} replicas on {choice.nodes} x {choice.instance_type} ({choice.gpu}): "
                f"${choice.cost(kind):,.2f} an hour, TTFT p95 {_ttft(choice):,.0f} ms",
            )
            for choice in shown
        ]
        self.line = " ".join(f"{mark.x:.1f},{mark.y:.1f}" for mark in self.points if mark.best)
        self.across = [Mark(across.at(tick), HEIGHT - _BOTTOM, f"{tick:g} $") for tick in across.ticks]
        self.up = [Mark(_LEFT, up.at(tick), f"{tick:g} ms") for tick in up.ticks]
        self.left, self.right, self.top, self.bottom = _LEFT, WIDTH - _RIGHT, _TOP, HEIGHT - _BOTTOM
        self.width, self.height = WIDTH, HEIGHT
        self.legend = [(name, index % _COLOURS) for index, name in enumerate(gpus)]


class DayPicture:
    """A day: requests a second as an area, ready pods as steps, red below where objectives are missed."""

    def __init__(self, day: WhatIf) -> None:
        self.left, self.right, self.top, self.bottom = _LEFT, WIDTH - _RIGHT, _TOP, 220.0
        self.width, self.height = WIDTH, 260.0
        moments = thinned(day.scaled)
        most = max([*(moment.ready for moment in moments), day.replicas])
        step = (self.right - self.left) / len(moments)
        across = [self.left + index * step for index in range(len(moments) + 1)]
        rates = [self._up(moment.rate / day.trace.peak) for moment in moments]
        area = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(across, rates, strict=False))
        self.area = f"{self.left},{self.bottom} {area} {self.right},{self.bottom}"
        pods = [self._up(moment.ready / most) for moment in moments]
        corners = zip(across, across[1:], pods, strict=False)
        self.steps = " ".join(f"{start:.1f},{y:.1f} {end:.1f},{y:.1f}" for start, end, y in corners)
        self.always = self._up(day.replicas / most)
        self.misses = [x for x, each in zip(across, moments, strict=False) if each.missed]
        self.step = step
        self.hours = [
            Mark(self.left + (self.right - self.left) * hour / 24, self.bottom, f"{hour}:00")
            for hour in range(0, 25, 4)
        ]
        self.up = [
            Mark(self.left, self._up(count / most), str(count)) for count in range(0, most + 1, max(1, ceil(most / 6)))
        ]

    def _up(self, share: float) -> float:
        return self.bottom - share * (self.bottom - self.top)


def render_page(plans: Sequence[Plan]) -> str:
    """The page; the same plans always give the same text."""
    entries = [
        {
            "plan": plan,
            "picture": Picture(plan),
            "day": DayPicture(plan.day) if plan.day else None,
            "memory": [memory_row(plan.target, fit) for fit in plan.memory],
            "weights": weights_gib(plan.target),
        }
        for plan in plans
    ]
    return page_environment(_TEMPLATES).get_template("plan.html.j2").render(entries=entries)


def write_html(file: Path, plans: Sequence[Plan]) -> None:
    """Write the page."""
    file.write_text(render_page(plans), encoding="utf-8")


def _ttft(choice: Choice) -> float:
    estimate = choice.sizing.estimate
    value = estimate.measure("ttft_p95_ms") if estimate else inf
    return inf if isnan(value) else max(value, 1e-3)
