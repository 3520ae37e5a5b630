"""`drydock simulate` and `drydock calibrate` as a user runs them."""

import json
from dataclasses import replace
from itertools import islice, pairwise
from operator import attrgetter
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Protocol

import pytest
import yaml
from click.testing import CliRunner

from drydock.cli.simulate import command
from drydock.engines.catalogue import find_gpu, find_model
from drydock.engines.engine_args import parse_line
from drydock.errors import UsageError
from drydock.simulator.calibration import fit, simulated
from drydock.simulator.engine import Engine
from drydock.simulator.measurements import read_points
from drydock.simulator.profile import profiles, setup
from drydock.simulator.requests import Limits, Outcome
from drydock.simulator.run_statistics import summarize
from drydock.simulator.simulation import simulate
from drydock.simulator.workload import Workload


def words(line: str) -> list[str]:
    return line.split()


EXAMPLE = words(
    "simulate --gpu h100 --model llama-3.1-8b --rate 92 --duration 10 --input-tokens 204 --output-tokens 64"
    " --arrival poisson --engine-args"
)
ENGINE = "--max-num-seqs 128 --no-enable-prefix-caching"


class Drydock(Protocol):
    def __call__(self, *arguments: str | Path) -> Any: ...


def test_the_example_of_the_documentation(drydock: Drydock) -> None:
    result = drydock(*EXAMPLE, ENGINE, "--json")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["requests"] == 920
    assert found["achieved_rps"] == pytest.approx(92)
    assert found["max_num_seqs"] == 128
    for measure in ("ttft_ms", "tpot_ms", "itl_ms", "e2e_ms"):
        assert found[measure]["mean"] > 0
        assert found[measure]["p50"] <= found[measure]["p99"]
    whole = found["ttft_ms"]["mean"] + 63 * found["tpot_ms"]["mean"]
    assert found["e2e_ms"]["mean"] == pytest.approx(whole, rel=1e-6)


def test_the_same_seed_gives_the_same_bytes(drydock: Drydock) -> None:
    line = words(
        "simulate --gpu h200 --model llama-3-8b --rate 30 --duration 10 --arrival gamma --spread 0.4 --json --seed"
    )
    first, again, other = (drydock(*line, seed).stdout for seed in ("7", "7", "8"))
    assert first == again != other


def test_a_table_for_people(drydock: Drydock) -> None:
    result = drydock(*words("simulate --gpu l4 --model llama-3-8b --concurrency 4 --duration 5"))
    assert result.returncode == 0, result.stderr
    assert all(word in result.stdout for word in ("TTFT", "TPOT", "ITL", "E2E", "requests/s completed"))
    assert "scaled by the roofline" in " ".join(result.stdout.split())


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--gpu h1000 --model llama-3-8b --rate 1", "did you mean h100"),
        ("--gpu h100 --model llama-9 --rate 1", "'llama-9' is not in the catalogue"),
        ("--gpu h100 --model llama-3-8b", "either a rate or a concurrency"),
        ("--gpu h100 --model llama-3-8b --rate 1 --concurrency 1", "either a rate or a concurrency"),
        ("--gpu h100 --model llama-3-8b --rate -1", "rate must be above 0"),
        ("--gpu h100 --model llama-3-8b --rate inf", "rate must be above 0"),
        ("--gpu h100 --model llama-3-8b --rate 0", "Give --rate a finite number above 0"),
        ("--gpu h100 --model llama-3-8b --rate 1 --max-in-flight 0", "Give --max-in-flight a finite number above 0"),
        ("--gpu h100 --model llama-3-8b --rate 1e9", "Give a lower --rate"),
        ("--gpu h100 --model llama-3-8b --rate 1 --spread nan", "spread must be 0, or from 0.001 to 100"),
        ("--gpu h100 --model llama-3-8b --rate 1 --spread 1e200", "Give --spread"),
        ("--gpu h100 --model llama-3-8b --rate 1 --input-tokens 9000", "exceed the engine's maximum length of 8192"),
        ("--gpu h100 --model llama-3-8b --rate 1 --arrival even", "--arrival even is called --arrival constant"),
        ("--gpu h100 --model llama-3-8b --rate 1 --engine-args=--nope", "unrecognized arguments: --nope"),
    ],
)
def test_wrong_use_says_what_is_wrong(drydock: Drydock, line: str, said: str) -> None:
    result = drydock("simulate", *line.split())
    assert result.returncode == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert "\n  " in result.stderr, "the way out stands on a line of its own"


