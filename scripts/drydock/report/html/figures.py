"""The geometry of the page's pictures, in percent of their width; the templates draw it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

from drydock.report.model import NodeReport, PodReport, RehearsalReport, StepReport
from drydock.report.summary import (
    Blocked,
    PoolCost,
    accelerator_totals,
    blocked_pods,
    is_large,
    node_groups,
    ordered_nodes,
    pod_groups,
    pool_costs,
    ready_pods,
    seconds_text,
    shown_nodes,
    shown_pods,
)

NODE_COLOURS = 8
"""Colours of the style sheet; the ninth node has the first one's again, and its name."""

CELLS_IN_A_ROW = 8
MOST_CELLS = 64
"""More devices than this (time-slicing) are drawn as one bar."""

_TICK_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600)
_MOST_TICKS = 7


@dataclass(frozen=True)
class Tick:
    """A mark of a time axis."""

    left: float
    label: str


@dataclass(frozen=True)
class Axis:
    """A time axis from 0 to `horizon` seconds, with a margin for what is written at its end."""

    horizon: float

    def at(self, seconds: float) -> float:
        """Where a moment lies, in percent."""
        return 100 * seconds / (self.horizon * 1.03)

    @property
    def ticks(self) -> tuple[Tick, ...]:
        """Marks at round times."""
        step = next(
            (tick_step for tick_step in _TICK_STEPS if self.horizon / tick_step <= _MOST_TICKS),
            self.horizon / _MOST_TICKS,
        )
        count = int(self.horizon // step) + 1
        return tuple(Tick(self.at(step * index), f"{step * index:g} s") for index in range(count))


@dataclass(frozen=True)
class Bar:
    """A stretch of a row; `kind` is its class in the style sheet."""

    kind: str
    left: float
    width: float


@dataclass(frozen=True)
class PodRow:
    """A pod's row in the timeline: what happened when, as bars and as a sentence."""

    pod: PodReport
    colour: int | None
    bars: tuple[Bar, ...]
    ready: float | None
    story: str


@dataclass(frozen=True)
class StepRow:
    """A step's row in the picture of the main job."""

    step: StepReport
    bar: Bar


@dataclass(frozen=True)
class Meter:
    """How much of something is used."""

    name: str
    used: float
    available: float
    unit: str

    @property
    def percent(self) -> float:
        """Of what is there, at most all of it."""
        return min(100 * self.used / self.available, 100) if self.available else 0


@dataclass(frozen=True)
class Cell:
    """One device: `kind` says whether it is used, alternating between neighbouring pods; `holder` names the pod."""

    kind: str
    left: float
    width: float
    holder: str


@dataclass(frozen=True)
class Devices:
    """The devices of one extended resource on a node; no cells when there are too many to draw."""

    meter: Meter
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class NodeCard:
    """What one node holds."""

    node: NodeReport
    colour: int
    devices: tuple[Devices, ...]
    meters: tuple[Meter, ...]
    pods: tuple[tuple[str, dict[str, int]], ...]


class Page:
    """Everything on the page that is not in the report as it is."""

    def __init__(self, report: RehearsalReport) -> None:
        self._report = report
        self.large = is_large(report)
        self.pods = shown_pods(report)
        self.pod_groups, self.node_groups = (pod_groups(report), node_groups(report)) if self.large else ((), ())
        self.ready_pods = ready_pods(report)
        self.accelerators = accelerator_totals(report)
        self.blocked: tuple[Blocked, ...] = blocked_pods(report)
        self.pools: tuple[PoolCost, ...] = pool_costs(report)

    @cached_property
    def colours(self) -> Mapping[str, int]:
        """A colour for each node."""
        return {node.name: index % NODE_COLOURS for index, node in enumerate(ordered_nodes(self._report))}

    @cached_property
    def axis(self) -> Axis:
        """Time since the install began, up to the last thing that happened or to the verdict over what never did."""
        times = chain.from_iterable(
            (pod.created_seconds, pod.scheduled_seconds, pod.ready_seconds) for pod in self._report.pods
        )
        horizon = max([time for time in times if time is not None], default=0)
        if self.blocked and self._report.install_began_seconds is not None:
            horizon = max(horizon, self._report.seconds - self._report.install_began_seconds)
        return Axis(max(horizon, 1))

    @property
    def timeline(self) -> tuple[PodRow, ...]:
        """Every pod that is shown, from created to ready."""
        return tuple(self._pod_row(pod) for pod in self.pods)

    @property
    def steps_axis(self) -> Axis:
        """Time since the command."""
        ends = [step.start_seconds + step.seconds for step in self._report.steps]
        return Axis(max([*ends, self._report.seconds, 1]))

    @property
    def steps(self) -> tuple[StepRow, ...]:
        """The main job's steps in the order in which they began."""
        axis = self.steps_axis
        ordered = sorted(self._report.steps, key=lambda step: (step.start_seconds, step.start_seconds + step.seconds))
        return tuple(StepRow(step, Bar("step", axis.at(step.start_seconds), axis.at(step.seconds))) for step in ordered)

    @property
    def nodes(self) -> tuple[NodeCard, ...]:
        """What each node that is shown holds."""
        requests = {pod.name: pod.accelerators for pod in self._report.pods}
        return tuple(self._card(node, requests) for node in shown_nodes(self._report))

    def _pod_row(self, pod: PodReport) -> PodRow:
        axis = self.axis
        begun, scheduled, ready = pod.created_seconds, pod.scheduled_seconds, pod.ready_seconds
        bars = []
        if scheduled is None:
            bars.append(_bar(axis, "stuck", begun, axis.horizon))
        else:
            bars.append(_bar(axis, "waiting", begun, scheduled))
            kind = "stuck" if ready is None else "starting"
            bars.append(_bar(axis, kind, scheduled, axis.horizon if ready is None else ready))
        if ready is not None:
            bars.append(_bar(axis, "running", ready, axis.horizon))
        moments = {"created": begun, "scheduled": scheduled, "ready": ready}
        reached = [f"{name} after {seconds_text(moment)}" for name, moment in moments.items() if moment is not None]
        story = ", ".join(reached) + ("" if pod.phase == "Ready" else f", {pod.phase}")
        return PodRow(pod, self.colours.get(pod.node), tuple(bars), None if ready is None else axis.at(ready), story)

    def _card(self, node: NodeReport, requests: Mapping[str, dict[str, int]]) -> NodeCard:
        held = tuple((name, requests.get(name, {})) for name in node.pods)
        return NodeCard(
            node,
            self.colours[node.name],
            tuple(_devices(resource, *node.accelerators[resource], held) for resource in sorted(node.accelerators)),
            (Meter("CPU", *node.cpu, "cores"), Meter("Memory", *node.memory, "GiB")),
            held,
        )


def _bar(axis: Axis, kind: str, begin: float, end: float) -> Bar:
    return Bar(kind, axis.at(begin), axis.at(max(end - begin, 0)))


def _devices(resource: str, used: int, available: int, held: tuple[tuple[str, dict[str, int]], ...]) -> Devices:
    meter = Meter(resource, used, available, "")
    if available > MOST_CELLS:
        return Devices(meter, ())
    holders = [name for name, requests in held for _ in range(requests.get(resource, 0))]
    holders = [*holders, *[""] * used][:used]
    shades = {name: index % 2 for index, name in enumerate(dict.fromkeys(holders))}
    width = 100 / max(available, CELLS_IN_A_ROW)
    cells = [Cell(f"used{shades[name]}", width * index, width * 0.86, name) for index, name in enumerate(holders)]
    cells += [Cell("free", width * index, width * 0.86, "") for index in range(used, available)]
    return Devices(meter, tuple(cells))
