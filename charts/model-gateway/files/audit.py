"""The audit log on stdout: one line of JSON for each request."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any


def write(entry: Mapping[str, Any]) -> None:
    """Write a line."""
    whole = {"log": "audit", "time": datetime.now(UTC).isoformat(timespec="milliseconds"), **entry}
    print(json.dumps(whole, default=str, ensure_ascii=False), flush=True)
