"""What vLLM refuses for reasons other than memory, by the public reports of such starts."""

import pytest

from drydock.engines.catalogue import checkpoint_of, find_gpu, find_model, weights_by_name
from drydock.engines.engine_args import Weights, parse_line
from drydock.engines.gpu_memory import memory_fit
from drydock.engines.start_rules import refusals


def words(model: str, line: str, gpu: str | None = None, **known: bool) -> list[str]:
    found = refusals(
        find_model(model.rpartition(" as ")[0] or model),
        parse_line(line),
        find_gpu(gpu) if gpu else None,
        checkpoint=checkpoint_of(model.rpartition(" as ")[2]),
        **known,
    )
    return [each.words for each in found]


@pytest.mark.parametrize(
    ("model", "line", "gpu", "says"),
    [
        ("phi-4", "-tp 4", None, "10 is not divisible by 4"),
        (
            "phi-4",
            "-tp 16",
            None,
            "Total number of attention heads (40) must be divisible by tensor parallel size (16).",
        ),
        ("qwen2.5-0.5b", "-tp 4", None, "Total number of attention heads (14) must be divisible"),
        (
            "llama-3-8b",
            "--max-model-len 32768",
            None,
            "User-specified max_model_len (32768) is greater than the derived",
        ),
        ("llama-3-8b", "--quantization awq", None, "Cannot find the config file for awq"),
        ("llama-3-8b", "--quantization gptq_marlin", None, "Cannot find the config file for gptq_marlin"),
        ("llama-3-8b as x/Llama-3-8B-AWQ", "--quantization fp8", None, "(awq) does not match the quantization method"),
        ("deepseek-v3", "--quantization awq", None, "(fp8) does not match"),
        ("llama-3-8b", "--enable-expert-parallel", None, "Number of experts in the model must be greater than 0"),
        (
            "qwen3-30b-a3b as Qwen/Qwen3-30B-A3B-FP8",
            "-tp 4",
            None,
            "= 192 is not divisible by weight quantization block_n",
        ),
        ("llama-3-8b", "--enable-lora --max-lora-rank 24", None, "invalid choice: 24"),
        (
            "llama-3-8b",
            "--enable-lora --max-loras 4 --max-cpu-loras 2",
            None,
            "max_cpu_loras (2) must be >= max_loras (4)",
        ),
        ("llama-3-8b", "--dtype int4", None, "Unknown dtype: 'int4'"),
        ("llama-3-8b", "--kv-cache-dtype int3", None, "invalid choice: 'int3'"),
        ("llama-3-8b", "--block-size 24", None, "block_size 24 not supported"),
        (
            "llama-3-8b",
            "--dtype bfloat16",
            "t4",
            "Bfloat16 is only supported on GPUs with compute capability of at least",
        ),
        ("gpt-oss-20b", "", "t4", "Minimum capability: 80. Current capability: 75."),
        ("gpt-oss-20b", "--dtype float16", "h100", "torch.float16 is not supported for quantization method mxfp4"),
    ],
)
def test_what_is_refused_is_said_in_the_words_of_vllm(model: str, line: str, gpu: str | None, says: str) -> None:
    assert any(says in each for each in words(model, line, gpu))


@pytest.mark.parametrize(
    ("model", "line", "gpu"),
    [
        ("phi-4", "-tp 2", "h100"),
        ("llama-3-8b", "-tp 16", None),
        ("llama-3-8b", "--max-model-len 8192", "l4"),
        ("llama-3-8b", "--max-model-len 32768 --hf-overrides {}", "l4"),
        ("llama-3-8b", "--max-model-len auto", "l4"),
        ("llama-3-8b", "--quantization fp8", "l4"),
        ("llama-3-8b", "--quantization bitsandbytes", "t4"),
        ("llama-3-8b as x/Llama-3-8B-AWQ", "--quantization awq_marlin", "l4"),
        ("deepseek-v3", "-tp 8", "h200"),
        ("deepseek-v3", "-tp 16 --enable-expert-parallel", "h200"),
        ("qwen3-30b-a3b as Qwen/Qwen3-30B-A3B-FP8", "-tp 4 --enable-expert-parallel", "h100"),
        ("qwen3-30b-a3b as Qwen/Qwen3-30B-A3B-FP8", "-tp 2", "h100"),
        ("gpt-oss-20b", "", "a10g"),
        ("llama-3-8b", "--enable-lora --max-lora-rank 64", "l4"),
    ],
)
def test_what_starts_is_not_refused(model: str, line: str, gpu: str | None) -> None:
    if "hf-overrides" in line:
        line = line.replace("{}", '\'{"rope_scaling": {"rope_type": "yarn", "factor": 4}}\'')
    assert words(model, line, gpu) == []


def test_an_allowed_context_and_unknown_weights_are_not_refused() -> None:
    assert words("llama-3-8b", "--max-model-len 32768", long_allowed=True) == []
    assert words("llama-3-8b", "--quantization awq", known_weights=False) == []
    assert words("llama-3-8b", "--max-model-len 32768", known_weights=False) == []


def test_every_remedy_is_legal_itself() -> None:
    for line in ("-tp 4", "-tp 16"):
        (refusal,) = refusals(find_model("phi-4"), parse_line(line))
        sizes = [int(each) for each in refusal.remedy.rstrip(".").partition("one of ")[2].split(", ")]
        for size in sizes:
            assert words("phi-4", f"-tp {size}") == []
    (refusal,) = refusals(find_model("llama-3-8b"), parse_line("--max-model-len 9000"))
    assert "8,192" in refusal.remedy


def test_a_refusal_is_why_an_engine_does_not_start() -> None:
    args = parse_line("--quantization fp8").changed(weights=Weights("awq"))
    fit = memory_fit(find_gpu("h100"), find_model("llama-3-8b"), args)
    assert fit.error.startswith("Quantization method specified in the model config (awq)")
    assert fit.why == "its weights are quantized by awq, not by fp8"


@pytest.mark.parametrize(
    ("model", "line", "gpu", "why"),
    [
        ("qwen3-32b", "--max-model-len 8192", "l4", "weights of 6"),
        ("llama-3.1-8b", "", "l4", "a request of 131,072 tokens does not fit: longest context "),
        ("llama-3-8b", "--max-model-len 8192", "l4", ""),
    ],
)
def test_the_reason_tells_weights_from_context(model: str, line: str, gpu: str, why: str) -> None:
    fit = memory_fit(find_gpu(gpu), find_model(model), parse_line(line))
    assert fit.why.startswith(why)
    assert bool(fit.why) == bool(fit.error) == bool(why)


def test_a_context_as_long_as_fits_starts() -> None:
    fit = memory_fit(find_gpu("l4"), find_model("llama-3.1-8b"), parse_line("--max-model-len auto"))
    assert fit.error == ""
    assert 8192 < fit.max_model_len == fit.tokens < 131072


def test_keys_in_32_bits_take_twice_the_cache() -> None:
    half, full = (find_model("llama-3-8b").kv_bytes("auto", dtype) for dtype in ("auto", "float32"))
    assert full == 2 * half


@pytest.mark.parametrize(
    ("name", "gib"),
    [("acme/dock-70b", 130), ("acme/dock-8x7B", 104), ("acme/dock-70B-AWQ", 35), ("acme/dock", None), ("/model", None)],
)
def test_parameters_in_a_name_tell_the_weights(name: str, gib: int | None) -> None:
    found = weights_by_name(name)
    assert found is None if gib is None else found == pytest.approx(gib, rel=0.03)
