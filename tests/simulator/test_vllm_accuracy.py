"""The carried profiles against the measurements that they were fitted to.

What the fit is worth on points that it has not seen is in docs/simulator.md, from `drydock calibrate`: that takes
minutes.
"""

from collections.abc import Callable
from functools import cache
from importlib.resources import as_file, files
from statistics import median

import pytest

from drydock.engines.catalogue import find_gpu, find_model
from drydock.engines.engine_args import parse_line
from drydock.simulator.calibration import Comparison, compare, replay
from drydock.simulator.measurements import Point, read_points
from drydock.simulator.profile import profiles, setup
from drydock.simulator.requests import Limits

KNEE_MS = 200


def limits_of(gpu: str, model: str, defaults: str) -> Callable[[str], Limits]:
    # the source writes the model's name as a variable of its pod
    return lambda line: (
        setup(find_gpu(gpu), find_model(model), parse_line((line or defaults).replace("$(MODEL_ID)", model))).limits
    )


@cache
def points(profile: str) -> list[Point]:
    with as_file(files("drydock") / "data/vllm/measurements") as folder:
        if profile == "h100-vllm-0.11":
            file = folder / "vllm-0.11-h100-llama3.1-8b-open-loop.csv"
            limits = limits_of("h100", "llama-3.1-8b", "")
            return read_points(file, limits, arrival="poisson", max_in_flight=440)
        limits = limits_of("h200", "llama-3-8b", "--max-model-len 8192 --no-enable-prefix-caching")
        return [
            point
            for loop in ("closed", "open")
            for point in read_points(folder / f"vllm-0.26-h200-llama3-8b-{loop}-loop.csv", limits)
        ]


@cache
def comparisons(profile: str) -> list[Comparison]:
    return compare(profiles()[profile].coefficients, points(profile))


def errors(profile: str, measure: str, *, saturated: bool | None = None, labels: str = "") -> list[float]:
    found = [
        abs(one.error)
        for one in comparisons(profile)
        if one.measure == measure and saturated in {None, one.saturated} and labels in one.label
    ]
    assert found
    return found


each_profile = pytest.mark.parametrize("profile", ["h100-vllm-0.11", "h200-vllm-0.26"])


@each_profile
def test_time_per_output_token(profile: str) -> None:
    found = errors(profile, "tpot")
    assert median(found) < 0.05
    assert max(found) < 0.12


@each_profile
def test_saturation_throughput(profile: str) -> None:
    assert max(errors(profile, "completed", saturated=True)) < 0.05


def test_throughput_of_closed_loops() -> None:
    assert max(errors("h200-vllm-0.26", "completed", labels="closed")) < 0.05


def test_median_ttft_below_saturation() -> None:
    assert max(errors("h100-vllm-0.11", "ttft", saturated=False)) < 0.15
    assert max(errors("h200-vllm-0.26", "ttft", saturated=False, labels="open")) < 0.15
    assert max(errors("h200-vllm-0.26", "ttft", labels="prefill_only")) < 0.15
    assert max(errors("h200-vllm-0.26", "ttft", labels="_c1")) < 0.15


@each_profile
def test_the_knee_is_at_the_measured_rate(profile: str) -> None:
    coefficients = profiles()[profile].coefficients
    rates = sorted((point.workload.rate, point) for point in points(profile) if point.workload.rate)
    measured = next(rate for rate, point in rates if point.measured["ttft_p99"] > KNEE_MS)
    simulated = next(rate for rate, point in rates if replay(coefficients, point).ttft_ms.p99 > KNEE_MS)
    assert simulated == measured
