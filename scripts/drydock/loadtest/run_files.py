"""A run in a folder: `run.json` describes it, `records.npz` holds its rows."""

import json
from pathlib import Path
from typing import Any

from drydock.errors import UsageError
from drydock.loadtest.plan_file import stage_facts, stage_from
from drydock.loadtest.records import GeneratorHealth, Records, Run, WorkerHealth

RUN_FILE = "run.json"
RECORDS_FILE = "records.npz"


def save_run(run: Run, folder: Path) -> None:
    """Write both files; `run.json` last, so that where it is, all is."""
    folder.mkdir(parents=True, exist_ok=True)
    run.records.save(folder / RECORDS_FILE)
    facts = {
        "stage": stage_facts(run.stage),
        "started_at": run.started_at,
        "complete": run.complete,
        "interrupted": run.interrupted,
        "notes": list(run.notes),
        "said": dict(run.said),
        "health": _without_nan(run.health.as_dict()),
    }
    (folder / RUN_FILE).write_text(json.dumps(facts, indent=2) + "\n")


def load_run(folder: Path) -> Run:
    """Read what `save_run` wrote.

    Raises:
        UsageError: the folder holds no run.
    """
    try:
        facts: dict[str, Any] = json.loads((folder / RUN_FILE).read_text())
        health = dict(facts["health"])
        health.pop("dropped")
        workers = tuple(WorkerHealth(**worker) for worker in health.pop("workers"))
        reasons = tuple(health.pop("reasons"))
        lags: dict[str, Any] = {
            name: float("nan") if value is None and "lag" in name else value for name, value in health.items()
        }
        return Run(
            records=Records.load(folder / RECORDS_FILE),
            health=GeneratorHealth(**lags, workers=workers, reasons=reasons),
            stage=stage_from(facts["stage"]),
            started_at=facts["started_at"],
            complete=facts["complete"],
            notes=tuple(facts["notes"]),
            said=dict(facts.get("said", {})),
            interrupted=bool(facts.get("interrupted")),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{folder} holds no run of a load test: {error}", remedy="Give a folder that `drydock loadtest -o` wrote."
        ) from error


def _without_nan(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: None if isinstance(value, float) and value != value else value for name, value in facts.items()}  # noqa: PLR0124
