"""Models by the config.json that their weights come with."""

import json
from pathlib import Path
from typing import Any

import pytest

from drydock.engines.catalogue import Model, find_gpu, find_model, recognized
from drydock.engines.engine_args import parse_line
from drydock.engines.gpu_memory import memory_fit
from drydock.errors import UsageError

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 8192},
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}
GEMMA = {
    "model_type": "gemma3",
    "text_config": {
        "model_type": "gemma3_text",
        "hidden_size": 5376,
        "intermediate_size": 21504,
        "num_hidden_layers": 62,
        "num_attention_heads": 32,
        "num_key_value_heads": 16,
        "head_dim": 128,
        "vocab_size": 262208,
        "max_position_embeddings": 131072,
        "rope_scaling": {"rope_type": "linear", "factor": 8.0},
        "sliding_window": 1024,
        "sliding_window_pattern": 6,
        "tie_word_embeddings": True,
    },
    "vision_config": {"hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27},
    "torch_dtype": "bfloat16",
}
QWEN3_NEXT = {
    "model_type": "qwen3_next",
    "hidden_size": 2048,
    "intermediate_size": 5120,
    "num_hidden_layers": 48,
    "num_attention_heads": 16,
    "num_key_value_heads": 2,
    "head_dim": 256,
    "vocab_size": 151936,
    "max_position_embeddings": 262144,
    "full_attention_interval": 4,
    "linear_num_key_heads": 16,
    "linear_key_head_dim": 128,
    "linear_num_value_heads": 32,
    "linear_value_head_dim": 128,
    "num_experts": 512,
    "num_experts_per_tok": 10,
    "moe_intermediate_size": 512,
    "shared_expert_intermediate_size": 512,
    "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]},
}
DEEPSEEK = {
    "hidden_size": 7168,
    "intermediate_size": 18432,
    "moe_intermediate_size": 2048,
    "num_hidden_layers": 61,
    "num_attention_heads": 128,
    "num_key_value_heads": 128,
    "n_routed_experts": 256,
    "n_shared_experts": 1,
    "num_experts_per_tok": 8,
    "first_k_dense_replace": 3,
    "kv_lora_rank": 512,
    "qk_rope_head_dim": 64,
    "qk_nope_head_dim": 128,
    "v_head_dim": 128,
    "q_lora_rank": 1536,
    "vocab_size": 129280,
    "max_position_embeddings": 163840,
    "rope_scaling": {"type": "yarn", "factor": 40, "original_max_position_embeddings": 4096},
    "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]},
}

NEMOTRON = {
    "model_type": "nemotron_h",
    "hidden_size": 4480,
    "intermediate_size": 15680,
    "num_hidden_layers": 56,
    "hybrid_override_pattern": "M-M-M-MM-M-M-M*-M-M-M*-M-M-M-M*-M-M-M-M*-M-MM-M-M-M-M-M-",
    "num_attention_heads": 40,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "mamba_num_heads": 128,
    "mamba_head_dim": 80,
    "ssm_state_size": 128,
    "n_groups": 8,
    "mamba_ssm_cache_dtype": "float32",
    "mlp_hidden_act": "relu2",
    "vocab_size": 131072,
    "max_position_embeddings": 131072,
}
NEMOTRON_EXPERTS = NEMOTRON | {
    "hidden_size": 2688,
    "intermediate_size": 1856,
    "num_hidden_layers": 52,
    "hybrid_override_pattern": "MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME",
    "num_attention_heads": 32,
    "num_key_value_heads": 2,
    "mamba_num_heads": 64,
    "mamba_head_dim": 64,
    "n_routed_experts": 128,
    "n_shared_experts": 1,
    "num_experts_per_tok": 6,
    "moe_intermediate_size": 1856,
    "moe_shared_expert_intermediate_size": 3712,
    "max_position_embeddings": 262144,
}


def made(folder: Path, config: dict[str, Any]) -> Model:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    return find_model(str(folder))


@pytest.mark.parametrize(
    ("config", "known"),
    [
        (LLAMA, "llama-3.1-8b"),
        (GEMMA, "gemma-3-27b"),
        (QWEN3_NEXT, "qwen3-next-80b-a3b"),
        (DEEPSEEK, "deepseek-v3"),
        (NEMOTRON, "nemotron-nano-9b-v2"),
        (NEMOTRON_EXPERTS, "nemotron-3-nano-30b-a3b"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_config_tells_what_the_catalogue_says(config: dict[str, Any], known: str, tmp_path: Path) -> None:
    own, carried = made(tmp_path, config), find_model(known)
    assert own.parameters == pytest.approx(carried.parameters, rel=0.015)
    for name in (
        "layers", "hidden", "heads", "kv_heads", "head_dim", "vocab", "context", "tied", "experts", "active_experts",
        "expert_intermediate", "shared_intermediate", "dense_layers", "latent", "q_latent", "window", "full_layers",
        "linear_layers", "state_elements", "mixerless_layers", "mlp_layers", "mlp_matrices",
    ):  # fmt: skip
        if name != "full_layers" or carried.full_layers:
            assert getattr(own, name) == getattr(carried, name), name


def test_the_index_of_the_weights_tells_their_size(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {"total_size": 20 * 10**9}}))
    assert made(tmp_path, LLAMA).weight_bytes() == pytest.approx(20e9)


def test_a_file_and_the_cache_of_the_hub_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = tmp_path / "hub/models--acme--dock/snapshots/1"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text(json.dumps(LLAMA))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    assert find_model(str(snapshot / "config.json")).layers == 32
    assert find_model("acme/dock").hidden == 4096
    assert recognized("acme/dock") is not None
    assert recognized("acme/other") is None


def test_layers_that_are_an_mlp_alone_have_no_cache() -> None:
    """Nemotron-Nano-9B-v2: 4 of 56 layers attend, and a Mamba layer keeps one state a request."""
    model = find_model("nvidia/NVIDIA-Nemotron-Nano-9B-v2")
    assert model.kv_bytes() == 4 * 2 * 8 * 128 * 2
    length = 131072
    state = 27 * 128 * 80 * 128 * 4
    assert model.kv_bytes() * model.kv_share(length, 8192) * length == pytest.approx(
        model.kv_bytes() * length + state, rel=1e-6
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[]", "is not the config.json of a model"),
        ("{", "cannot read"),
        ('{"num_hidden_layers": 2}', "has no hidden_size"),
    ],
)
def test_a_file_that_is_none_is_told(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(UsageError, match=said):
        find_model(str(tmp_path))


def test_layers_with_a_window_hold_no_more_than_it() -> None:
    """gemma-3-27b: ten of 62 layers see all of 131,072 tokens, the others 1,024 and those of a step."""
    model, args = find_model("gemma-3-27b"), parse_line("--max-model-len 131072 --max-num-batched-tokens 8192")
    fit = memory_fit(find_gpu("h100"), model, args)
    layer = 2 * 16 * 128 * 2
    needed = layer * (10 * 131072 + 52 * (1024 + 8192))
    assert fit.max_concurrency == pytest.approx(fit.available_kv_gib * 2**30 / needed, rel=0.01)
    short = memory_fit(find_gpu("h100"), model, args.changed(max_model_len=4096))
    assert short.block_bytes == pytest.approx(16 * 62 * layer)


def test_layers_of_linear_attention_hold_a_state_that_does_not_grow() -> None:
    model = find_model("qwen3-next-80b-a3b")
    assert model.kv_elements() == 12 * 2 * 2 * 256
    long, short = model.kv_share(262144, 8192), model.kv_share(1024, 8192)
    assert long < 1.01
    assert short > 1.5


BLOCKS = [
    {
        "attention": {"no_op": place % 5 == 4, "n_heads_in_group": None if place % 5 == 4 else 8},
        "ffn": {"ffn_mult": 2.625 if place % 2 else 5.25, "no_op": False},
    }
    for place in range(80)
]
"""As of Llama-Nemotron's models (model_type nemotron-nas), in which some layers have no attention."""
NEMOTRON_NAS = {
    **LLAMA,
    "model_type": "nemotron-nas",
    "hidden_size": 8192,
    "intermediate_size": None,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": None,
    "block_configs": BLOCKS,
}


def test_layers_of_their_own_count_what_each_has(tmp_path: Path) -> None:
    model = made(tmp_path, NEMOTRON_NAS)
    assert model.kv_elements() == 64 * 2 * 8 * 128
    assert model.intermediate == (28672 + 14336) / 2
    assert model.guessed == ""
    blocks = [*BLOCKS[:-1], {"attention": {"replace_with_linear": True}, "ffn": {"no_op": True}}]
    fewer = made(tmp_path, {**NEMOTRON_NAS, "block_configs": blocks})
    assert fewer.linear_parameters < model.linear_parameters
    uneven = [{**BLOCKS[0], "attention": {"n_heads_in_group": 16}}, *BLOCKS[1:]]
    assert "which differ" in made(tmp_path, {**NEMOTRON_NAS, "block_configs": uneven}).guessed


def test_lists_of_heads_are_taken_by_their_mean(tmp_path: Path) -> None:
    heads = {"num_attention_heads": [16] * 16 + [24] * 16, "num_key_value_heads": [4] * 16 + [6] * 16}
    model = made(tmp_path, {**LLAMA, **heads, "head_dim": 64})
    assert (model.heads, model.kv_heads) == (20, 5)
    assert "which differ" in model.guessed


def test_a_suite_knows_its_own_models_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = tmp_path / "values" / "shapes"
    (tmp_path / "deep" / "er").mkdir(parents=True)
    shapes.mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "deep" / "er")
    with pytest.raises(UsageError, match="is not in the catalogue"):
        find_model("acme/own")
    for name in ("acme--own", "served-name"):
        (shapes / f"{name}.json").write_text(json.dumps(LLAMA))
    assert find_model("acme/own").layers == find_model("served-name").layers == 32
    found = recognized("acme/served-name-AWQ")
    assert found is not None
    assert (found[0].layers, found[1]) == (32, "awq")
    with pytest.raises(UsageError):
        find_model("../shapes/served-name")
    (shapes / "acme--own.json").write_text("[]")
    for read in (find_model, recognized):
        with pytest.raises(UsageError, match="is not the config"):
            read("acme/own")
