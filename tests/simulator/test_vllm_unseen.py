"""What the fit is worth on points that it has not seen: the tables of docs/simulator.md.

`data/folds-*.yaml` hold the coefficients of each fold, as `drydock calibrate --folds-output` wrote them: each was
fitted to all points but those it is judged by here.
"""

import re
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import yaml

from drydock.simulator.calibration import Comparison, compare, replay
from drydock.simulator.measurements import Point
from drydock.simulator.timing import Coefficients
from tests.simulator.test_vllm_accuracy import KNEE_MS, points

DATA = Path(__file__).parent / "data"
PAGE = Path(__file__).parents[2] / "docs" / "simulator.md"
PROFILES = ("h100-vllm-0.11", "h200-vllm-0.26")
SHOWN = ("tpot", "completed", "ttft", "ttft_p99")

each_profile = pytest.mark.parametrize("profile", PROFILES)


@cache
def unseen(profile: str) -> list[tuple[Coefficients, Point]]:
    folds: list[dict[str, Any]] = yaml.safe_load((DATA / f"folds-{profile}.yaml").read_text())
    coefficients = {label: Coefficients(**fold["coefficients"]) for fold in folds for label in fold["unseen"]}
    return [(coefficients[point.label], point) for point in points(profile)]


@cache
def comparisons(profile: str) -> list[Comparison]:
    return [one for coefficients, point in unseen(profile) for one in compare(coefficients, [point])]


def errors(profile: str, measure: str, chosen: set[str] | None = None) -> list[float]:
    return [
        abs(one.error)
        for one in comparisons(profile)
        if one.measure == measure and (chosen is None or one.label in chosen)
    ]


def followed(profile: str) -> set[str]:
    """Loads whose median TTFT does not depend on the phase of waves or the length of a queue."""
    return {
        point.label
        for point in points(profile)
        if not point.saturated and (point.workload.concurrency in {None, 1}) and point.label != "vllm 0"
    }


@each_profile
def test_goals_are_met_on_points_that_the_fit_has_not_seen(profile: str) -> None:
    tpot = errors(profile, "tpot")
    assert median(tpot) < 0.05
    assert max(tpot) < 0.12
    assert max(errors(profile, "completed", {point.label for point in points(profile) if point.saturated})) < 0.05
    assert max(errors(profile, "ttft", followed(profile))) < 0.15


@each_profile
def test_the_knee_is_where_it_was_measured(profile: str) -> None:
    loads = sorted(unseen(profile), key=lambda one: one[1].workload.rate or 0)
    rates = [(point.workload.rate, point, coefficients) for coefficients, point in loads if point.workload.rate]
    measured = next(rate for rate, point, _ in rates if point.measured["ttft_p99"] > KNEE_MS)
    assert measured == next(rate for rate, point, fitted in rates if replay(fitted, point).ttft_ms.p99 > KNEE_MS)


def table(profile: str) -> list[str]:
    rows: dict[str, dict[str, Comparison]] = {}
    for one in comparisons(profile):
        rows.setdefault(one.label, {})[one.measure] = one
    return [f"| {label} | {' | '.join(_cell(row.get(name)) for name in SHOWN)} |" for label, row in rows.items()]


def _cell(one: Comparison | None) -> str:
    return f"{one.measured:.4g} → {one.simulated:.4g} ({one.error:+.1%})" if one else ""


@each_profile
def test_the_page_shows_these_errors(profile: str) -> None:
    expected = table(profile)
    page = {line.split("|")[1].strip(): line for line in PAGE.read_text().splitlines() if line.startswith("|")}
    for line in expected:
        shown = page.get(line.split("|")[1].strip(), "")
        # another machine's logarithms may let a request fall into another step
        assert _numbers(shown) == pytest.approx(_numbers(line), rel=0.03), "\n".join(expected)


def _numbers(line: str) -> list[float]:
    return [float(number) for pair in re.findall(r"([\d.]+) → ([\d.]+)", line) for number in pair]
