"""A load plan as JSON, for workers in other processes and on other machines. The API key never goes in."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from drydock.loadtest.settings import (
    Arrival,
    Closed,
    Constant,
    Gamma,
    Lengths,
    LoadPlan,
    Poisson,
    Ramp,
    Secret,
    Stage,
    Target,
    Trace,
    Workload,
)

KEY_VARIABLE = "DRYDOCK_LOADTEST_API_KEY"
"""Environment variable in which workers find the API key."""

_ARRIVALS: dict[str, type[Arrival]] = {
    kind.__name__.lower(): kind for kind in (Closed, Constant, Poisson, Gamma, Ramp, Trace)
}


def plan_facts(plan: LoadPlan) -> dict[str, Any]:
    """As objects that JSON has."""
    dataset = plan.workload.dataset
    target = {name: getattr(plan.target, name) for name in Target.__dataclass_fields__ if name != "api_key"}
    return {
        "target": {**target, "extra_body": dict(plan.target.extra_body)},
        "workload": {**asdict(plan.workload), "dataset": str(dataset.absolute()) if dataset else None},
        "stage": stage_facts(plan.stage),
        "processes": plan.processes,
        "seed": plan.seed,
    }


def plan_from(facts: Mapping[str, Any], api_key: Secret | None) -> LoadPlan:
    """What `plan_facts` told, with the key put back."""
    target, workload = dict(facts["target"]), dict(facts["workload"])
    target["loras"] = tuple(target["loras"])
    workload["input"] = Lengths(**workload["input"])
    workload["output"] = Lengths(**workload["output"]) if workload["output"] else None
    workload["dataset"] = Path(workload["dataset"]) if workload["dataset"] else None
    return LoadPlan(
        target=Target(**target, api_key=api_key),
        workload=Workload(**workload),
        stage=stage_from(facts["stage"]),
        processes=facts["processes"],
        seed=facts["seed"],
    )


def stage_facts(stage: Stage) -> dict[str, Any]:
    """As objects that JSON has."""
    return {**asdict(stage), "arrival": {"kind": type(stage.arrival).__name__.lower(), **asdict(stage.arrival)}}


def stage_from(facts: Mapping[str, Any]) -> Stage:
    """What `stage_facts` told."""
    arrival = dict(facts["arrival"])
    kind = _ARRIVALS[arrival.pop("kind")]
    if "times" in arrival:
        arrival["times"] = tuple(arrival["times"])
    return Stage(**{**facts, "arrival": kind(**arrival)})
