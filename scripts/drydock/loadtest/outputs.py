"""Writes a load test's results: one JSON, a line for each load and a line for each request as CSV, and the runs."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from drydock.loadtest.measures import Measures, times
from drydock.loadtest.objectives import Miss
from drydock.loadtest.records import Records, Run
from drydock.loadtest.results import save_run
from drydock.loadtest.settings import Closed, LoadPlan

VERSION = 1
RESULT_FILE = "loadtest.json"
REQUESTS_FILE = "requests.csv"
LOADS_FILE = "loads.csv"


def result(plan: LoadPlan, runs: Sequence[Run], measured: Sequence[Measures], missed: Sequence[Miss]) -> dict[str, Any]:
    """A load test for JSON (`data/loadtest.schema.json`); None stands for what was not measured."""
    from drydock.loadtest.plan_file import stage_facts

    return {
        "version": VERSION,
        "endpoint": plan.target.base_url,
        "model": plan.target.model,
        "workload": plan.workload.name,
        "stage": stage_facts(plan.stage),
        "complete": all(run.complete for run in runs),
        "valid": all(run.health.valid for run in runs),
        "notes": [note for run in runs for note in (*run.notes, *run.health.reasons)],
        "missed": [{"name": miss.name, "limit": miss.limit, "value": miss.value} for miss in missed],
        "runs": [
            {"started_at": run.started_at, "complete": run.complete, "valid": run.health.valid, **each.as_dict()}
            for run, each in zip(runs, measured, strict=True)
        ],
    }


def write_results(folder: Path, told: dict[str, Any], runs: Sequence[Run], measured: Sequence[Measures]) -> None:
    """Write all files; `loadtest.json` last, so that where it is, all is."""
    for number, run in enumerate(runs, 1):
        save_run(run, folder / f"run-{number}")
    _write_csv(folder / REQUESTS_FILE, [row for number, run in enumerate(runs, 1) for row in _requests(number, run)])
    _write_csv(folder / LOADS_FILE, [_load(run, each) for run, each in zip(runs, measured, strict=True)])
    (folder / RESULT_FILE).write_text(json.dumps(told, indent=2, allow_nan=False) + "\n")


def _requests(number: int, run: Run) -> list[dict[str, object]]:
    records: Records = run.records
    found = times(records)
    return [
        {
            "run": number,
            "intended_s": round(float(records.intended[row]), 6),
            "sent_s": _told(records.sent[row]),
            "finished_s": _told(records.finished[row]),
            "warm_up": int(records.intended[row] < run.stage.warm_up_seconds),
            "outcome": records.label(row),
            **{f"{name}_ms": _told(column[row]) for name, column in found.items()},
            "prompt_tokens": int(records.prompt_tokens[row]) if records.prompt_tokens[row] >= 0 else "",
            "output_tokens": int(records.output_tokens[row]) if records.output_tokens[row] >= 0 else "",
            "chunks": int(records.chunks[row]),
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
        "input_tokens": float(good.prompt_tokens.mean()) if len(good) else "",
        "output_tokens": float(good.output_tokens.mean()) if len(good) else "",
        "requests": measured.ok,
        "duration": run.stage.duration_seconds,
    }
    return line | {name: "" if value is None else value for name, value in measured.values.items()}


def _told(value: float) -> float | str:
    return round(float(value), 6) if np.isfinite(value) else ""


def _write_csv(file: Path, rows: Sequence[dict[str, object]]) -> None:
    with file.open("w", newline="") as stream:
        if rows:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
