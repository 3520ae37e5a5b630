"""What autoscaling makes of a day, on the cheapest choice of a plan, beside pods that are always there."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from drydock.engines.catalogue import find_gpu
from drydock.errors import UsageError
from drydock.plan.autoscaling import Day, autoscaled, static
from drydock.plan.choices import Choice
from drydock.plan.planned_models import Target
from drydock.plan.scalers import Scaler, start_seconds
from drydock.plan.sizing import Demand, Task
from drydock.plan.surface import surface
from drydock.plan.traces import DayTrace
from drydock.scheduling.prices import CapacityType, Prices

_POINTS = 288
"""Moments of the day in JSON and in the picture: one in five minutes."""


@dataclass(frozen=True)
class Overrides:
    """What the user sets in place of what is rendered; None leaves it."""

    least: int | None = None
    most: int | None = None
    start_seconds: float | None = None

    def __post_init__(self) -> None:
        if self.least is not None and self.most is not None and self.least > self.most:
            raise UsageError(
                f"--min-replicas {self.least} is more than --max-replicas {self.most}", remedy="Change one of them."
            )


@dataclass(frozen=True)
class WhatIf:
    """A day on one instance type.

    Attributes:
        seconds: from the request for a pod to its readiness.
        told: where those come from.
        replicas: of the static day: as many as the peak needs.
        dollars: of a node and hour.
        rendered: the environment has this autoscaler; otherwise it is assumed.
    """

    trace: DayTrace
    instance_type: str
    scaler: Scaler
    seconds: float
    told: str
    replicas: int
    dollars: float
    scaled: Day
    static: Day
    rendered: bool = True

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "trace": self.trace.name,
            "instance_type": self.instance_type,
            "min_replicas": self.scaler.least,
            "max_replicas": self.scaler.most,
            "autoscaler_rendered": self.rendered,
            "start_seconds": round(self.seconds),
            "autoscaled": self._day(self.scaled),
            "static": {"replicas": self.replicas, **self._day(self.static)},
            "assumptions": self.assumptions,
        }

    def _day(self, day: Day) -> dict[str, Any]:
        return {
            "objectives_missed_share": round(day.missed_share, 6),
            "objectives_missed_minutes": round(day.missed_minutes, 2),
            "node_hours": round(day.node_hours, 3),
            "dollars": round(day.node_hours * self.dollars, 2),
            "most_pods": day.most_pods,
            "moments": [
                {
                    "seconds": moment.seconds,
                    "rate": round(moment.rate, 4),
                    "ready": moment.ready,
                    "missed": moment.missed,
                }
                for moment in thinned(day)
            ],
        }

    @property
    def sentences(self) -> list[str]:
        """Both days, in words."""
        own = "" if self.rendered else " of an autoscaler that is not there (the chart's defaults)"
        days = (
            (f"{self.scaler.least} to {self.scaler.most} replicas{own}", self.scaled),
            (f"{self.replicas} replica{'s' * (self.replicas != 1)} all day", self.static),
        )
        return [
            f"{self.trace.name} with {name} on {self.instance_type}: ${day.node_hours * self.dollars:,.2f} for the "
            f"day, {day.most_pods} pods at most, objectives missed for {day.missed_share:.2%} of the requests "
            f"({day.missed_minutes:.0f} minutes)."
            for name, day in days
        ]

    @property
    def assumptions(self) -> list[str]:
        """What the day rests on."""
        looks = ", ".join(f"{metric.look} {metric.target:g}" for metric in self.scaler.metrics)
        found = [
            f"A new pod takes {self.seconds:.0f} s: {self.told}.",
            f"Scaled by {looks}, every {self.scaler.period:.0f} s, down after {self.scaler.scale_down_seconds:.0f} s. "
            "A node is paid from the wish for its pod to the pod's end; every new pod needs a new node's time.",
        ]
        if self.scaler.ignored:
            found.append(f"Not simulated: {', '.join(self.scaler.ignored)}.")
        return found


def what_if(
    target: Target,
    choice: Choice,
    demand: Demand,
    trace: DayTrace,
    prices: Prices,
    capacity_type: CapacityType,
    overrides: Overrides,
) -> WhatIf:
    """A day of the trace with the target's autoscaler, or the chart's defaults, on a choice that has a price."""
    args = target.args.changed(tensor_parallel_size=choice.parallel)
    replica = surface(Task(find_gpu(choice.gpu), target.model, args, demand))
    replicas = choice.sizing.replicas
    scaler = target.scaler or Scaler(most=2 * replicas)
    scaler = replace(scaler, least=_given(overrides.least, scaler.least), most=_given(overrides.most, scaler.most))
    seconds, told = start_seconds(
        target.pod, target.container, target.model.weight_bytes(args.quantization, args.dtype)
    )
    if overrides.start_seconds is not None:
        seconds, told = overrides.start_seconds, "as given"
    objectives = demand.objectives
    return WhatIf(
        trace,
        choice.instance_type,
        scaler,
        seconds,
        told,
        replicas,
        prices.hourly(choice.instance_type, capacity_type) or 0.0,
        autoscaled(trace, replica, objectives, scaler, start_seconds=seconds, per_node=choice.per_node),
        static(trace, replica, objectives, replicas, per_node=choice.per_node),
        rendered=target.scaler is not None,
    )


def thinned(day: Day) -> Sequence[Any]:
    """Every so many moments; one in which objectives are missed stands for its neighbours."""
    step = max(1, len(day.moments) // _POINTS)
    groups = [day.moments[start : start + step] for start in range(0, len(day.moments), step)]
    return [replace(group[0], missed=any(moment.missed and moment.rate > 0 for moment in group)) for group in groups]


def _given(value: int | None, otherwise: int) -> int:
    return otherwise if value is None else value
