"""What speculative decoding takes of a GPU's memory."""

import json
from typing import Any

import pytest

from drydock.engines.catalogue import find_gpu, find_model
from drydock.engines.engine_args import parse_line
from drydock.engines.gpu_memory import MemoryFit, memory_fit


def fit_of(config: dict[str, Any] | None, model: str = "llama-3.1-70b", more: str = "") -> MemoryFit:
    given = f"--speculative-config '{json.dumps(config)}'" if config else ""
    args = parse_line(f"--model {model} --tensor-parallel-size 4 --max-model-len 8192 {given} {more}")
    return memory_fit(find_gpu("h100"), find_model(model), args)


def test_a_draft_model_takes_its_weights_and_its_kv_cache() -> None:
    plain, drafted = fit_of(None), fit_of({"model": "meta-llama/Llama-3.1-8B-Instruct", "num_speculative_tokens": 3})
    assert drafted.weights_gib - plain.weights_gib == pytest.approx(14.96 / 4, rel=0.01)
    assert drafted.block_bytes / plain.block_bytes == pytest.approx(1 + 32 / 80)
    assert drafted.margin_gib == plain.margin_gib


def test_n_grams_take_nothing() -> None:
    assert fit_of({"method": "ngram", "num_speculative_tokens": 4, "prompt_lookup_max": 4}) == fit_of(None)


@pytest.mark.parametrize("method", ["eagle", "eagle3", "mtp", "deepseek_mtp"])
def test_heads_are_about_a_layer_with_a_margin(method: str) -> None:
    plain, drafted = fit_of(None), fit_of({"method": method, "model": "acme/head", "num_speculative_tokens": 2})
    assert plain.weights_gib / 80 < drafted.weights_gib - plain.weights_gib < plain.weights_gib / 20
    assert drafted.margin_gib > plain.margin_gib


def test_a_draft_of_unknown_shape_is_guessed_by_its_name_or_left_uncertain() -> None:
    plain = fit_of(None)
    named = fit_of({"model": "acme/draft-1b", "num_speculative_tokens": 2})
    assert named.weights_gib - plain.weights_gib == pytest.approx(1e9 * 2 / 2**30 / 4)
    assert fit_of({"model": "acme/draft", "num_speculative_tokens": 2}).margin_gib == plain.margin_gib + 0.5


def test_an_engine_that_starts_only_without_its_draft_does_not_start() -> None:
    full = "--gpu-memory-utilization 0.48"
    assert not fit_of(None, more=full).error
    assert fit_of({"model": "meta-llama/Llama-3.1-8B-Instruct", "num_speculative_tokens": 3}, more=full).error
