"""Load tests of one replica, in place of simulated figures."""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from drydock.errors import UsageError
from drydock.plan.estimate import Estimate, keeps_up
from drydock.simulator.measurements import check_valid
from drydock.suite.objectives import MOST

if TYPE_CHECKING:
    from drydock.loadtest.records import Run

_RATES = ("achieved_offered_req_s", "achieved_rps", "rate", "requested_rps", "offered_rps")
_COMPLETED = ("req_s", "completed_rps")
_OUTPUT_RATES = ("output_tok_s", "output_tokens_per_second")
_INPUTS = ("input_tokens_per_req", "prompt_tokens_mean", "input_tokens")
_OUTPUTS = ("output_tokens_per_req", "output_tokens_mean", "output_tokens")
_FORMS = "give the DIR of `drydock loadtest -o`, one of the runs in it, or a CSV with a line for each rate"


def read_measurements(path: Path, objectives: Mapping[str, float]) -> list[Estimate]:
    """What one replica did at each rate, from a load test's folder (or its loadtest.json, or one run), or a CSV file.

    Raises:
        UsageError: it holds none, or lacks a measure that an objective names.
    """
    from drydock.loadtest.outputs import RESULT_FILE

    folder = path.parent if path.name == RESULT_FILE else path
    found = _runs(folder) if folder.is_dir() else _table(path)
    for estimate in found:
        missing = [name for name in objectives if name not in estimate.measures]
        if missing:
            raise UsageError(
                f"{path} has no {', '.join(missing)}",
                remedy=f"It has {', '.join(sorted(estimate.measures)) or 'no measures'}: set objectives of these.",
            )
    return found


def cautions(path: Path, found: Sequence[Estimate], objectives: Mapping[str, float], workload: str) -> list[str]:
    """What a plan that rests on these measurements must say of them."""
    from drydock.loadtest.outputs import RESULT_FILE, read_result

    told = []
    highest = max(found, key=lambda each: each.rate)
    if not highest.missed(objectives):
        told.append(
            f"The load test never missed an objective: a replica may carry more than {highest.rate:.3g}/s, the highest "
            "rate that was measured; `drydock loadtest --find-limit` finds it."
        )
    folder = path.parent if path.name == RESULT_FILE else path
    if (folder / RESULT_FILE).is_file():
        was = read_result(folder)["workload"]
        if was != workload:
            told.append(f"The load test sent another workload, {was}: its figures are not those of {workload}.")
    return told


def _runs(folder: Path) -> list[Estimate]:
    from drydock.loadtest.run_files import RUN_FILE, load_run

    folders = (
        [folder] if (folder / RUN_FILE).is_file() else sorted(path.parent for path in folder.glob(f"*/{RUN_FILE}"))
    )
    if not folders:
        raise UsageError(f"{folder} holds no run of a load test", remedy=_FORMS)
    return [_of_run(load_run(directory), directory) for directory in folders]


def _of_run(run: "Run", folder: Path) -> Estimate:
    """Requests that were due after the warm-up; times count from when they were due."""
    import numpy as np

    from drydock.loadtest.measures import measure

    if not run.complete or not run.health.valid:
        reasons = "; ".join((*run.notes, *run.health.reasons))
        raise UsageError(f"the run in {folder} does not count: {reasons}", remedy="Repeat it.")
    warm_up, duration = run.stage.warm_up_seconds, run.stage.duration_seconds
    records = run.records.select(run.records.intended >= warm_up)
    if not len(records):
        raise UsageError(f"the run in {folder} has no request after its warm-up", remedy="Let it run for longer.")
    good = records.select(records.ok)
    found = measure(run)
    # what is not known is no measure, and requests that failed are slower than all others
    measures = {"error_rate": found.values["error_rate"] or 0.0}
    for name, value in found.worst.items():
        if found.values[name] is not None:
            measures[name] = math.inf if value is None else value
    output = float(np.maximum(good.output_tokens, 0).sum())
    prompts = good.prompt_tokens[good.prompt_tokens > 0]
    return Estimate(
        rate=len(records) / duration,
        measures=measures,
        output_tokens_per_second=output / duration,
        total_tokens_per_second=(output + float(prompts.sum())) / duration,
        keeps_up=keeps_up(records.intended - warm_up, good.finished - warm_up, duration),
        origin=str(folder),
    )


def _table(file: Path) -> list[Estimate]:
    try:
        rows = list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"cannot read the load test {file}: {error}", remedy=_FORMS) from error
    found = []
    for number, row in enumerate(rows, 2):
        check_valid(f"{file}, line {number}", row)
        numbers = {
            name.replace("tpot_ms", "tpot_mean_ms"): value for name in row if (value := _number(row[name])) is not None
        }
        rate, completed = _first(numbers, _RATES), _first(numbers, _COMPLETED)
        if rate is None:
            raise UsageError(
                f"{file}, line {number}: no rate", remedy=f"One of the columns {', '.join(_RATES)} has it."
            )
        done = rate if completed is None else completed
        output = _first(numbers, _OUTPUT_RATES) or done * (_first(numbers, _OUTPUTS) or 0.0)
        total = output + done * (_first(numbers, _INPUTS) or 0.0)
        measures = {name: value for name, value in numbers.items() if name in MOST}
        # what is under way when the sending ends is not done, as in drydock.loadtest.sweep.is_saturated
        chance = 2 * math.sqrt(rate / numbers["duration"]) if numbers.get("duration") else 0.0
        found.append(Estimate(rate, measures, output, total, done >= 0.95 * rate - chance, str(file)))
    if not found:
        raise UsageError(f"{file} holds no line of a load test", remedy=_FORMS)
    return found


def _first(numbers: Mapping[str, float], names: Sequence[str]) -> float | None:
    return next((numbers[name] for name in names if name in numbers), None)


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
