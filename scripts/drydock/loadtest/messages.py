"""What master and workers say to each other beside Locust's own messages."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from drydock.loadtest.records import Snapshot

BEGIN = "drydock-begin"
"""Master: the stage starts `at`, wall-clock seconds."""
INTERRUPT = "drydock-interrupt"
"""Master: give up what is under way and hand over the rows."""
PROGRESS = "drydock-progress"
"""Worker: counts so far."""
RECORDS = "drydock-records"
"""Worker: a part of its rows as the bytes of an .npz file; with the `last` its watch on itself."""
FAILED = "drydock-failed"
"""Worker: it cannot make its load, and why."""

SECONDS_BETWEEN_REPORTS = 0.5


def snapshot_facts(snapshot: Snapshot) -> dict[str, float | None]:
    """A snapshot for JSON, which has no NaN."""
    return {name: None if math.isnan(value) else value for name, value in asdict(snapshot).items()}


def snapshot_from(facts: Mapping[str, Any]) -> Snapshot:
    """What `snapshot_facts` returned."""
    known: dict[str, Any] = {name: math.nan if value is None else value for name, value in facts.items()}
    return Snapshot(**known)