def test_a_model_that_does_not_fit_ends_with_status_one(drydock: Drydock) -> None:
    result = drydock(*words("simulate --gpu h200 --model llama-3.3-70b --rate 1"))
    assert result.returncode == 1
    assert "No available memory for the cache blocks" in result.stderr
    assert "--tensor-parallel-size" in result.stderr


@pytest.mark.parametrize("arrival", ["constant", "poisson", "gamma"])
def test_an_open_loop_offers_exactly_its_rate(arrival: Any) -> None:
    load = Workload(rate=50, duration=20, arrival=arrival, burstiness=0.25)
    times = list(load.arrivals())
    assert len(times) == 1000
    assert times == sorted(times)
    assert 0 <= times[0] < times[-1] <= 20
    gaps = [after - before for before, after in pairwise(times)]
    spread = stdev(gaps) / mean(gaps)
    assert spread == pytest.approx({"constant": 0, "gamma": 2}.get(arrival, 1), abs=0.15)


def test_lengths_that_are_spread_stay_within_the_context() -> None:
    load = Workload(rate=1, input_tokens=4000, output_tokens=4000, spread=1.5, max_model_len=8192)
    drawn = list(islice(load.lengths(), 1000))
    assert max(prompt + output for prompt, output in drawn) == 8192
    assert all(prompt >= 1 and output >= 1 for prompt, output in drawn)


def test_evenly_spaced_requests_wait_less_than_random_ones() -> None:
    chosen = setup(find_gpu("h100"), find_model("llama-3.1-8b"), parse_line(ENGINE))

    def ttft_p99(arrival: Any) -> float:
        load = Workload(rate=92, duration=30, input_tokens=204, output_tokens=64, arrival=arrival)
        run = simulate(chosen.profile.coefficients, chosen.limits, load)
        return summarize(run, blocks=chosen.limits.blocks, rate=92, duration=30).ttft_ms.p99

    assert ttft_p99("poisson") > 1.5 * ttft_p99("constant")


def test_a_client_with_few_connections_holds_requests_back() -> None:
    chosen = setup(find_gpu("h100"), find_model("llama-3.1-8b"), parse_line(ENGINE))
    load = Workload(rate=150, duration=20, input_tokens=204, output_tokens=64, arrival="poisson", max_in_flight=200)
    run = simulate(chosen.profile.coefficients, chosen.limits, load)
    summary = summarize(run, blocks=chosen.limits.blocks, rate=150, duration=20)
    assert summary.max_running == 128
    assert summary.max_running + summary.max_waiting <= 200
    assert summary.requests == 3000
    assert summary.achieved_rps < 120


def test_steps_that_change_nothing_are_taken_together() -> None:
    outcomes = [0]

    def observe(_engine: Engine, _outcome: Outcome) -> None:
        outcomes[0] += 1

    chosen = setup(find_gpu("h200"), find_model("llama-3-8b"), parse_line(""))
    load = Workload(rate=10, duration=60, input_tokens=512, output_tokens=256)
    run = simulate(chosen.profile.coefficients, chosen.limits, load, observe)
    assert outcomes[0] < 4 * len(run.records)
    assert run.engine_steps > 3 * outcomes[0]


def test_a_fit_finds_what_made_the_data(tmp_path: Path) -> None:
    truth = profiles()["h200-vllm-0.26"].coefficients
    limits = Limits(56000)
    lines = ["label,concurrency,requests,input_tokens,output_tokens,tpot_ms,ttft_p50_ms,completed_rps"]
    for clients in (1, 4, 16, 64):
        load = Workload(concurrency=clients, duration=1e9, requests=clients * 4, input_tokens=512, output_tokens=64)
        summary = summarize(simulate(truth, limits, load), blocks=56000, rate=None, duration=60)
        values = (summary.tpot_ms.mean, summary.ttft_ms.p50, summary.completed_rps)
        lines.append(f"c{clients},{clients},{clients * 4},512,64,{','.join(map(str, values))}")
    file = tmp_path / "results.csv"
    file.write_text("\n".join(lines))
    points = read_points(file, limits)
    start = truth.scaled(weights=1.15, token=0.85)
    found = fit(points, start, free={"weights": 0.2, "token": 0.2}, evaluations=8)
    assert found.weights == pytest.approx(truth.weights, rel=0.03)
    assert found.token == pytest.approx(truth.token, rel=0.05)
    assert simulated(found, points[0])["tpot"] == pytest.approx(points[0].measured["tpot"], rel=0.01)


