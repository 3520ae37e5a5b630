"""The carried profiles against the measurements that they were fitted to.

What the fit is worth on points that it has not seen is in docs/simulator.md, from `drydock calibrate`: that takes
minutes.
"""

import csv
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


@cache
def on_another_host(label: str) -> dict[str, float]:
    """Errors on a load of the second campaign, of which only `noasync_512_128_c64` is in the profile."""
    with as_file(files("drydock") / "data/vllm/measurements/vllm-0.26-h200-variants.csv") as file:
        rows = {row["label"]: row for row in csv.DictReader(file.open(encoding="utf-8"))}
        line = f"--model llama-3-8b {rows[label]['engine_args']}"
        chosen = setup(find_gpu("h200"), find_model("llama-3-8b"), parse_line(line))
        (point,) = (point for point in read_points(file, chosen.limits) if point.label == label)
    return {one.measure: one.error for one in compare(chosen.profile.coefficients, [point])}


def test_without_asynchronous_scheduling_the_processor_adds_to_each_step() -> None:
    found = on_another_host("noasync_512_128_c256")
    assert abs(found["completed"]) < 0.03
    assert abs(found["itl"]) < 0.08
    assert abs(found["tpot"]) < 0.16


@pytest.mark.parametrize("label", ["u095_s512_512_128_c64", "u095_s512_512_128_c256", "nopc_512_128_c256"])
def test_other_settings_on_another_host(label: str) -> None:
    found = on_another_host(label)
    assert abs(found["completed"]) < 0.05
    assert abs(found["tpot"]) < 0.05


def test_tensor_parallelism_over_nvlink() -> None:
    found = on_another_host("closed_512_128_c64_tp2")
    assert abs(found["completed"]) < 0.02
    assert abs(found["tpot"]) < 0.1
