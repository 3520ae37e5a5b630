"""A day under an autoscaler, against what follows from the trace and the settings."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from drydock.engines.catalogue import find_gpu, find_model
from drydock.engines.engine_args import parse_line
from drydock.errors import UsageError
from drydock.loadtest.presets import preset
from drydock.plan.autoscaling import autoscaled, static
from drydock.plan.scalers import Metric, Scaler, find_scaler
from drydock.plan.sizing import Demand, Task
from drydock.plan.surface import Surface, surface
from drydock.plan.traces import DAY, load_trace, trace_presets
from drydock.suite.manifests import Manifest
from drydock.testing.pytest_plugin import RenderChart

pytestmark = pytest.mark.programs

OBJECTIVES = {"ttft_p95_ms": 1000.0, "itl_p99_ms": 150.0}
HIGHEST = 10.0


@pytest.fixture(scope="module")
def replica() -> Surface:
    args = parse_line("--max-model-len 8192")
    return surface(Task(find_gpu("l4"), find_model("llama-3.1-8b"), args, Demand(preset("chat"), HIGHEST, OBJECTIVES)))


def test_a_replica_at_rising_rates_waits_longer_and_holds_more(replica: Surface) -> None:
    for look in (replica.running, replica.kv_usage):
        values = [look(share * replica.capacity) for share in (0.0, 0.3, 0.6, 0.9)]
        assert values == sorted(values)
        assert values[0] == 0
    assert replica.waiting(0.5 * replica.capacity) < 0.5 < replica.waiting(replica.capacity)
    calm, full = (replica.measure("ttft_p95_ms", share * replica.capacity) for share in (0.3, 1.0))
    assert calm < 500 < full
    mean = replica.measure("e2e_mean_ms", 0.5 * replica.capacity) / 1e3
    # Little's law, but for the run's beginning, when the batch fills
    assert replica.running(0.5 * replica.capacity) == pytest.approx(0.5 * replica.capacity * mean, rel=0.15)


def test_pods_that_are_always_there_cost_the_whole_day(replica: Surface) -> None:
    day = static(load_trace("office-day", HIGHEST), replica, OBJECTIVES, 5, per_node=2)
    assert day.node_hours == pytest.approx(3 * 24)
    assert day.missed_share == 0
    assert static(load_trace("office-day", HIGHEST), replica, OBJECTIVES, 1).missed_share > 0.5


def test_autoscaling_costs_less_and_slow_starts_miss_more(replica: Surface) -> None:
    trace = load_trace("office-day", HIGHEST)
    scaler = Scaler(most=8, metrics=(Metric("kv_usage", 0.5, per_pod=False),))
    quick = autoscaled(trace, replica, OBJECTIVES, scaler, start_seconds=30)
    slow = autoscaled(trace, replica, OBJECTIVES, scaler, start_seconds=1800)
    fixed = static(trace, replica, OBJECTIVES, 4)
    assert quick.node_hours < 0.8 * fixed.node_hours
    assert quick.missed_share < slow.missed_share
    assert max(each.ready for each in quick.moments) >= 3
    assert min(each.ready for each in quick.moments) == 1


def test_no_pod_beyond_the_most_and_none_below_the_least(replica: Surface) -> None:
    trace = load_trace("office-day", 13.0)
    day = autoscaled(trace, replica, OBJECTIVES, Scaler(least=2, most=3), start_seconds=60)
    assert {each.pods for each in day.moments} == {2, 3}
    assert day.missed_share > 0.1


def test_a_model_sleeps_at_zero_and_the_first_requests_wait_for_it(replica: Surface) -> None:
    trace = load_trace("nightly-batch", HIGHEST)
    metrics = (Metric("requests", 32.0, per_pod=True),)
    day = autoscaled(trace, replica, OBJECTIVES, Scaler(0, 6, metrics, cooldown_seconds=900), start_seconds=600)
    asleep = [each for each in day.moments if each.pods == 0]
    assert len(asleep) * 15 > 16 * 3600
    assert 10 <= day.missed_minutes < 60
    awake = autoscaled(trace, replica, OBJECTIVES, Scaler(1, 6, metrics), start_seconds=600)
    assert day.node_hours < awake.node_hours - 15


def test_stabilization_keeps_pods_for_so_long(replica: Surface, tmp_path: Path) -> None:
    file = tmp_path / "day.csv"
    file.write_text("seconds,rate\n0,0.1\n36000,0.1\n36001,9\n37000,9\n37001,0.1\n86400,0.1\n")
    trace = load_trace(str(file), None)

    def last(seconds: float) -> float:
        scaler = Scaler(most=8, scale_down_seconds=seconds)
        day = autoscaled(trace, replica, OBJECTIVES, scaler, start_seconds=60)
        return max(each.seconds for each in day.moments if each.pods > 1)

    assert last(3600) - last(300) == pytest.approx(3300, abs=400)


def test_settings_are_those_that_the_chart_renders(render_chart: RenderChart) -> None:
    model = {
        "source": {"huggingFace": {"id": "org/small"}, "size": "15Gi"},
        "autoscaling": {"enabled": True, "minReplicas": 2, "maxReplicas": 7, "scaleDownSeconds": 400},
    }
    found = find_scaler(_rendered(render_chart, model), "genai-vllm-small")
    assert found == Scaler(2, 7, (Metric("waiting", 5.0, per_pod=True),), scale_down_seconds=400)
    keda = {"cooldownSeconds": 77, "source": "prometheus", "prometheusAddress": "http://prometheus:9090"}
    model["autoscaling"] |= {"kind": "ScaledObject", "minReplicas": 0, "keda": keda}  # type: ignore[operator]
    model["networkPolicy"] = {"metrics": {"prometheus": {"namespaceSelector": {}}}}
    sleeping = find_scaler(_rendered(render_chart, model), "genai-vllm-small")
    assert sleeping
    assert (sleeping.least, sleeping.most, sleeping.cooldown_seconds) == (0, 7, 77)
    looks = {each.look: (each.target, each.per_pod) for each in sleeping.metrics}
    assert looks == {"requests": (32.0, True), "waiting": (5.0, True), "kv_usage": (0.8, False)}
    assert find_scaler(_rendered(render_chart, {"source": model["source"]}), "genai-vllm-small") is None


def _rendered(render_chart: RenderChart, model: dict[str, Any]) -> tuple[Manifest, ...]:
    return render_chart("vllm", {"models": {"small": model}})


@pytest.mark.parametrize("name", trace_presets())
def test_days_reach_their_highest_rate_once_scaled(name: str) -> None:
    trace = load_trace(name, 7.0)
    assert trace.peak == pytest.approx(7.0)
    rates = trace.sampled(60.0)
    assert len(rates) == DAY / 60
    assert max(rates) <= 7.0
    assert min(rates) >= 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n1,2\n", "has no columns"),
        ("", "has no columns"),
        ("seconds,rate\n5,1\n1,2\n", "not in order"),
        ("hour,rate\n1,2\n30,2\n", "not within one day"),
        ("hour,rate\n1,-2\n", "must be 0 or more"),
        ("hour,rate\n1,many\n", "could not convert"),
    ],
)
def test_traces_of_another_form_are_refused(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "day.csv"
    file.write_text(text)
    with pytest.raises(UsageError, match=words) as raised:
        load_trace(str(file), None)
    assert raised.value.remedy


def test_the_verb_tells_both_days_and_draws_them(tmp_path: Path) -> None:
    page = tmp_path / "day.html"
    command = [sys.executable, "-m", "drydock", "plan", "dev", "--rate", "6", "--trace", "office-day", "--json"]
    command += ["--start-seconds", "300", "--max-replicas", "4", "--html", str(page)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    (plan,) = json.loads(done.stdout)
    day = plan["day"]
    hourly = plan["choices"][0]["dollars_per_hour"]["on-demand"]
    assert day["static"]["dollars"] == pytest.approx(24 * hourly, rel=0.001)
    assert day["autoscaled"]["dollars"] < day["static"]["dollars"]
    assert day["max_replicas"] == 4
    assert day["start_seconds"] == 300
    assert day["autoscaler_rendered"] is False, "dev has none: the chart's defaults are assumed"
    command[command.index("4")] = "1"
    missing = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert json.loads(missing.stdout)[0]["day"]["autoscaled"]["objectives_missed_share"] > 0.5
    assert missing.returncode == 1
    assert "A day with autoscaling" in page.read_text()
    without = subprocess.run(
        [sys.executable, "-m", "drydock", "plan", "dev", "--trace", "office-day"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert without.returncode == 2
    assert "Give its peak, in requests/s, with --rate" in without.stderr
