"""A load plan as JSON, for workers in other processes and on other machines. Secrets never go in."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from drydock.loadtest.dialects import dialect_from
from drydock.loadtest.secrets import Secret
from drydock.loadtest.settings import (
    Arrival,
    Closed,
    Constant,
    Gamma,
    Lengths,
    LoadPlan,
    Poisson,
    Ramp,
    Stage,
    Target,
    Trace,
    Workload,
)

KEY_VARIABLE = "DRYDOCK_LOADTEST_API_KEY"
"""Environment variable in which workers find the API key."""
SECRETS_VARIABLE = "DRYDOCK_LOADTEST_SECRETS"
"""The same for the secret values of headers and parameters: a list of JSON, in their order."""

_ARRIVALS: dict[str, type[Arrival]] = {
    kind.__name__.lower(): kind for kind in (Closed, Constant, Poisson, Gamma, Ramp, Trace)
}


def plan_facts(plan: LoadPlan) -> dict[str, Any]:
    """As objects that JSON has."""
    dataset = plan.workload.dataset
    names = Target.__dataclass_fields__.keys() - {"api_key", "dialect", "ca_file"}
    target = {name: getattr(plan.target, name) for name in Target.__dataclass_fields__ if name in names}
    ca_file = plan.target.ca_file
    return {
        "target": {
            **target,
            "dialect": plan.target.dialect.facts(),
            "ca_file": str(ca_file.absolute()) if ca_file else None,
        },
        "workload": {**asdict(plan.workload), "dataset": str(dataset.absolute()) if dataset else None},
        "stage": stage_facts(plan.stage),
        "processes": plan.processes,
        "seed": plan.seed,
    }


def plan_from(facts: Mapping[str, Any], api_key: Secret | None, secrets: Sequence[str] = ()) -> LoadPlan:
    """What `plan_facts` returned, with the key and the other secret values put back."""
    target, workload = dict(facts["target"]), dict(facts["workload"])
    target["loras"] = tuple(target["loras"])
    target["dialect"] = dialect_from(target["dialect"], secrets)
    target["ca_file"] = Path(target["ca_file"]) if target["ca_file"] else None
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
    """What `stage_facts` returned."""
    arrival = dict(facts["arrival"])
    kind = _ARRIVALS[arrival.pop("kind")]
    if "times" in arrival:
        arrival["times"] = tuple(arrival["times"])
    return Stage(**{**facts, "arrival": kind(**arrival)})