def test_calibrate_writes_a_profile_that_simulate_takes(drydock: Drydock, tmp_path: Path) -> None:
    results, profile = tmp_path / "results.csv", tmp_path / "profile.yaml"
    results.write_text(
        "label,rate,duration,input_tokens,output_tokens,tpot_ms,ttft_p50_ms,completed_rps\n"
        "slow,2,5,512,32,9.0,40,2\nfaster,8,5,512,32,10.0,44,8\n"
    )
    measured = words("--gpu h200 --model llama-3-8b --engine 0.26 --folds 0 --evaluations 3")
    made = drydock("calibrate", results, *measured, "--output", profile)
    assert made.returncode == 0, made.stderr
    assert "TPOT" in made.stdout
    ((name, facts),) = yaml.safe_load(profile.read_text()).items()
    assert (name, facts["gpu"]) == ("calibrated", "h200")
    assert facts["coefficients"]["weights"] > profiles()["h200-vllm-0.26"].coefficients.weights
    line = words("simulate --gpu h200 --model llama-3-8b --rate 2 --duration 5 --json --profile")
    found = drydock(*line, profile)
    assert json.loads(found.stdout)["profile"] == "calibrated"


def test_a_folder_of_load_test_results_is_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read .*loads\.csv"):
        read_points(tmp_path, Limits(10))
    (tmp_path / "loads.csv").write_text("rate,input_tokens,output_tokens\n2,100,10\n")
    (point,) = read_points(tmp_path, Limits(10))
    assert point.workload.rate == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no lines of results"),
        ("label,input_tokens\nx,1\n", "none of the columns .*rate"),
        ("rate,input_tokens,output_tokens\nfast,1,1\n", "'fast' is no number"),
        ("rate,input_tokens,output_tokens,valid\n1,1,1,0\n", r"results\.csv:2: this load does not count"),
        ("rate,input_tokens,output_tokens\ninf,1,1\n", r"results\.csv:2: 'inf' is no number"),
        ("rate,input_tokens,output_tokens,tpot_ms\n1,1,1,-9\n", r"results\.csv:2: '-9' is no number from 0 on"),
        ("concurrency,input_tokens,output_tokens\n0.5,1,1\n", r"results\.csv:2: concurrency must be above 0"),
    ],
)
def test_results_that_cannot_be_read(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "results.csv"
    file.write_text(text)
    with pytest.raises(UsageError, match=said):
        read_points(file, Limits(10))
    with pytest.raises(UsageError, match="cannot read"):
        read_points(tmp_path / "missing.csv", Limits(10))


def test_points_of_which_little_was_measured_are_fitted_by_that(tmp_path: Path) -> None:
    """One token has no time per token after it, and without a rate of completion no load is known to saturate."""
    file = tmp_path / "results.csv"
    file.write_text("rate,duration,input_tokens,output_tokens,tpot_ms,ttft_p50_ms\n2,5,100,1,9,20\n2,5,100,9,9,\n")
    first, second = read_points(file, Limits(1000))
    assert (set(first.accuracies()), set(second.accuracies())) == ({"ttft"}, {"tpot"})
    assert not first.saturated
    assert fit([first, second], profiles()["h200-vllm-0.26"].coefficients, free={"token": 0.2}, evaluations=2)


@pytest.mark.parametrize(
    ("content", "more", "said"),
    [
        ("rate,input_tokens,output_tokens\n2,100,10\n", (), "no line has a measure"),
        ("rate,input_tokens,output_tokens,tpot_ms\n2,100,10,9\n", ("-o", "nowhere/x.yaml"), "mkdir -p nowhere"),
    ],
)
def test_a_calibration_that_would_be_lost_does_not_begin(
    drydock: Drydock, tmp_path: Path, content: str, more: tuple[str, ...], said: str
) -> None:
    (file := tmp_path / "results.csv").write_text(content)
    result = drydock("calibrate", file, *words("--gpu h200 --model llama-3-8b --engine 0.26"), *more)
    assert result.returncode == 2
    assert said in result.stderr


def test_the_smallest_shape_of_bursts_is_one_burst() -> None:
    assert list(Workload(rate=5, duration=2, arrival="gamma", burstiness=1e-300).arrivals()) == [0.0] * 10


def test_more_gpus_decode_faster_and_smaller_ones_slower() -> None:
    def tpot(gpu: str, line: str) -> float:
        chosen = setup(find_gpu(gpu), find_model("qwen3-32b"), parse_line(f"--max-model-len 8192 {line}"))
        load = Workload(concurrency=4, duration=10, input_tokens=256, output_tokens=64)
        run = simulate(chosen.profile.coefficients, chosen.limits, load)
        return summarize(run, blocks=chosen.limits.blocks, rate=None, duration=10).tpot_ms.mean

    one, two, small = tpot("h200", ""), tpot("h200", "-tp 2"), tpot("l40s", "-tp 2")
    eight_bits = tpot("h200", "--quantization fp8")
    assert one / 2 < two < one
    assert small > 3 * two
    assert eight_bits < 0.7 * one
    weights_read = 2 * find_model("qwen3-32b").linear_parameters / 4.8e12 * 1e3
    assert one > weights_read


def test_eager_mode_is_slower() -> None:
    base = setup(find_gpu("h200"), find_model("llama-3-8b"), parse_line("")).profile.coefficients
    eager = setup(find_gpu("h200"), find_model("llama-3-8b"), parse_line("--enforce-eager")).profile.coefficients
    load = Workload(concurrency=1, duration=5)
    slow, fast = (
        summarize(simulate(c, Limits(1000), load), blocks=1000, rate=None, duration=5).tpot_ms.mean
        for c in (eager, base)
    )
    assert slow > 2 * fast
    assert replace(eager, graph_tokens=base.graph_tokens) == base


def closed_loop(line: str, *, gpu: str = "h100", clients: int = 64, tokens: tuple[int, int] = (520, 128)) -> Any:
    chosen = setup(find_gpu(gpu), find_model("llama-3.1-8b"), parse_line(f"--max-model-len 8192 {line}"))
    load = Workload(concurrency=clients, duration=10, input_tokens=tokens[0], output_tokens=tokens[1])
    run = simulate(chosen.profile.coefficients, chosen.limits, load)
    return summarize(run, blocks=chosen.limits.blocks, rate=None, duration=10)


@pytest.mark.parametrize(
    ("line", "more", "less"),
    [
        ("--max-num-seqs 16", "max_waiting", "max_running"),
        ("--max-num-batched-tokens 2048", "max_waiting", "itl_ms.p99"),
        ("--gpu-memory-utilization 0.24", "preemptions", "completed_rps"),
        ("--kv-cache-dtype fp8", "completed_rps", "max_kv_usage"),
        ("--quantization fp8", "completed_rps", "tpot_ms.mean"),
        ("--tensor-parallel-size 2", "completed_rps", "tpot_ms.mean"),
        ("--enforce-eager", "tpot_ms.mean", "completed_rps"),
        ("--block-size 128", "max_kv_usage", ""),
    ],
)
def test_engine_arguments_have_their_effect(line: str, more: str, less: str) -> None:
    usual, changed = closed_loop(""), closed_loop(line)
    assert attrgetter(more)(changed) > attrgetter(more)(usual)
    if less:
        assert attrgetter(less)(changed) < attrgetter(less)(usual)


@pytest.mark.parametrize("gpu", ["h100", "h200"])
@pytest.mark.parametrize("tokens", [(32, 512), (1024, 128), (4096, 256)])
def test_other_lengths_stay_above_the_roofline_and_near_it(gpu: str, tokens: tuple[int, int]) -> None:
    device, model = find_gpu(gpu), find_model("llama-3.1-8b")
    alone, crowd = closed_loop("", gpu=gpu, clients=1, tokens=tokens), closed_loop("", gpu=gpu, tokens=tokens)
    weights_read = 2e3 * model.linear_parameters / (device.bandwidth_gbs * 1e9)
    assert weights_read < alone.tpot_ms.mean < 2.5 * weights_read
    arithmetic = 2 * model.linear_parameters * sum(tokens) / (device.bf16_tflops * 1e12)
    assert crowd.completed_rps < 1 / arithmetic
    prefill = 2e3 * model.linear_parameters * tokens[0] / (device.bf16_tflops * 1e12)
    assert prefill < alone.ttft_ms.p50 < 2.5 * prefill + 3 * alone.tpot_ms.mean + 10


def run_of(line: str, **options: int) -> dict[str, Any]:
    """Summary of a simulation of llama-3-8b on h200 with one client, or as `options` say."""
    args = parse_line(f"--model llama-3-8b --max-model-len 8192 {line}")
    chosen = setup(find_gpu("h200"), find_model("llama-3-8b"), args)
    load: dict[str, Any] = {"concurrency": 1, "duration": 10, **options}
    run = simulate(chosen.profile.coefficients, chosen.limits, Workload(**load))
    return summarize(run, blocks=chosen.limits.blocks, rate=None, duration=10).as_dict()


EAGLE = '--speculative-config \'{"method": "eagle3", "num_speculative_tokens": 3}\' --simulate-acceptance-rate'


def test_guesses_that_are_right_make_one_client_faster_and_a_crowd_not() -> None:
    plain, half, all_right = (run_of(line)["tpot_ms"]["mean"] for line in ("", f"{EAGLE} 0.7", f"{EAGLE} 1"))
    assert 3.5 * all_right < 1.5 * plain
    assert all_right < half < 0.6 * plain
    assert run_of(f"{EAGLE} 0")["tpot_ms"]["mean"] > plain
    crowd = {"concurrency": 256, "input_tokens": 64}
    gain = run_of("", **crowd)["tpot_ms"]["mean"] / run_of(f"{EAGLE} 0.7", **crowd)["tpot_ms"]["mean"]
    assert gain < 0.8 * plain / half


def test_a_crowds_prefill_is_not_made_faster_by_guesses() -> None:
    crowd = {"concurrency": 128, "input_tokens": 1024, "output_tokens": 8}
    plain, guessed = (run_of(line, **crowd)["completed_rps"] for line in ("", f"{EAGLE} 0.7"))
    assert guessed == pytest.approx(plain, rel=0.15)


def test_an_acceptance_rate_needs_speculation() -> None:
    with pytest.raises(UsageError, match="the engine does not speculate"):
        run_of("--simulate-acceptance-rate 0.7")
    with pytest.raises(UsageError, match="from 0 to 1"):
        run_of(f"{EAGLE} 1.5")


def simulated_by_line(*arguments: str | Path) -> Any:
    """The verb in this process, which is a hundred times faster than in one of its own."""
    return CliRunner().invoke(command, [*map(str, arguments)][1:], standalone_mode=False, catch_exceptions=False)


def test_prefixes_turns_and_data_sets_of_the_load_test(tmp_path: Path) -> None:
    base = words("simulate --gpu h200 --model llama-3-8b --concurrency 8 --duration 5 --json --output-tokens 32")
    own = words("--input-tokens 256 --shared-prefix-tokens 3000 --engine-args")
    shared, alone = (
        json.loads(simulated_by_line(*base, *own, f"--max-model-len 8192 {line}").stdout)
        for line in ("", "--no-enable-prefix-caching")
    )
    assert 2 * shared["ttft_ms"]["p50"] < alone["ttft_ms"]["p50"]
    (tmp_path / "prompts.jsonl").write_text(
        json.dumps({"turns": ["word " * 400, "and then?"], "output_tokens": 16})
        + "\n"
        + json.dumps({"messages": [{"role": "user", "content": [{"type": "text", "text": "word " * 100}]}]})
    )
    line = words("simulate --gpu h200 --model llama-3-8b --rate 5 --duration 5 --json --dataset")
    found = json.loads(simulated_by_line(*line, tmp_path / "prompts.jsonl").stdout)
    assert found["requests"] == 25
    with pytest.raises(UsageError, match="exclude each other"):
        simulated_by_line(*line, tmp_path / "prompts.jsonl", "--workload", "chat")


def test_objectives_decide_the_exit_status() -> None:
    line = words("simulate --gpu h200 --model llama-3-8b --rate 5 --duration 5 --workload chat --objective")
    met = simulated_by_line(*line, "ttft_p95_ms=500")
    assert met.return_value == 0
    assert "MET ttft_p95_ms" in met.stdout
    with pytest.raises(UsageError, match="goodput needs to know"):
        simulated_by_line(*line, "goodput=0.5")
    missed = simulated_by_line(
        *line, "tpot_p95_ms=1", "--objective", "goodput=0.5", "--objective", "e2e_ms=1", "--json"
    )
    assert missed.return_value == 1
    assert [one["met"] for one in json.loads(missed.stdout)["objectives"]] == [False, False]


def test_requests_that_exceed_the_context_count_as_failed() -> None:
    line = "simulate --gpu h200 --model llama-3-8b --rate 5 --duration 5 --workload agent --objective error_rate=0.01"
    done = simulated_by_line(*words(line))
    assert done.return_value == 1
    assert "exceed the context" in done.stderr
    assert "MISSED error_rate" in done.stdout


def test_what_no_profile_describes_is_refused() -> None:
    with pytest.raises(UsageError, match="the speed of inferentia2 is not known"):
        simulated_by_line(*words("simulate --gpu inferentia2 --model llama-3-8b --rate 1"))
