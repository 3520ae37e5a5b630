"""`drydock plan` by its command line: memory, choices by objectives, frontier, exit status."""

import csv
import json
import re
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

pytestmark = pytest.mark.programs

GIB = 2**30
VALUES = Path(__file__).parents[2] / "values"


def plan(*arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "drydock", "plan", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done


def planned(*arguments: str, status: int = 0) -> Any:
    return json.loads(plan(*arguments, "--json", status=status).stdout)


MEASURED = [
    row
    for row in csv.DictReader(
        (files("drydock") / "data/vllm/measurements/vllm-0.26-h200-memory.csv").read_text().splitlines()
    )
    if row["ok"] == "True" and row["compile_cache"] != "cold" and "8B" in row["model"] and "none" in row["quantization"]
]


@pytest.mark.parametrize("line", MEASURED[:3], ids=lambda line: line["case"])
def test_the_memory_table_has_the_measured_lines(line: dict[str, str]) -> None:
    name = "llama-3.1-8b" if "131072" in line["model"] else "llama-3-8b"
    arguments = f"--max-model-len {line['max_model_len']} --gpu-memory-utilization {line['gpu_memory_utilization']}"
    for column in ("max_num_seqs", "max_num_batched_tokens"):
        if "default" not in line[column]:
            arguments += f" --{column.replace('_', '-')} {line[column]}"
    (found,) = planned(name, "--gpu", "h200", "--tensor-parallel", "1", "--engine-args", arguments)
    (row,) = found["memory"]
    assert row["starts"]
    assert row["weights_gib"] == pytest.approx(float(line["weights_gib"]), abs=0.04)
    assert row["activation_gib"] == pytest.approx(float(line["peak_activation_gib"]), abs=0.035)
    assert row["kv_cache_gib"] == pytest.approx(float(line["available_kv_gib"]), abs=0.03)
    assert row["kv_cache_tokens"] == pytest.approx(16 * int(line["num_gpu_blocks"]), rel=5e-4)
    assert row["max_concurrency"] == pytest.approx(float(line["max_concurrency_x"]), rel=2e-3)
    assert row["kv_bytes_per_token"] == 2 * 32 * 8 * 128 * 2
    assert row["instance_families"] == ["p5e", "p5en"]


def test_memory_by_gpu_parallelism_and_quantization() -> None:
    (whole,) = planned("meta-llama/Llama-3.3-70B-Instruct", "--engine-args", "--max-model-len 8192")
    rows = {(row["gpu"], row["tensor_parallel_size"]): row for row in whole["memory"]}
    assert not rows["h100", 1]["starts"]
    assert "OUT OF MEMORY" in rows["h100", 1]["error"].upper()
    assert rows["h100", 4]["starts"]
    assert rows["h100", 4]["weights_gib"] == pytest.approx(whole["weights_gib"]["bfloat16"] / 4, rel=0.01)
    assert whole["weights_gib"]["fp8"] < 0.55 * whole["weights_gib"]["bfloat16"]
    (eight,) = planned("llama-3.3-70b", "--gpu", "h200", "--engine-args", "--max-model-len 8192 --quantization fp8")
    assert eight["memory"][0]["starts"]
    assert eight["memory"][0]["weights_gib"] == pytest.approx(whole["weights_gib"]["fp8"], abs=0.1)


def test_a_model_that_starts_nowhere_is_exit_status_one() -> None:
    (found,) = planned("llama-3.1-405b", "--gpu", "l4", "--engine-args", "--max-model-len 8192", status=1)
    assert not any(row["starts"] for row in found["memory"])


LOAD = ("--engine-args", "--max-model-len 8192", "--workload", "chat", "--gpu", "l4", "--gpu", "l40s", "--gpu", "h100")


def test_choices_are_the_cheapest_that_meet_the_objectives(tmp_path: Path) -> None:
    page = tmp_path / "plan.html"
    objectives = ("--objective", "ttft_p95_ms=400", "--objective", "itl_p99_ms=150")
    (found,) = planned("llama-3.1-8b", "--rate", "12", *LOAD, *objectives, "--html", str(page))
    choices = {each["instance_type"]: each for each in found["choices"]}
    costs = [each["dollars_per_hour"]["on-demand"] for each in found["choices"] if each["meets_objectives"]]
    assert costs == sorted(costs)
    assert found["cheapest"] == found["choices"][0]["instance_type"]
    for each in found["choices"]:
        assert each["measures"]["ttft_p95_ms"] <= 400
        assert each["measures"]["itl_p99_ms"] <= 150
        assert each["rate_per_replica"] == pytest.approx(12 / each["replicas"])
        assert each["nodes"] >= each["replicas"] * each["tensor_parallel_size"] / each["gpus"]
    small, large = choices["g6.xlarge"], choices["p5.4xlarge"]
    assert small["replicas"] > large["replicas"] == 1
    assert small["dollars_per_hour"]["on-demand"] == pytest.approx(0.8048 * small["nodes"])
    assert small["dollars_per_hour"]["spot"] == pytest.approx(0.5 * 0.8048 * small["nodes"])
    tokens = 3600 * 12 * (161 + 64 + 338) / 1e6
    expected = small["dollars_per_hour"]["on-demand"] / tokens
    assert small["dollars_per_million_tokens"]["on-demand"] == pytest.approx(expected, rel=0.1)
    times = [choices[name]["measures"]["ttft_p95_ms"] for name in found["frontier"]]
    assert found["frontier"][0] == found["cheapest"]
    assert times == sorted(times, reverse=True)
    text = page.read_text()
    assert not re.search(r"<script|https?://", text.replace("http://www.w3.org", ""))
    svg = re.search(r'<svg class="plot".*?</svg>', text, re.DOTALL)
    assert svg
    drawn = ElementTree.fromstring(svg[0]).iter("circle")
    assert len(list(drawn)) == len(costs)


def test_stricter_objectives_never_need_fewer_replicas() -> None:
    def replicas(milliseconds: int) -> int:
        (found,) = planned(
            *("llama-3.1-8b", "--rate", "12", "--instance-types", "g6.xlarge", *LOAD[:4]),
            *("--objective", f"itl_p99_ms={milliseconds}"),
        )
        return int(found["choices"][0]["replicas"])

    assert replicas(130) >= replicas(200) >= replicas(1000) >= 1


def test_objectives_that_nothing_meets_are_exit_status_one_with_the_reason() -> None:
    done = plan("llama-3.1-8b", "--rate", "1", *LOAD, "--objective", "ttft_p50_ms=1", status=1)
    assert "No allowed instance type meets the objectives" in done.stdout
    assert re.search(r"g6.xlarge: with one request at a time ttft_p50_ms is [\d.]+, more than 1", done.stdout)


def test_shares_of_the_price_are_the_users_and_are_named() -> None:
    arguments = ("llama-3.1-8b", "--rate", "1", *LOAD, "--instance-types", "g6.xlarge")
    (found,) = planned(*arguments, "--spot-price-share", "0.3", "--reserved-price-share", "0.6")
    dollars = found["choices"][0]["dollars_per_hour"]
    assert dollars["spot"] == pytest.approx(0.3 * dollars["on-demand"])
    assert dollars["reserved"] == pytest.approx(0.6 * dollars["on-demand"])
    told = " ".join(found["assumptions"])
    assert "Spot costs 0.3" in told
    assert "karpenter-provider-aws v1." in told


def test_a_start_that_was_not_measured_is_uncertain() -> None:
    (found,) = planned(
        "gpt-oss-120b", "--gpu", "h100", "--tensor-parallel", "1", "--engine-args", "--max-model-len 8192"
    )
    (row,) = found["memory"]
    assert (row["starts"], row["verdict"]) == (True, "uncertain")
    assert "vLLM 0.10.1 did not start there" in row["doubt"]
    line = ("gpt-oss-120b", "--gpu", "h100", "--tensor-parallel", "1", "--engine-args", "--max-model-len 8192")
    assert "(uncertain)" in plan(*line).stdout
    assert "Whether gpt-oss-120b starts on p5." in plan(*line, "--rate", "0.1").stdout


def test_a_model_that_does_not_start_says_why() -> None:
    (found,) = planned("llama-3.1-8b", "--gpu", "l4", "--tensor-parallel", "1", status=1)
    (row,) = found["memory"]
    assert row["reason"].startswith("a request of 131,072 tokens does not fit: longest context ")
    assert found["memory_cautions"] == []
    done = plan("gpt-oss-20b", "--gpu", "t4", status=1)
    assert "mixtures of experts were not measured" in done.stdout
    assert "t4 x 1, 2, 4, 8 does not start: mxfp4 needs compute capability 8.0, and t4 has 7.5" in done.stdout


def test_the_total_of_an_environment_names_what_is_left_out() -> None:
    unknown = ("--set", "vllm.models.own.source.huggingFace.id=acme/own", "--set", "vllm.models.own.source.size=15Gi")
    presets = ("llama-3-1-8b-nim", "qwen3-1.7b-inferentia2")
    files = [word for name in presets for word in ("-f", str(VALUES / f"models/{name}.yaml"))]
    done = plan("dev", "--rate", "2", *unknown, *files)
    last = done.stdout.rstrip().rpartition("\n")[2]
    assert re.match(
        r"All of 1 model at 2 requests/s each: \$[\d.]+ an hour; left out: own \(its model is not known\)", last
    )
    assert (
        "meta/llama-3.1-8b-instruct (a NIM chooses its profile when it starts, taken for 16-bit weights on 1 GPU)"
        in last
    )
    assert "qwen3-1.7b (aws.amazon.com/neuron" in last
    assert "The values have 1, this plan" in done.stdout
    assert "None of them is spare" in done.stdout


def test_a_model_of_ones_own_is_planned_by_its_config(tmp_path: Path) -> None:
    (known,) = planned("llama-3-8b", "--gpu", "l4", "--engine-args", "--max-model-len 8192")
    config = {
        "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
        "num_key_value_heads": 8, "vocab_size": 128256, "max_position_embeddings": 8192, "torch_dtype": "bfloat16",
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    (own,) = planned(str(tmp_path), "--gpu", "l4", "--engine-args", "--max-model-len 8192")
    assert own["memory"][0]["kv_cache_tokens"] == pytest.approx(known["memory"][0]["kv_cache_tokens"], rel=0.01)


def test_an_environment_is_planned_on_what_its_pools_may_buy(tmp_path: Path) -> None:
    file = tmp_path / "objectives.yaml"
    file.write_text("objectives:\n  ttft_p95_ms: 800\n  itl_p99_ms: 200\n  completed_rps: 2\n")
    (found,) = planned("dev", "--rate", "2", "--objectives", str(file))
    assert found["name"] == "llama-3-8b"
    assert {each["gpu"] for each in found["choices"]} == {"a10g"}
    assert found["objectives"] == {"ttft_p95_ms": 800, "itl_p99_ms": 200}
    assert all(row["max_model_len"] == 8192 for row in found["memory"])
    (own,) = planned("dev", "--rate", "2")
    assert own["objectives"] == {"ttft_p95_ms": 2000, "tpot_p95_ms": 50, "error_rate": 0.01}


def test_an_environment_is_planned_for_the_load_that_its_file_states(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for folder in ("charts", "ci"):
        (tmp_path / folder).symlink_to(VALUES.parent / folder)
    shutil.copytree(VALUES, tmp_path / "values")
    with (tmp_path / "values/environments/dev.yaml").open("a") as file:
        file.write("load:\n  llama-3-8b: {rate: 3, workload: rag}\n")
    monkeypatch.setenv("DRYDOCK_PROJECT", str(tmp_path))
    (stated,) = planned("dev")
    assert (stated["rate"], stated["workload"]) == (3, "rag")
    (given,) = planned("dev", "--rate", "2", "--workload", "chat")
    assert (given["rate"], given["workload"]) == (2, "chat")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("llama-9",), "is not in the catalogue"),
        ((), "name a model or an environment"),
        (("llama-3-8b", "--rate", "0"), "--rate must be above 0"),
        (("llama-3-8b", "--rate", "1", "--spot-price-share", "nan"), "'nan' is not a number"),
        (("llama-3-8b", "--html", "/nowhere/plan.html"), "mkdir -p /nowhere"),
        (("llama-3-8b", "--rate", "1", "--workload", "poetry"), "there is no workload 'poetry'"),
        (("llama-3-8b", "--rate", "1", "--objective", "ttft_p96_ms=5"), "ttft_p96_ms: unknown objective"),
        (("llama-3-8b", "--rate", "1", "--objective", "ttft_p95_ms=soon"), "not NAME=NUMBER"),
        (("llama-3-8b", "--rate", "1", "--objective", "completed_rps=5"), "has no completed_rps to reach"),
        (("llama-3-8b", "--instance-types", "m7i.large"), "with a GPU that the catalogue knows"),
        (("llama-3-8b", "--gpu", "v9"), "is not in the catalogue"),
        (("llama-3-8b", "--tensor-parallel", "3"), "cannot be divided by a tensor parallelism of 3"),
        (("llama-3-8b", "--trace", "office-day", "--min-replicas", "5", "--max-replicas", "2"), "--min-replicas 5 is"),
        (("llama-3-8b", "--rate", "1", "--objectives", "/nowhere.yaml"), "cannot read the objectives"),
        (("llama-3-8b", "--region", "moon-1"), "unknown AWS region"),
        (("llama-3-8b", "--engine-args", "--max-model-length 5"), "unrecognized arguments"),
        (("llama-3.1-8b", "--set", "vllm.models.a.replicas=2"), "-f and --set are for an ENVIRONMENT"),
        (("llama-3-8b", "--objective", "ttft_p95_ms=5"), "--objective: nothing uses it without a rate"),
        (("dev", "--workload", "rag", "--capacity-type", "spot"), "--workload, --capacity-type: nothing uses it"),
        (("llama-3-8b", "--rate", "1", "--max-replicas", "5"), "--max-replicas: nothing uses it without a day"),
        (("dev", "--region", "eu-central-1"), "--region: the Region of an environment is that of its values"),
        (("dev", "--engine-args", "--max-model-len 8192"), "--engine-args are for a MODEL"),
    ],
)
def test_wrong_input_is_told_with_a_way_out(arguments: tuple[str, ...], words: str) -> None:
    command = [sys.executable, "-m", "drydock", "plan", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


MEASUREMENTS = files("drydock") / "data/vllm/measurements/vllm-0.11-h100-llama3.1-8b-open-loop.csv"
ON_H100 = ("llama-3.1-8b", "--gpu", "h100", "--tensor-parallel", "1", "--engine-args", "--max-model-len 512")


def test_measured_figures_replace_the_simulated_ones(tmp_path: Path) -> None:
    objective = ("--objective", "ttft_p99_ms=200", "--rate", "150")
    page = tmp_path / "plan.html"
    (found,) = planned(*ON_H100, *objective, "--from-loadtest", str(MEASUREMENTS), "--html", str(page))
    assert "Meets the objectives" in page.read_text()
    choice = found["choices"][0]
    assert choice["replicas"] == 2  # 92.22 requests/s is the highest measured rate below 200 ms
    assert choice["rate_per_replica"] == pytest.approx(92.22)
    assert choice["measures"]["ttft_p99_ms"] == pytest.approx(181.83)
    assert choice["origin"] == str(MEASUREMENTS)
    tokens = 2 * (5693.9 + 91.36 * 204.1) * 3600 / 1e6
    expected = choice["dollars_per_hour"]["on-demand"] / tokens
    assert choice["dollars_per_million_tokens"]["on-demand"] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--objective", "itl_p99_ms=50"), "has no itl_p99_ms"),
        (("--tensor-parallel", "2"), "may get 1 kinds of GPU and 2 tensor parallelisms"),
    ],
)
def test_load_tests_that_do_not_tell_are_refused(more: tuple[str, ...], words: str) -> None:
    objective = () if "--objective" in more else ("--objective", "ttft_p99_ms=200")
    done = plan(*ON_H100, "--rate", "150", *more, *objective, "--from-loadtest", str(MEASUREMENTS), status=2)
    assert words in done.stderr


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    done = plan(*ON_H100, "--rate", "9", "--from-loadtest", str(tmp_path), status=2)
    assert "holds no run of a load test" in done.stderr
