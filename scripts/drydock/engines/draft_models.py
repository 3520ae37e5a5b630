"""Speculative decoding: the model that guesses tokens, its memory, and what guessing a token costs.

Methods are those of vLLM 0.26 (vllm/config/speculative.py). A draft model of its own has weights and a KV cache; EAGLE
and layers for multi-token prediction are about one layer of the model, with an output matrix; n-grams have neither.
"""

from dataclasses import dataclass
from typing import Any

from drydock.engines.catalogue import DTYPE_BYTES, Model, find_model, quantization_methods, weights_by_name
from drydock.engines.engine_args import EngineArgs
from drydock.errors import UsageError

_WITHOUT_MODEL = frozenset({"ngram", "[ngram]", "ngram_gpu", "suffix"})
_HEADS = ("eagle", "mtp", "medusa", "mlp_speculator", "dflash", "extract_hidden_states")
_EAGLE_VOCABULARY = 32_000
"""Tokens among which EAGLE-3's published heads choose."""


@dataclass(frozen=True)
class Draft:
    """What guesses.

    Attributes:
        guesses: tokens a step (`num_speculative_tokens`).
        model: a model of its own, where its shape is known; None otherwise.
        weights: bytes of its weights, over all GPUs.
        kv: bytes of its KV cache a token, over all GPUs.
        step: time of one guess, as a share of reading the model's own weights.
        why: what of it is guessed; empty where its shape is known.
    """

    guesses: int
    model: Model | None = None
    weights: float = 0.0
    kv: float = 0.0
    step: float = 0.0
    why: str = ""


def draft_of(model: Model, args: EngineArgs) -> Draft | None:
    """The draft of an engine; None where it does not speculate."""
    given: Any = args.values.get("speculative_config")
    if not isinstance(given, dict) or not given:
        return None
    count = given.get("num_speculative_tokens")
    guesses = count if isinstance(count, int) and count > 0 else 1
    method, name = str(given.get("method") or ""), str(given.get("model") or "")
    if method in _WITHOUT_MODEL or name in _WITHOUT_MODEL:
        return Draft(guesses)
    if method.endswith("mtp") or any(method.startswith(kind) for kind in _HEADS) or "eagle" in name.lower():
        return _head(model, guesses, method or "eagle")
    try:
        own = find_model(name)
    except UsageError:
        gib = weights_by_name(name)
        if gib is None:
            return Draft(guesses, step=0.1, why=f"the shape of its draft model {name} is not known")
        share = gib * 2**30 / _read(model)
        why = f"its draft model {name} is known by the size in its name alone"
        return Draft(guesses, None, gib * 2**30, model.kv_bytes() * share, share, why)
    quantization = given.get("quantization")
    known = quantization if quantization in quantization_methods() else None
    return Draft(guesses, own, own.weight_bytes(known), own.kv_bytes(args.kv_cache_dtype), _read(own) / _read(model))


def step_tokens(guesses: int, acceptance: float) -> float:
    """Tokens that a step yields on average, where each guess is right with a probability if those before it were."""
    return sum(acceptance**place for place in range(guesses + 1))


def _head(model: Model, guesses: int, method: str) -> Draft:
    layer = model.linear_parameters / model.layers
    joined = 3 * model.hidden**2 if "eagle" in method else 2 * model.hidden**2
    output = model.hidden * min(model.vocab, _EAGLE_VOCABULARY) if "eagle" in method else 0.0
    parameters = layer + joined + output
    stored = model.dtype if method.endswith("mtp") else "bfloat16"
    bytes_each = DTYPE_BYTES.get(stored, 2.0)
    active = model.active_parameters() / model.layers + joined + model.embedding_parameters
    return Draft(
        guesses,
        None,
        parameters * bytes_each,
        model.kv_bytes() / max(model.attending_layers, 1),
        active * 2.0 / _read(model),
        f"its {method} head is taken for one layer of the model",
    )


def _read(model: Model) -> float:
    """Bytes of weights that a step of few tokens reads."""
    return (model.active_parameters() + model.embedding_parameters) * DTYPE_BYTES.get(model.dtype, 2.0)
