"""What an account of memory does not know: margins against public logs and against H200s, and the verdict."""

from typing import Any

import pytest

from drydock.engines.catalogue import find_gpu, find_model
from drydock.engines.engine_args import parse_line
from drydock.engines.gpu_memory import MemoryFit, memory_fit
from drydock.engines.memory_margins import margin_data


def fit(model: str, gpu: str, line: str = "") -> MemoryFit:
    return memory_fit(find_gpu(gpu), find_model(model), parse_line(line))


@pytest.mark.parametrize("log", margin_data()["logs"], ids=lambda log: f"{log['model']} {log['args']}")
def test_public_logs_lie_within_the_margin(log: dict[str, Any]) -> None:
    found = fit(log["model"], log["gpu"], log["args"])
    assert found.available_kv_gib - found.margin_gib <= log["kv_gib"] <= found.available_kv_gib
    if log["weights_gib"]:
        assert found.weights_gib == pytest.approx(log["weights_gib"], rel=0.002)
    if not log["starts"]:
        assert found.verdict != "starts"


@pytest.mark.parametrize(
    ("model", "line", "tokens"),
    [
        ("llama-3-8b", "--max-model-len 8192", 897_280),
        ("llama-3-8b", "--max-model-len 8192 --max-num-batched-tokens 16384", 891_760),
        ("llama-3-8b", "--max-model-len 8192 --max-num-batched-tokens 2048 --max-num-seqs 256", 898_048),
        ("llama-3.1-8b", "--max-model-len 32768", 896_912),
        ("llama-3-8b", "--max-model-len 8192 -tp 2", 1_926_064),
        ("llama-3-70b", "--max-model-len 8192 -tp 2", 385_680),
        ("qwen3-32b", "", 257_856),
    ],
)
def test_first_starts_of_dense_models_on_h200_lie_within_the_margin(model: str, line: str, tokens: int) -> None:
    """First starts on H200s with vLLM 0.26, two GPUs over NVLink, November 2026."""
    found = fit(model, "h200", line)
    assert found.sure_tokens <= tokens <= found.tokens * 1.002
    assert found.sure_tokens == pytest.approx(tokens, rel=0.006)
    assert found.verdict == "starts"


@pytest.mark.parametrize(
    ("model", "line", "measured"),
    [("llama-3-8b", "", 0.98), ("qwen3-32b", "", 1.87), ("llama-3-8b", "-tp 2", 0.72), ("llama-3-70b", "-tp 2", 1.52)],
)
def test_memory_of_cuda_graphs_follows_the_model(model: str, line: str, measured: float) -> None:
    assert fit(model, "h200", line).cuda_graphs_gib == pytest.approx(measured, rel=0.12)
    assert fit(model, "h200", f"{line} --enforce-eager").cuda_graphs_gib == 0


def test_a_model_that_was_reported_not_to_start_is_never_certain() -> None:
    found = fit("gpt-oss-120b", "h100", "--max-model-len 8192")
    assert found.verdict == "uncertain"
    assert "https://github.com/vllm-project/vllm/issues/23278" in found.doubt


@pytest.mark.parametrize(
    ("model", "gpu", "line", "verdict"),
    [
        ("gpt-oss-20b", "l4", "--max-model-len 8192", "uncertain"),
        ("gpt-oss-120b", "h200", "--max-model-len 8192", "starts"),
        ("gemma-3-12b", "l40s", "--max-model-len 8192", "starts"),
        ("gemma-3-4b", "l4", "--max-model-len 131072 --gpu-memory-utilization 0.7", "uncertain"),
        ("qwen3-32b", "l4", "--tensor-parallel-size 4 --max-model-len 40960", "starts"),
        ("llama-3.1-8b", "l4", "--max-model-len 32768", "uncertain"),
        ("llama-3.1-8b", "l4", "--max-model-len 32768 --enforce-eager", "starts"),
        ("llama-3.1-8b", "l4", "--max-model-len 131072", "does not start"),
        ("llama-3.1-8b", "l4", "--max-model-len 8192 --kv-cache-memory-bytes 30G", "does not start"),
        ("llama-3.1-8b", "l4", "--max-model-len 8192 --kv-cache-memory-bytes 6G", "uncertain"),
        ("llama-3.1-8b", "l4", "--max-model-len 8192 --kv-cache-memory-bytes 2G", "starts"),
        ("llama-3.1-8b", "l4", "--max-model-len 8192 --num-gpu-blocks-override 20000", "does not start"),
    ],
)
def test_the_verdict_is_uncertain_where_only_the_margin_decides(model: str, gpu: str, line: str, verdict: str) -> None:
    found = fit(model, gpu, line)
    assert found.verdict == verdict
    assert bool(found.doubt) == (verdict == "uncertain")
