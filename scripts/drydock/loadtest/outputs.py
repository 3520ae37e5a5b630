"""A load test's results: one JSON, a line a load and a line a request as CSV, a page with pictures, and the runs."""

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from drydock.errors import UsageError
from drydock.loadtest.deliveries import Delivery, deliveries
from drydock.loadtest.loads import Measured
from drydock.loadtest.measures import Measures, times
from drydock.loadtest.records import UNKNOWN, Integers, Records, Run
from drydock.loadtest.run_files import save_run
from drydock.loadtest.settings import Closed, LoadPlan
from drydock.loadtest.statistics import Difference, intervals
from drydock.loadtest.sweep import Sweep
from drydock.simulator.measurements import LOADS_FILE

VERSION = 1
RESULT_FILE = "loadtest.json"
REQUESTS_FILE = "requests.csv"
PAGE_FILE = "report.html"


def result(
    plan: LoadPlan,
    loads: Sequence[Measured],
    *,
    searched: Sweep | None = None,
    compared: Sequence[Difference] | None = None,
    warnings: Sequence[str] = (),
) -> dict[str, Any]:
    """A load test for JSON (`data/loadtest.schema.json`); None stands for what was not measured."""
    from drydock.loadtest.plan_file import stage_facts

    spread = intervals([load.measures.values for load in loads]) if searched is None else {}
    return {
        "version": VERSION,
        "endpoint": plan.target.base_url,
        "model": plan.target.model,
        "workload": plan.workload.name,
        "stage": stage_facts(plan.stage),
        "complete": all(load.run.complete for load in loads),
        "interrupted": any(load.run.interrupted for load in loads),
        "valid": all(load.run.health.valid for load in loads),
        "notes": [*warnings, *_notes(loads)],
        "missed": _judged(loads, met=False),
        "met": _judged(loads, met=True),
        "runs": [load.as_dict() for load in loads],
        "confidence": {name: asdict(each) for name, each in spread.items()},
        "sweep": None
        if searched is None
        else {
            "highest_met": searched.highest_met,
            "lowest_missed": searched.lowest_missed,
            "saturation": searched.saturation,
        },
        "comparison": None if compared is None else [asdict(difference) for difference in compared],
    }


def _notes(loads: Sequence[Measured]) -> list[str]:
    """Why a run is not complete or does not count, and what its figures do not show; of several with its name."""
    told = [
        (load.name, note)
        for load in loads
        for note in (*load.run.notes, *load.run.health.reasons, *load.measures.notes)
    ]
    return [f"{name}: {note}" if len(loads) > 1 else note for name, note in told]


def _judged(loads: Sequence[Measured], *, met: bool) -> list[dict[str, Any]]:
    return [
        {"load": load.name, "name": one.name, "limit": one.limit, "value": one.value, "text": str(one)}
        for load in loads
        for one in load.judged
        if one.met is met
    ]


def write_results(folder: Path, told: dict[str, Any], loads: Sequence[Measured]) -> None:
    """Write all files; `loadtest.json` last, so that where it is, all is."""
    from drydock.loadtest.page import render_page

    runs = [load.run for load in loads]
    for number, run in enumerate(runs, 1):
        save_run(run, folder / f"run-{number}")
    _write_csv(folder / REQUESTS_FILE, [row for number, run in enumerate(runs, 1) for row in _requests(number, run)])
    _write_csv(folder / LOADS_FILE, [_load(load.run, load.measures) for load in loads])
    (folder / PAGE_FILE).write_text(render_page(told, runs))
    (folder / RESULT_FILE).write_text(json.dumps(told, indent=2, allow_nan=False) + "\n")


def read_result(path: Path) -> dict[str, Any]:
    """An earlier load test's `loadtest.json`, or the one in a folder.

    Raises:
        UsageError: it is not a result, or of another version.
    """
    file = path / RESULT_FILE if path.is_dir() else path
    try:
        told: dict[str, Any] = json.loads(file.read_text())
        version = told["version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{file} is no result of a load test: {error}", remedy="Give the DIR of -o.") from error
    if version != VERSION:
        raise UsageError(
            f"{file} is of version {version}; this Drydock reads version {VERSION}",
            remedy="Make the load test again, or compare with the Drydock that wrote it.",
        )
    return told


def _requests(number: int, run: Run) -> list[dict[str, object]]:
    records: Records = run.records
    found = times(records)
    came = deliveries(records).kinds
    ways = [str(Delivery(int(kind))) if ok else "" for kind, ok in zip(came, records.ok, strict=True)]
    return [
        {
            "run": number,
            "intended_s": round(float(records.intended[row]), 6),
            "sent_s": _told(records.sent[row]),
            "finished_s": _told(records.finished[row]),
            "warm_up": int(records.intended[row] < run.stage.warm_up_seconds),
            "outcome": records.label(row),
            "meaning": records.meaning(row),
            **{f"{name}_ms": _told(column[row]) for name, column in found.items()},
            "prompt_tokens": int(records.prompt_tokens[row]) if records.prompt_tokens[row] >= 0 else "",
            "output_tokens": int(records.output_tokens[row]) if records.output_tokens[row] >= 0 else "",
            "hidden_tokens": int(records.hidden_tokens[row]),
            "chunks": int(records.chunks[row]),
            "delivery": ways[row],
            "session": int(records.session[row]),
            "turn": int(records.turn[row]),
        }
        for row in range(len(records))
    ]


def _load(run: Run, measured: Measures) -> dict[str, object]:
    """One line as `drydock calibrate` reads it."""
    arrival, good = run.stage.arrival, run.records.select(run.records.ok)
    closed = isinstance(arrival, Closed)
    line: dict[str, object] = {
        "concurrency": arrival.concurrency if isinstance(arrival, Closed) else "",
        "rate": "" if closed else measured.values["sent_rps"],
        "input_tokens": _mean_told(good.prompt_tokens),
        "output_tokens": _mean_told(good.output_tokens),
        "requests": measured.ok,
        "duration": run.stage.duration_seconds,
        "valid": int(run.complete and run.health.valid),
    }
    return line | {name: "" if value is None else value for name, value in measured.values.items()}


def _mean_told(counts: Integers) -> float | str:
    told = counts[counts != UNKNOWN]
    return float(told.mean()) if told.size else ""


def _told(value: float) -> float | str:
    return round(float(value), 6) if np.isfinite(value) else ""


def _write_csv(file: Path, rows: Sequence[dict[str, object]]) -> None:
    with file.open("w", newline="") as stream:
        if rows:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
