"""An earlier load test to compare with."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drydock.errors import UsageError
from drydock.loadtest.outputs import read_result
from drydock.loadtest.plan_file import stage_facts
from drydock.loadtest.settings import LoadPlan
from drydock.suite.objectives import LEAST, MOST


@dataclass(frozen=True, slots=True)
class Baseline:
    """Measures of each of its runs, and in whole sentences how its load was another one."""

    runs: tuple[Mapping[str, float | None], ...]
    notes: tuple[str, ...]


def read_baseline(path: Path, plan: LoadPlan) -> Baseline:
    """What `drydock loadtest -o` wrote there, to be compared with a run of this plan.

    Raises:
        UsageError: it is no result, or one of a sweep, which has no repetitions of one load.
    """
    told = read_result(path)
    if told.get("sweep") is not None:
        raise UsageError(
            f"--baseline {path} is the result of a sweep", remedy="Give that of one load, with --repetitions."
        )
    runs = told.get("runs")
    if not isinstance(runs, list) or not runs or not all(map(_is_run, runs)):
        raise UsageError(f"--baseline {path} holds no measures of a load test", remedy="Give the DIR of -o.")
    return Baseline(tuple(run["values"] for run in runs), _differences(told, plan))


def _is_run(run: object) -> bool:
    values = run.get("values") if isinstance(run, dict) else None
    if not isinstance(values, dict) or (MOST | LEAST).isdisjoint(values):
        return False
    return all(
        value is None or (isinstance(value, int | float) and not isinstance(value, bool)) for value in values.values()
    )


def _differences(told: Mapping[str, Any], plan: LoadPlan) -> tuple[str, ...]:
    now = {"model": plan.target.model, "workload": plan.workload.name, "stage": stage_facts(plan.stage)}
    found = []
    for name, value in now.items():
        before = told.get(name, value)
        if before != json.loads(json.dumps(value)):
            shown = "" if name == "stage" else f": {before}, now {value}"
            found.append(f"the baseline had another {name}{shown}")
    return tuple(found)
