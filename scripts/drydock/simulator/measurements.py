"""Measured loads, as load tests write them: a CSV file, one load a line."""

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf, nan
from pathlib import Path

from drydock.errors import UsageError
from drydock.simulator.requests import Limits
from drydock.simulator.workload import Workload

SATURATED = 0.95
"""An open loop of which the server completes less than this share of the offered rate is saturated."""

LOADS_FILE = "loads.csv"
"""In the folder of a load test's results: a line a load."""

_ENDLESS = 1e9
_COLUMNS: dict[str, tuple[str, ...]] = {
    "label": ("label", "stage"),
    "rate": ("achieved_offered_req_s", "requested_rps", "rate", "offered_rps"),
    "concurrency": ("concurrency_clients", "concurrency"),
    "duration": ("issue_window_s", "duration_seconds", "duration"),
    "input_tokens": ("input_tokens_per_req", "prompt_tokens_mean", "input_tokens"),
    "output_tokens": ("output_tokens_per_req", "output_tokens_mean", "output_tokens"),
    "requests": ("requests_completed", "count", "requests"),
    "completed": ("req_s", "completed_rps"),
    "tpot": ("tpot_mean_ms", "tpot_ms"),
    "ttft": ("ttft_p50_ms",),
    "ttft_mean": ("ttft_mean_ms",),
    "ttft_p99": ("ttft_p99_ms",),
    "itl": ("itl_p50_ms",),
    "e2e": ("e2e_mean_ms",),
    "arguments": ("args", "engine_args"),
}


LimitsOf = Callable[[str], Limits]
"""Limits of an engine started with these arguments."""


@dataclass(frozen=True, slots=True)
class Point:
    """One measured load.

    Attributes:
        label: its name in the file.
        workload: what was offered.
        limits: of the engine that was measured.
        measured: ms and requests a second by measure: `tpot` (mean), `ttft` (median), `ttft_p99`, `itl` (median),
            `e2e` (mean), `completed`.
    """

    label: str
    workload: Workload
    limits: Limits
    measured: Mapping[str, float]

    @property
    def saturated(self) -> bool:
        """Whether the server could not follow the offered rate."""
        rate = self.workload.rate
        return rate is not None and self.measured.get("completed", rate) < SATURATED * rate

    def accuracies(self) -> dict[str, float]:
        """How exactly each measure should be met, as the standard deviation of its relative error.

        The median TTFT of many clients that all start at once depends on the phase of their waves, and that of a
        saturated open loop on how long it has been saturated: both count for little.
        """
        crowd = (self.workload.concurrency or 0) > 8  # noqa: PLR2004
        ttft = 0.3 if crowd or self.saturated else 0.05
        wanted = {"tpot": 0.025, "completed": 0.025, "ttft": ttft, "itl": 0.08}
        if self.workload.rate is not None and not self.saturated:
            del wanted["completed"]
        if self.workload.output_tokens <= 1:
            # there is no time between tokens
            wanted = {name: accuracy for name, accuracy in wanted.items() if name not in ("tpot", "itl")}
            wanted["ttft"] = 0.03
        return {name: accuracy for name, accuracy in wanted.items() if self.measured.get(name)}


def read_points(
    path: Path, limits: Limits | LimitsOf, *, arrival: str = "poisson", max_in_flight: int | None = None
) -> list[Point]:
    """Read load-test results, one point a line; the columns are those named in docs/simulator.md.

    Args:
        path: a CSV file, or the folder of `drydock loadtest -o`.
        limits: of the engine, or a function of the engine arguments that a line gives.
        arrival: spacing of requests in open loops.
        max_in_flight: requests that the client kept open at most.
    """
    if path.is_dir():
        path /= LOADS_FILE
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}", remedy="Give a CSV file of load-test results.") from error
    if not rows:
        raise UsageError(f"{path} has no lines of results", remedy="Give a CSV file of load-test results.")
    return [_point(path, number, row, limits, arrival, max_in_flight) for number, row in enumerate(rows, 2)]


def check_valid(where: str, row: Mapping[str, str]) -> None:
    """Refuse a load whose generator could not keep up, or that was interrupted: its figures are not the server's.

    Raises:
        UsageError: its column `valid` is 0.
    """
    if row.get("valid") == "0":
        raise UsageError(
            f"{where}: this load does not count: it was interrupted, or its generator could not keep up",
            remedy="Repeat it, or leave that line out.",
        )


def _point(
    path: Path, line: int, row: Mapping[str, str], limits: Limits | LimitsOf, arrival: str, most: int | None
) -> Point:
    def text(name: str) -> str:
        return next((row[column] for column in _COLUMNS[name] if row.get(column)), "")

    def number(name: str) -> float | None:
        value = text(name)
        try:
            found = float(value) if value else None
        except ValueError:
            found = nan
        if found is not None and not 0 <= found < inf:
            raise UsageError(
                f"{path}:{line}: {value!r} is no number from 0 on (one of the columns {', '.join(_COLUMNS[name])})",
                remedy="Write a number there, or leave the cell empty where nothing was measured.",
            )
        return found

    def needed(name: str) -> float:
        value = number(name)
        if value is None:
            raise UsageError(
                f"{path}:{line}: none of the columns {', '.join(_COLUMNS[name])} has a value",
                remedy="Add one of these columns, with a value on each line.",
            )
        return value

    check_valid(f"{path}:{line}", row)
    concurrency, count = number("concurrency"), number("requests")
    rate = None if concurrency else needed("rate")
    input_tokens, output_tokens = round(needed("input_tokens")), needed("output_tokens")
    duration = _ENDLESS if concurrency and count else number("duration") or 60.0
    try:
        workload = Workload(
            rate=rate,
            concurrency=int(concurrency) if concurrency else None,
            duration=duration,
            requests=None if count is None else int(count),
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            arrival=arrival,  # type: ignore[arg-type]
            max_in_flight=most,
        )
    except UsageError as error:
        raise UsageError(f"{path}:{line}: {error.message}", remedy="Mend that line, or leave it out.") from error
    measured = {name: number(name) for name in ("tpot", "ttft", "ttft_mean", "ttft_p99", "itl", "e2e", "completed")}
    return Point(
        f"{row.get('config', '')} {text('label')}".strip() or f"line {line}",
        workload,
        limits if isinstance(limits, Limits) else limits(text("arguments")),
        {name: value for name, value in measured.items() if value},
    )
