"""A model of one's own, by the config.json that its weights come with: a file, a folder, or the Hugging Face cache.

Names of fields are those of transformers; where models differ, each name in use is tried. What a file says that is not
understood is reported in `Model.guessed`, so that no figure that rests on it is taken for certain.
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any, TypeGuard

from drydock.errors import UsageError

_ID = re.compile(r"[\w][\w.-]*/[\w.-]+")
_NAME = re.compile(r"[\w][\w.-]*(?:/[\w.-]+)?")
_CONFIG = "config.json"
_INDEX = "model.safetensors.index.json"
_TEXT = ("text_config", "llm_config", "language_config", "thinker_config")
_STORED = {"fp8": "fp8", "mxfp4": "mxfp4", "awq": "int4", "gptq": "int4", "bitsandbytes": "int4", "modelopt": "fp8"}
_METHOD_BITS = {4: "int4", 8: "fp8"}


def read_shape(name: str) -> dict[str, Any] | None:
    """The shape of a config.json's model, of a folder that has one, or of a name that is known here; else None.

    A name is known by a file in `values/shapes` of the suite around the current folder, or by the Hugging Face cache.

    Raises:
        UsageError: the file is not that of a model.
    """
    path = Path(name)
    if path.suffix == ".json" and path.is_file():
        return shape_of(_loaded(path), name=path.parent.name or path.stem, folder=path.parent)
    if (path / _CONFIG).is_file():
        return shape_of(_loaded(path / _CONFIG), name=path.resolve().name, folder=path)
    if _NAME.fullmatch(name) and (own := suite_shape(name)) is not None:
        return shape_of(_loaded(own), name=name.rpartition("/")[2].lower(), folder=own.parent, ids=(name,))
    if _ID.fullmatch(name) and (cached := _cached(name)) is not None:
        return shape_of(_loaded(cached), name=name.rpartition("/")[2].lower(), folder=cached.parent, ids=(name,))
    return None


def suite_shape(name: str) -> Path | None:
    """The file `values/shapes/NAME.json` (a Hub id's `/` as `--`) of the suite around the current folder."""
    here = Path.cwd()
    named = os.environ.get("DRYDOCK_PROJECT")
    roots = (Path(named),) if named else (here, *here.parents)
    files = (root / "values" / "shapes" / f"{name.replace('/', '--')}.json" for root in roots)
    return next((file for file in files if file.is_file()), None)


def _cached(name: str) -> Path | None:
    """Of the newest snapshot, where there is one."""
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    hub = Path(os.environ.get("HF_HUB_CACHE") or home / "hub")
    found = (hub / f"models--{name.replace('/', '--')}" / "snapshots").glob(f"*/{_CONFIG}")
    return max(found, key=lambda file: file.stat().st_mtime, default=None)


def _loaded(file: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {file}: {error}", remedy="name the config.json of a model") from error
    if not isinstance(found, dict):
        raise UsageError(f"{file} is not the config.json of a model", remedy="it must hold an object of JSON")
    return found


def shape_of(
    config: Mapping[str, Any], *, name: str, folder: Path | None = None, ids: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The shape that a config.json states, by the names of `catalogue.Model`, and `index_bytes` of its weights.

    Args:
        config: as the file has it.
        name: that the model gets.
        folder: in which the index of its weights may lie, which counts their bytes.
        ids: names under which it is known.

    Raises:
        UsageError: it lacks a field without which nothing can be said.
    """
    text = next((config[name] for name in _TEXT if isinstance(config.get(name), Mapping)), config)
    if isinstance(text.get("text_config"), Mapping):
        text = text["text_config"]
    get = _Fields(text, name)
    layers = get.number("num_hidden_layers", "n_layer", "num_layers")
    hidden = get.number("hidden_size", "n_embd", "d_model")
    heads = get.number("num_attention_heads", "n_head", "num_heads")
    kv_heads = get.number("num_key_value_heads", "num_kv_heads", "n_head_kv", default=heads)
    head_dim = get.number("head_dim", "v_head_dim", default=hidden // heads)
    intermediate = get.number("intermediate_size", "n_inner", "ffn_dim", default=4 * hidden)
    experts = get.number("num_experts", "n_routed_experts", "num_local_experts", default=0)
    expert_wide = (
        get.number("moe_intermediate_size", "expert_intermediate_size", default=intermediate) if experts else 0
    )
    shared = get.number("shared_expert_intermediate_size", "moe_shared_expert_intermediate_size", default=0)
    shared = shared or expert_wide * get.number("n_shared_experts", "num_shared_experts", default=0)
    latent = get.number("kv_lora_rank", default=0)
    kinds, window = _layer_kinds(text, layers)
    pattern = _pattern(text, layers)
    blocks = _blocks(text, layers)
    if blocks:
        kinds, window = [block.kind for block in blocks], 0
        kv_heads = max((heads // block.group for block in blocks if block.group), default=kv_heads)
        wide = [block.ffn or intermediate for block in blocks if block.ffn != 0]
        intermediate = round(sum(wide) / max(len(wide), 1))
    dense = get.number("first_k_dense_replace", default=0) if experts else 0
    stored = _stored(config, text)
    return {
        "name": name,
        "ids": ids or (name,),
        "layers": layers,
        "hidden": hidden,
        "heads": heads,
        "kv_heads": kv_heads,
        "head_dim": get.number("qk_nope_head_dim", default=head_dim) if latent else head_dim,
        "intermediate": intermediate,
        "vocab": get.number("vocab_size"),
        "context": _context(text),
        "dtype": stored,
        "tied": bool(text.get("tie_word_embeddings", config.get("tie_word_embeddings", False))),
        "experts": experts,
        "active_experts": get.number("num_experts_per_tok", "experts_per_token", "moe_topk", default=0)
        if experts
        else 0,
        "expert_intermediate": expert_wide,
        "shared_intermediate": shared if experts else 0,
        "dense_layers": pattern.count("-") if pattern and experts else dense,
        "latent": latent + get.number("qk_rope_head_dim", default=0) if latent else 0,
        "q_latent": get.number("q_lora_rank", default=0) if latent else 0,
        "window": window,
        "full_layers": kinds.count("full"),
        "linear_layers": kinds.count("linear"),
        "linear_mixer": _linear_mixer(text, hidden) if "linear" in kinds else 0.0,
        "state_elements": _state(text) if "linear" in kinds else 0,
        "encoder": _encoder(config),
        "fp8_block": _block(config),
        "mixerless_layers": kinds.count("none"),
        "mlp_layers": _mlp_layers(pattern, blocks),
        "mlp_matrices": 2 if text.get("mlp_hidden_act") == "relu2" else 3,
        "guessed": _guessed(text, kinds) or _uneven(text, blocks),
        "family": str(text.get("model_type") or config.get("model_type") or ""),
        "index_bytes": _index_bytes(folder),
    }


class _Fields:
    """Numbers of a config by the names in use."""

    def __init__(self, text: Mapping[str, Any], name: str) -> None:
        self._text, self._name = text, name

    def number(self, *names: str, default: int | None = None) -> int:
        """The first that is there."""
        for name in names:
            value = self._text.get(name)
            if isinstance(value, int) and not isinstance(value, bool):
                return value
            if _is_counts(value):  # one for each layer
                return ceil(sum(value) / len(value))
        if default is None:
            raise UsageError(
                f"the config.json of {self._name} has no {names[0]}",
                remedy="give that of a language model, as its Hub page has it",
            )
        return default


@dataclass(frozen=True)
class _Block:
    """A layer of Llama-Nemotron: `full`, `linear` or `none`, heads that share a KV head, and width of its MLP.

    The width is 0 where it has none, and None where it is the model's.
    """

    kind: str
    group: int
    ffn: int | None


def _blocks(text: Mapping[str, Any], layers: int) -> list[_Block]:
    """Of a `block_configs`, which has one entry for each layer; else empty."""
    given = text.get("block_configs")
    if not isinstance(given, list) or len(given) != layers or not all(isinstance(block, Mapping) for block in given):
        return []
    found = []
    for block in given:
        attention, ffn = block.get("attention") or {}, block.get("ffn") or {}
        group = attention.get("n_heads_in_group") or 0
        count = attention.get("num_key_value_heads")
        if not group and isinstance(count, int) and count:
            group = max(1, int(text.get("num_attention_heads") or count) // count)
        kind = "none" if attention.get("no_op") or attention.get("replace_with_linear") else "full"
        found.append(_Block(kind, int(group) if kind == "full" else 0, _ffn_width(ffn, text)))
    return found


def _ffn_width(ffn: Mapping[str, Any], text: Mapping[str, Any]) -> int | None:
    if ffn.get("no_op"):
        return 0
    if ffn.get("replace_with_linear"):
        return ceil(int(text["hidden_size"]) / 3)  # one square matrix, where an MLP has three
    if isinstance(width := ffn.get("intermediate_size"), int):
        return width
    if isinstance(factor := ffn.get("ffn_mult"), int | float):
        # vllm/model_executor/models/nemotron_nas.py, _ffn_mult_to_intermediate_size
        return -(-int(2 * factor * int(text["hidden_size"]) / 3) // 256) * 256
    return None


def _mlp_layers(pattern: str, blocks: list[_Block]) -> int | None:
    if blocks:
        return sum(block.ffn != 0 for block in blocks)
    return pattern.count("-") + pattern.count("E") if pattern else None


def _uneven(text: Mapping[str, Any], blocks: list[_Block]) -> str:
    if len({block.group for block in blocks if block.group}) > 1:
        return "the KV heads of its layers, which differ: the most of a layer are taken for all"
    if any(_is_counts(value) and len(set(value)) > 1 for value in text.values()):
        return "the heads and widths of its layers, which differ: their mean is taken"
    return ""


def _is_counts(value: object) -> TypeGuard[list[int]]:
    return isinstance(value, list) and len(value) > 1 and all(type(count) is int and count > 1 for count in value)


def _layer_kinds(text: Mapping[str, Any], layers: int) -> tuple[list[str], int]:
    """`full`, `window`, `linear` or `none` for each layer, and the window in tokens (0 where there is none)."""
    if pattern := _pattern(text, layers):
        return [{"*": "full", "M": "linear"}.get(symbol, "none") for symbol in pattern], 0
    window = next(
        (text[name] for name in ("sliding_window", "attention_chunk_size") if isinstance(text.get(name), int)), 0
    )
    types = text.get("layer_types") or text.get("layers_block_type") or text.get("block_types")
    if isinstance(types, list) and len(types) == layers:
        kinds = [_kind(str(word)) for word in types]
    elif isinstance(every := text.get("full_attention_interval"), int) and every > 0:
        kinds = ["full" if (place + 1) % every == 0 else "linear" for place in range(layers)]
    elif window and isinstance(every := text.get("sliding_window_pattern"), int) and every > 0:
        kinds = ["full" if (place + 1) % every == 0 else "window" for place in range(layers)]
    elif window and text.get("use_sliding_window", "sliding_window" in text) and text.get("model_type") != "qwen2":
        kinds = ["window"] * layers
    else:
        kinds = ["full"] * layers
    return kinds, window if "window" in kinds else 0


def _pattern(text: Mapping[str, Any], layers: int) -> str:
    """Of Nemotron-H, a letter a layer: `M` Mamba, `*` attention, `-` dense MLP, `E` experts; else empty."""
    given = text.get("hybrid_override_pattern")
    return given if isinstance(given, str) and len(given) == layers and not set(given) - set("M*-E") else ""


def _kind(word: str) -> str:
    if "sliding" in word or "chunk" in word or "local" in word:
        return "window"
    return "linear" if any(kind in word for kind in ("linear", "mamba", "recurrent", "conv")) else "full"


def _context(text: Mapping[str, Any]) -> int:
    """As vLLM derives it (vllm/config/model.py, _get_and_verify_max_len)."""
    names = (
        "max_position_embeddings",
        "n_positions",
        "max_seq_len",
        "seq_length",
        "model_max_length",
        "max_sequence_length",
    )
    longest = next((text[name] for name in names if isinstance(text.get(name), int)), 2048)
    rope = text.get("rope_scaling") or text.get("rope_parameters") or {}
    kind = rope.get("rope_type", rope.get("type")) if isinstance(rope, Mapping) else None
    if kind in (None, "su", "longrope", "llama3", "default", "mrope") or "gemma3" in str(text.get("model_type")):
        return int(longest)
    if kind == "yarn":
        longest = rope.get("original_max_position_embeddings", longest)
    return int(longest * (rope.get("factor") or 1.0))


def _stored(config: Mapping[str, Any], text: Mapping[str, Any]) -> str:
    """How weights are stored."""
    quantization = config.get("quantization_config") or text.get("quantization_config")
    if isinstance(quantization, Mapping):
        method = str(quantization.get("quant_method", ""))
        if method == "compressed-tensors":
            groups = [
                group for group in (quantization.get("config_groups") or {}).values() if isinstance(group, Mapping)
            ]
            bits = [(group.get("weights") or {}).get("num_bits") for group in groups]
            return _METHOD_BITS.get(int(bits[0] or 8) if bits else 8, "fp8")
        return _STORED.get(method, "fp8")
    dtype = (
        config.get("torch_dtype") or config.get("dtype") or text.get("torch_dtype") or text.get("dtype") or "bfloat16"
    )
    return str(dtype)


def _block(config: Mapping[str, Any]) -> int:
    size = (config.get("quantization_config") or {}).get("weight_block_size")
    return int(size[0]) if isinstance(size, list) and size else 0


def _linear_mixer(text: Mapping[str, Any], hidden: int) -> float:
    """Millions of parameters of a layer of Mamba-2 or linear attention (Qwen3-Next); else four square matrices."""
    keys = text.get("linear_num_key_heads", 0) * text.get("linear_key_head_dim", 0)
    values = text.get("linear_num_value_heads", 0) * text.get("linear_value_head_dim", 0)
    heads, head_dim = text.get("mamba_num_heads", 0), text.get("mamba_head_dim", 0)
    if heads and head_dim:
        groups = text.get("n_groups", 1) * text.get("ssm_state_size", 128)
        count = hidden * (2 * heads * head_dim + 2 * groups + heads) + heads * head_dim * hidden
    else:
        count = hidden * (2 * keys + 2 * values) + values * hidden if keys and values else 4 * hidden * hidden
    return float(count) / 1e6


def _state(text: Mapping[str, Any]) -> int:
    """Elements of 16 bits of a request's state in a layer of linear attention or Mamba, which may keep 32 bits."""
    if "linear_num_value_heads" in text:
        return int(text["linear_num_value_heads"] * text["linear_key_head_dim"] * text["linear_value_head_dim"])
    heads, head_dim = text.get("mamba_num_heads", 0), text.get("mamba_head_dim", 0)
    wide = 2 if text.get("mamba_ssm_cache_dtype") == "float32" else 1
    return int(wide * heads * head_dim * text.get("ssm_state_size", text.get("mamba_d_state", 128)))


def _encoder(config: Mapping[str, Any]) -> float:
    """Billions of parameters of vision and audio encoders, by their layers' matrices."""
    total = 0.0
    for name in ("vision_config", "audio_config", "vit_config"):
        part = config.get(name)
        if not isinstance(part, Mapping):
            continue
        hidden = part.get("hidden_size") or part.get("d_model") or part.get("embed_dim") or 0
        layers = part.get("num_hidden_layers") or part.get("depth") or part.get("encoder_layers") or 0
        wide = part.get("intermediate_size") or part.get("encoder_ffn_dim") or 4 * hidden
        total += layers * (4 * hidden * hidden + 2 * hidden * wide)
    return total / 1e9


def _guessed(text: Mapping[str, Any], kinds: list[str]) -> str:
    if "hybrid_override_pattern" in text and "linear" not in kinds:
        return "its layers follow a pattern of its own (hybrid_override_pattern), counted as full attention"
    if "linear" in kinds and not {"linear_num_value_heads", "mamba_num_heads"} & set(text):
        return "the parameters of its layers without attention"
    return ""


def _index_bytes(folder: Path | None) -> int:
    """Of all weights, as the index of their files counts them; 0 where there is none."""
    try:
        found = json.loads((folder / _INDEX).read_text()) if folder else {}
        return int(found.get("metadata", {}).get("total_size", 0))
    except (OSError, ValueError, TypeError, AttributeError):
        return 0
