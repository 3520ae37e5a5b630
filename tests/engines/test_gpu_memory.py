"""Memory as vLLM accounts for it, against the engine's own lines on one H200."""

import csv
from importlib.resources import files

import pytest

from drydock.engines.catalogue import find_gpu, find_model, gpus, models
from drydock.engines.engine_args import parse_line
from drydock.engines.gpu_memory import DoesNotFitError, MemoryFit, memory_fit
from drydock.errors import UsageError
from drydock.simulator.profile import setup

_FILE = files("drydock") / "data/vllm/measurements/vllm-0.26-h200-memory.csv"
ROWS = list(csv.DictReader(_FILE.read_text().splitlines()))
STARTED = [row for row in ROWS if row["ok"] == "True" and row["compile_cache"] != "cold"]
REFUSED = [row for row in ROWS if row["ok"] == "False"]


def fit(row: dict[str, str]) -> MemoryFit:
    name = "llama-3-8b"
    if "131072" in row["model"]:
        name = "llama-3.1-8b"
    if "70B" in row["model"]:
        name = "llama-3-70b"
    if "123B" in row["model"]:
        name = "mistral-large-123b"
    line = f"--max-model-len {row['max_model_len']} --gpu-memory-utilization {row['gpu_memory_utilization']}"
    for column, flag in (("max_num_seqs", "--max-num-seqs"), ("max_num_batched_tokens", "--max-num-batched-tokens")):
        if "default" not in row[column]:
            line += f" {flag} {row[column]}"
    if row["quantization"] == "fp8":
        line += " --quantization fp8"
    busy = 11.08 if "busy" in row["case"] else None
    return memory_fit(find_gpu("h200"), find_model(name), parse_line(line), free_gib=busy)


@pytest.mark.parametrize("row", STARTED, ids=lambda row: row["case"])
def test_blocks_are_those_that_the_engine_reported(row: dict[str, str]) -> None:
    found = fit(row)
    assert found.error == ""
    assert found.weights_gib == pytest.approx(float(row["weights_gib"]), abs=0.04)
    assert found.activation_gib == pytest.approx(float(row["peak_activation_gib"]), abs=0.035)
    assert found.available_kv_gib == pytest.approx(float(row["available_kv_gib"]), abs=0.03)
    assert found.blocks == pytest.approx(int(row["num_gpu_blocks"]), rel=5e-4)
    assert found.max_concurrency == pytest.approx(float(row["max_concurrency_x"]), rel=2e-3)


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row["case"])
def test_what_the_engine_refused_is_refused_in_its_words(row: dict[str, str]) -> None:
    said, real = fit(row).error, row["error"]
    first = min(real.index(mark) for mark in (". ", " (", "; ") if mark in real)
    assert said[:first] == real[:first]


def test_published_parameter_counts_follow_from_the_shapes() -> None:
    for model in models().values():
        counted = model.linear_parameters + model.embedding_parameters * (1 if model.tied else 2) + 1e9 * model.encoder
        assert counted == pytest.approx(model.parameters * 1e9, rel=0.015), model.name


def test_tensor_parallelism_splits_weights_and_cache() -> None:
    one = memory_fit(find_gpu("h200"), find_model("qwen3-32b"), parse_line(""))
    two = memory_fit(find_gpu("h200"), find_model("qwen3-32b"), parse_line("-tp 2"))
    assert two.weights_gib == pytest.approx(one.weights_gib / 2, rel=0.01)
    assert two.tokens > 2 * one.tokens


def test_adapters_take_room_and_offloaded_weights_give_it() -> None:
    plain, adapters, offloaded = (
        memory_fit(find_gpu("l4"), find_model("llama-3.1-8b"), parse_line(f"--max-model-len 4096 {arguments}"))
        for arguments in ("", "--enable-lora --max-loras 4 --max-lora-rank 32", "--cpu-offload-gb 5")
    )
    elements = 4 * 32 * 32 * (2 * (4096 + 4096) + 2 * (4096 + 1024) + 3 * (4096 + 14336))
    assert plain.available_kv_gib - adapters.available_kv_gib == pytest.approx(2 * elements / 2**30)
    assert offloaded.available_kv_gib - plain.available_kv_gib == pytest.approx(5)


@pytest.mark.parametrize(
    ("gpu", "model", "arguments", "words"),
    [
        ("l4", "llama-3.1-70b", "", "CUDA out of memory"),
        ("h100", "llama-3.1-8b", "--max-num-seqs 512 --max-num-batched-tokens 256", "must be greater than or equal"),
        ("h100", "llama-3.1-8b", "--tensor-parallel-size 3", r"heads \(32\) must be divisible by tensor parallel size"),
        ("t4", "llama-3.2-1b", "--dtype bfloat16", "Bfloat16 is only supported"),
        ("t4", "llama-3.2-1b", "--gpu-memory-utilization 0.1", "No available memory for the cache blocks"),
    ],
)
def test_what_cannot_start_says_why_and_what_to_do(gpu: str, model: str, arguments: str, words: str) -> None:
    with pytest.raises((DoesNotFitError, UsageError), match=words) as raised:
        setup(find_gpu(gpu), find_model(model), parse_line(arguments))
    assert raised.value.remedy


def test_names_are_found_however_they_are_written() -> None:
    assert find_gpu("NVIDIA H100 80GB HBM3").name == "h100"
    assert find_gpu("L40S").name == "l40s"
    assert find_model("meta-llama/Llama-3.1-8B-Instruct").name == "llama-3.1-8b"
    assert find_model("/models/Llama-3.1-8B-Instruct/").name == "llama-3.1-8b"
    with pytest.raises(UsageError, match="'h1000' is not in the catalogue") as raised:
        find_gpu("h1000")
    assert "did you mean h100?" in raised.value.remedy
    assert all(gpu.source and gpu.instances for gpu in gpus().values())
