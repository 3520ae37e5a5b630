"""Traffic, estimates and replicas, each against what can be known without the simulator."""

from pathlib import Path
from statistics import mean, median

import numpy as np
import pytest

from drydock.engines.catalogue import find_gpu, find_model
from drydock.engines.engine_args import parse_line
from drydock.errors import UsageError
from drydock.loadtest.presets import dataset, preset, presets
from drydock.loadtest.records import COLUMNS, GeneratorHealth, Outcome, Records, Run
from drydock.loadtest.run_files import save_run
from drydock.loadtest.settings import Constant, Stage
from drydock.plan.estimate import Estimate, simulated
from drydock.plan.from_loadtest import read_measurements
from drydock.plan.sizing import Demand, Task, measured, size
from drydock.plan.traffic import shapes
from drydock.scheduling.prices import read_tables

CHAT = preset("chat")
ARGS = parse_line("--max-model-len 8192")


@pytest.mark.parametrize("name", presets())
def test_drawn_lengths_are_those_of_the_workload(name: str) -> None:
    workload = preset(name)
    drawn = shapes(workload, 1000, rate=5.0, block_size=16, prefix_caching=True)
    assert len(drawn) == 1000
    assert min(each.input_tokens for each in drawn) > workload.shared_prefix_tokens
    assert all(len(each.hashes) <= each.input_tokens // 16 for each in drawn)
    lengths = workload.input
    if workload.turns == 1:  # limits cut the mean of long tails, and leave the median
        scale = (1 + (lengths.deviation / lengths.mean) ** 2) ** -0.5 if lengths.kind == "lognormal" else 1
        middle = median(each.input_tokens for each in drawn) - workload.shared_prefix_tokens
        assert middle == pytest.approx(lengths.mean * scale, rel=0.1)


def test_presets_say_where_they_come_from_and_are_like_it() -> None:
    assert all(len(each["source"]) > 40 for each in presets().values())

    def prompts(name: str) -> list[int]:
        return [each.input_tokens for each in shapes(preset(name), 2000, rate=1.0, block_size=16, prefix_caching=False)]

    assert median(prompts("code")) == pytest.approx(1469, rel=0.1)  # of Azure's trace
    assert median(prompts("long-context")) == pytest.approx(6909, rel=0.1)  # of Mooncake's
    assert mean(prompts("agent")) == pytest.approx(8596, rel=0.1)
    assert mean(prompts("conversation")) == pytest.approx(1155, rel=0.1)


def test_turns_of_a_conversation_begin_with_what_came_before() -> None:
    workload = preset("conversation")
    drawn = shapes(workload, 500, rate=1.0, block_size=16, prefix_caching=True)
    beside = 5
    first, second = drawn[0], drawn[beside]
    assert second.input_tokens > first.input_tokens + first.output_tokens
    assert tuple(second.hashes[: len(first.hashes)]) == tuple(first.hashes)
    shared = workload.shared_prefix_tokens // 16
    assert drawn[1].hashes[:shared] == first.hashes[:shared]
    assert not set(drawn[1].hashes[shared:]) & set(first.hashes)


def test_the_prefix_cache_shortens_the_time_to_first_token() -> None:
    gpu, model, agent = find_gpu("l4"), find_model("llama-3.1-8b"), preset("agent")
    cached = simulated(gpu, model, parse_line("--max-model-len 16384"), agent, 0.2)
    without = simulated(gpu, model, parse_line("--max-model-len 16384 --no-enable-prefix-caching"), agent, 0.2)
    assert cached.measures["ttft_p50_ms"] < 0.6 * without.measures["ttft_p50_ms"]


def test_requests_longer_than_the_context_are_errors() -> None:
    short = simulated(find_gpu("h100"), find_model("llama-3.1-8b"), parse_line("--max-model-len 1024"), CHAT, 2.0)
    assert 0.01 < short.measures["error_rate"] < 0.3
    assert short.missed({"error_rate": 0.001})
    assert not short.missed({"error_rate": 0.5})


def test_an_engine_that_falls_behind_is_told_whatever_the_objectives() -> None:
    task = simulated(find_gpu("l4"), find_model("llama-3.1-8b"), ARGS, CHAT, 10.0)
    assert not task.keeps_up
    assert "requests/s that arrive" in task.missed({})[0]


def test_the_search_ends_at_the_fewest_replicas() -> None:
    objectives = {"ttft_p95_ms": 500.0, "itl_p99_ms": 130.0}
    gpu, model = find_gpu("l4"), find_model("llama-3.1-8b")
    found = size(Task(gpu, model, ARGS, Demand(CHAT, 10.0, objectives)))
    assert found.replicas > 1
    assert found.estimate
    assert not found.estimate.missed(objectives)
    assert simulated(gpu, model, ARGS, CHAT, 10.0 / (found.replicas - 1)).missed(objectives)


def estimate(rate: float, ttft: float) -> Estimate:
    return Estimate(rate, {"ttft_p95_ms": ttft, "error_rate": 0.0}, 100 * rate, 300 * rate, keeps_up=True)


def test_measured_rates_size_replicas_by_the_best_that_met_the_objectives() -> None:
    rows = [estimate(1, 100), estimate(4, 180), estimate(8, 900)]
    demand = Demand(CHAT, 10.0, {"ttft_p95_ms": 200.0})
    found = measured(rows, demand)
    assert found.replicas == 3
    assert found.estimate == rows[1]
    assert measured(rows, Demand(CHAT, 8.0, {"ttft_p95_ms": 200.0})).replicas == 2
    none = measured(rows, Demand(CHAT, 8.0, {"ttft_p95_ms": 50.0}))
    assert none.replicas == 0
    assert none.missed


def test_prices_are_read_from_karpenters_go_file() -> None:
    text = 'var X = map[string]map[T]float64{\n\t// r\n\t"us-east-1": {\n\t\t// g6 family\n\t\t"g6.xlarge": 0.804800, '
    text += '"u-6tb1.metal": 54.6,\n\t},\n\t"eu-1": {\n\t\t"p5.48xlarge": 55.04,\n\t},\n}\n'
    assert read_tables(text) == {
        "us-east-1": {"g6.xlarge": 0.8048, "u-6tb1.metal": 54.6},
        "eu-1": {"p5.48xlarge": 55.04},
    }


def a_run(folder: Path, rate: float, ttft: float, *, valid: bool = True, failing: int = 0) -> None:
    """A run of 200 requests of 11 tokens, 10 ms apart, after ten of warm-up that took a second each."""
    count = 210
    due = np.concatenate([np.linspace(0, 4.9, 10), 5 + np.arange(200) / rate])
    first = due + np.where(np.arange(count) < 10, 1.0, ttft)
    times = (first[:, None] + 0.01 * np.arange(11)).ravel()
    whole = dict.fromkeys(COLUMNS, np.zeros(count, np.int64))
    whole |= {"prompt_tokens": np.full(count, 100), "output_tokens": np.full(count, 11), "chunks": np.full(count, 11)}
    whole["outcome"] = np.where(np.arange(count) >= count - failing, int(Outcome.HTTP_ERROR), int(Outcome.OK))
    floats = {"intended": due, "sent": due, "first_byte": first, "first_token": first, "finished": first + 0.1}
    records = Records(**{**whole, **floats}, chunk_times=times, chunk_offsets=np.arange(count + 1) * 11, models=("m",))
    health = GeneratorHealth(0.0, 0.0, 0.0, rate, rate, (), valid, () if valid else ("It was too slow.",))
    save_run(Run(records, health, Stage(Constant(rate), 200 / rate, 5.0), 0.0, complete=True), folder)


def test_runs_of_a_load_test_are_read_without_their_warm_up(tmp_path: Path) -> None:
    a_run(tmp_path / "a", 10.0, 0.05)
    a_run(tmp_path / "b", 20.0, 0.4, failing=20)
    low, high = read_measurements(tmp_path, {"ttft_p95_ms": 100.0, "itl_p99_ms": 20.0})
    assert low.rate == pytest.approx(10)
    assert low.measures["ttft_p99_ms"] == pytest.approx(50)
    assert low.measures["itl_p50_ms"] == pytest.approx(10)
    assert low.measures["tpot_mean_ms"] == pytest.approx(10)
    assert low.output_tokens_per_second == pytest.approx(110)
    assert low.total_tokens_per_second == pytest.approx(1110)
    assert low.keeps_up
    assert high.measures["error_rate"] == pytest.approx(0.1)
    demand = Demand(CHAT, 35.0, {"ttft_p95_ms": 100.0})
    assert measured([low, high], demand).replicas == 4


def test_a_run_that_its_generator_disowns_does_not_count(tmp_path: Path) -> None:
    a_run(tmp_path, 10.0, 0.05, valid=False)
    with pytest.raises(UsageError, match="does not count: It was too slow"):
        read_measurements(tmp_path, {})


def test_prompts_of_a_file_are_estimated_and_share_what_they_begin_with(tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"turns": ["' + "word " * 2000 + '", "and then?"], "output_tokens": 8}\n')
    gpu, model = find_gpu("h100"), find_model("llama-3-8b")
    cached, computed = (
        simulated(gpu, model, ARGS.changed(enable_prefix_caching=caching), dataset(file), 2.0)
        for caching in (True, False)
    )
    assert 2 * cached.measure("ttft_p50_ms") < computed.measure("ttft_p50_ms")


def test_guesses_that_are_right_need_fewer_replicas() -> None:
    guessing = parse_line(
        '--max-model-len 8192 --speculative-config \'{"method": "ngram", "num_speculative_tokens": 4}\''
    )
    demand = Demand(CHAT, 20, {"tpot_p95_ms": 20})
    gpu, model = find_gpu("a10g"), find_model("llama-3-8b")
    plain = size(Task(gpu, model, guessing, demand))
    fast = size(Task(gpu, model, guessing.changed(simulate_acceptance_rate=0.8), demand))
    assert plain.replicas == 0
    assert fast.replicas > 0
