"""The arguments of `vllm serve`."""

from pathlib import Path

import pytest

from drydock.engines.catalogue import find_gpu
from drydock.engines.engine_args import parse, parse_line
from drydock.errors import UsageError
from drydock.simulator.server import main


def test_underscores_equals_signs_and_sizes() -> None:
    args = parse_line("org/model --max_model_len=8k --gpu_memory_utilization 0.8 -tp 2 --no-enable-chunked-prefill")
    assert (args.model, args.max_model_len, args.tensor_parallel_size) == ("org/model", 8000, 2)
    assert args.gpu_memory_utilization == 0.8
    assert not args.enable_chunked_prefill
    assert args.enable_prefix_caching
    assert parse_line("--max-model-len 8K").max_model_len == 8192


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--max-num-seq 3", "unrecognized arguments: --max-num-seq"),
        ("--max-num-seqs many", "invalid int value: 'many'"),
        ("--max-model-len 8q", "is no number"),
        ("--model 'open", "No closing quotation"),
        ("--tensor-parallel-size 0", "tensor_parallel_size must be 1 or more, not 0"),
        ("--block-size 0", "block_size must be 1 or more"),
        ("--max-num-seqs -1", "max_num_seqs must be 1 or more"),
        ("--gpu-memory-utilization 1.5", "gpu_memory_utilization must be above 0 and at most 1, not 1.5"),
        ("--port 65536", "port must be from 0 to 65535, not 65536"),
        ("--port -1", "port must be from 0 to 65535, not -1"),
        ("--gpu-memory-utilization 0", "gpu_memory_utilization must be above 0"),
    ],
)
def test_what_vllm_rejects_is_rejected(line: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_line(line)


def test_the_server_rejects_with_status_two(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "m", "--no-such-argument"]) == 2
    assert "vllm serve: error: unrecognized arguments: --no-such-argument" in capsys.readouterr().err
    assert main(["serve", "org/unknown-model"]) == 2
    assert "--simulate-model" in capsys.readouterr().err


@pytest.mark.parametrize("adapter", ["{bad", '{"name": "sql"}', "sql"])
def test_the_server_rejects_adapters_of_another_form(adapter: str, capsys: pytest.CaptureFixture[str]) -> None:
    model = ("serve", "meta-llama/Llama-3.1-8B-Instruct", "--host", "127.0.0.1", "--port", "0")
    assert main([*model, "--enable-lora", "--lora-modules", adapter]) == 2
    assert f"--lora-modules {adapter}: neither NAME=PATH nor JSON" in capsys.readouterr().err


def test_the_server_does_not_start_where_the_model_does_not_fit(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "meta-llama/Llama-3.1-70B-Instruct", "--simulate-gpu", "h200"]) == 1
    assert "No available memory for the cache blocks" in capsys.readouterr().err


@pytest.mark.parametrize("speed", ["0", "-1", "fast", "nan"])
def test_the_server_does_not_start_at_no_speed(
    speed: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRYDOCK_VLLM_SPEED", speed)
    assert main(["serve", "meta-llama/Llama-3.1-8B-Instruct"]) == 2
    assert f"must be a number above 0, not {speed}" in capsys.readouterr().err


def test_a_config_file_gives_way_to_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "vllm.yaml"
    file.write_text(
        "max-num-seqs: 7\nmax_model_len: 100\nenable-prefix-caching: false\nserved-model-name: [a, b]\n"
        "no-enable-chunked-prefill: true\n"
    )
    args = parse(["m", "--config", str(file), "--max-num-seqs", "9"])
    assert (args.max_num_seqs, args.max_model_len, args.enable_prefix_caching) == (9, 100, False)
    assert not args.enable_chunked_prefill
    assert args.values["served_model_name"] == ["a", "b"]
    with pytest.raises(UsageError, match=r"missing\.yaml"):
        parse(["m", "--config", str(tmp_path / "missing.yaml")])


@pytest.mark.parametrize(
    ("gpu", "line", "limits"),
    [
        ("h100", "", (1024, 8192)),
        ("h200", "--max-num-seqs 64", (64, 8192)),
        ("l4", "", (256, 2048)),
        ("a100-80gb", "", (256, 2048)),
        ("l4", "--no-enable-chunked-prefill", (256, 4096)),
        ("h100", "--max-num-batched-tokens 16k", (1024, 16000)),
    ],
)
def test_batch_limits_are_vllms_defaults(gpu: str, line: str, limits: tuple[int, int]) -> None:
    assert parse_line(line).batch_limits(find_gpu(gpu), 4096) == limits
