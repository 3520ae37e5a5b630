"""What vLLM refuses for arguments that exclude each other, and which arguments it has."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from drydock.engines.catalogue import find_gpu, find_model
from drydock.engines.engine_args import known_arguments, parse_line, unknown_arguments
from drydock.engines.start_rules import refusals
from drydock.project import Project

SMALL, DEEPSEEK = "qwen2.5-7b", "deepseek-v3"


def said(line: str, model: str = SMALL, gpu: str | None = None, gpus: int = 0) -> list[str]:
    args = replace(parse_line(line), gpus=gpus)
    return [refusal.words for refusal in refusals(find_model(model), args, find_gpu(gpu) if gpu else None)]


def speculating(config: str) -> str:
    return f"--speculative-config '{config}'"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--data-parallel-size 2 --data-parallel-size-local 4", "data_parallel_size_local (4) must be <="),
        ("--data-parallel-external-lb", "data_parallel_external_lb can only be set when"),
        ("--max-num-partial-prefills 2 --no-enable-chunked-prefill", "Chunked prefill must be enabled"),
        ("--max-long-partial-prefills 2", "max_long_partial_prefills=2 must be less than or equal to"),
        ("-tp 4 --decode-context-parallel-size 3", "tp_size=4 must be divisible by dcp_size=3."),
        ("-tp 4 --decode-context-parallel-size 4", "(tensor parallel size 4 // total num kv heads 4) = 1, but got 4"),
        (speculating('{"num_speculative_tokens": 3}'), "was provided but without speculative model"),
        (speculating('{"method": "ngram", "num_speculative_tokens": 0}'), "greater than zero (0)"),
        (speculating('{"method": "ngram", "tensor_parallel_size": 1}'), "pass 'draft_tensor_parallel_size' instead"),
        (
            "-tp 4 " + speculating('{"model": "a/b", "num_speculative_tokens": 2, "draft_tensor_parallel_size": 2}'),
            "draft_tensor_parallel_size=2 cannot be other value than 1",
        ),
        (
            speculating('{"model": "meta-llama/Llama-3.2-1B", "num_speculative_tokens": 2}'),
            "vocab_size=152064. Draft model vocab_size=128256.",
        ),
        ("--spec-model a/b --spec-tokens 0", "greater than zero (0)"),
        ("--spec-model a/b", "`num_speculative_tokens` was not provided"),
        ('--kv-transfer-config \'{"kv_connector": "NixlConnector"}\'', "Please specify kv_role"),
        ('--kv-transfer-config \'{"kv_connector": "X", "kv_role": "both"}\'', "Unsupported kv_role: both"),
        ("--enable-auto-tool-choice", "--enable-auto-tool-choice requires --tool-call-parser"),
        ("--enable-log-outputs", "--enable-log-outputs requires --enable-log-requests"),
        ("--enable-per-request-metrics --disable-log-stats", "requires engine statistics logging"),
        ("--tool-call-parser llama3", "invalid choice: 'llama3' (choose from apertus"),
        ("--reasoning-parser qwen", "invalid choice: 'qwen'"),
        ("--scheduling-policy lifo", "invalid choice: 'lifo' (choose from fcfs, priority)"),
        ("--quantization fbgemm_fp8", "The quantization method fbgemm_fp8 is deprecated"),
    ],
)
def test_what_is_refused_is_said_in_the_words_of_vllm(line: str, words: str) -> None:
    assert any(words in text for text in said(line))


@pytest.mark.parametrize(
    ("model", "line", "gpu", "words"),
    [
        ("gemma-3-27b", "--dtype half", None, "The model type 'gemma3' does not support float16"),
        ("gemma-2-9b", "--dtype float16", None, "The model type 'gemma2' does not support float16"),
        (SMALL, "--kv-cache-dtype fp8", "t4", "FP8 KV cache is not supported by the Triton attention backend"),
        (DEEPSEEK, "--enable-eplb", None, "enable_expert_parallel must be True"),
        (DEEPSEEK, "--enable-eplb --enable-expert-parallel", None, "EPLB requires tensor"),
        (DEEPSEEK, "--eplb-config '{\"num_redundant_experts\": 32}'", None, "but EPLB is not enabled"),
    ],
)
def test_what_a_model_or_gpu_refuses(model: str, line: str, gpu: str | None, words: str) -> None:
    assert any(words in text for text in said(line, model, gpu))


def test_more_gpus_than_the_container_asks_for() -> None:
    assert said("-tp 4", gpus=1)[0].startswith("World size (4) is larger than the number of available GPUs (1)")
    assert said("-tp 2 -pp 2", gpus=4) == said("-tp 4", gpus=0) == []
    assert said("-tp 4 --nnodes 4", gpus=1) == said("-tp 4 --distributed-executor-backend ray", gpus=1) == []


@pytest.mark.parametrize(
    ("model", "line", "gpu"),
    [
        (SMALL, "--data-parallel-size 2 --data-parallel-size-local 1 --data-parallel-external-lb", None),
        (SMALL, "--enable-auto-tool-choice --tool-call-parser hermes", None),
        (SMALL, "--tool-call-parser own --tool-parser-plugin own.py --reasoning-parser qwen3", None),
        (SMALL, speculating('{"method": "ngram", "num_speculative_tokens": 3}'), None),
        (SMALL, speculating('{"model": "Qwen/Qwen2.5-7B", "num_speculative_tokens": 3}'), None),
        (SMALL, "--spec-method ngram --spec-tokens 3", None),
        (SMALL, '--kv-transfer-config \'{"kv_connector": "NixlConnector", "kv_role": "kv_both"}\'', None),
        (SMALL, "--kv-cache-dtype fp8", "a10g"),
        (DEEPSEEK, "-tp 8 --enable-eplb --enable-expert-parallel --decode-context-parallel-size 8", None),
        ("gemma-3-27b", "--dtype bfloat16", None),
    ],
)
def test_what_starts_is_not_refused(model: str, line: str, gpu: str | None) -> None:
    assert said(line, model, gpu) == []


def test_names_of_another_release_are_not_judged() -> None:
    args = replace(parse_line("--tool-call-parser newer --quantization fbgemm_fp8"), other_release=True)
    assert list(refusals(find_model(SMALL), args)) == []


def test_the_arguments_are_those_of_the_release(drydock_project: Project) -> None:
    """The chart's own list was printed by vLLM's parser."""
    file: Path = drydock_project.charts_dir / "vllm/files/arguments/0.26.0.yaml"
    listed = yaml.safe_load(file.read_text())
    names = {name for kind, entries in listed.items() if kind != "choices" for name in entries} | set(listed["choices"])
    assert names == {name for name, facts in known_arguments().items() if not facts.get("own")}
    for name, facts in known_arguments().items():
        if "choices" in facts:
            assert facts["choices"] == listed["choices"][name]


def test_unknown_arguments_are_named_and_parts_of_json_are_not() -> None:
    line = ["m", "--swap-space=4", "--no_such", "1", "--compilation-config.mode", "3", "--max-model-len", "8"]
    assert unknown_arguments(line) == ("--swap-space", "--no-such")
