"""What vLLM refuses at its start for reasons other than memory.

Each rule stands in the source of vLLM 0.26, at the place that it names below `vllm/`; quantization methods are data
(`data/vllm/quantization.yaml`). `data/vllm/source.yaml` holds their digests: when the pinned release changes,
`python -m tests.engines.vllm_source WHEEL` names the places to read again.
"""

import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from drydock.engines.argument_rules import argument_refusals
from drydock.engines.catalogue import Gpu, Model, quantization_methods, recognized
from drydock.engines.engine_args import EngineArgs, known_arguments
from drydock.engines.start_refusal import Refusal

LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
_KV_DTYPES = frozenset({"auto", "float16", "bfloat16", "fp8", "fp8_e4m3", "fp8_e5m2", "fp8_inc", "fp8_ds_mla", "nvfp4"})
_MORE_KV_DTYPES = ("turboquant_", "int4_per_token_head", "int8_per_token_head", "fp8_per_token_head")
_DTYPES = frozenset({"auto", "half", "float16", "float", "float32", "bfloat16"})
_CHECKPOINTS = {"fp8": "fp8", "mxfp4": "mxfp4"}
"""Method of a checkpoint by the type in which the catalogue says that its weights are stored."""
_SIXTEEN_BITS = {"half": "float16", "float": "float32"}
_BF16_CAPABILITY = 8.0
_BLOCK = 16
_NO_FLOAT16 = ("gemma2", "gemma3", "plamo2", "glm4")
_GEMMA = re.compile(r"^gemma-(\d)")
_PLUGINS = {"tool-call-parser": "tool_parser_plugin", "reasoning-parser": "reasoning_parser_plugin"}
"""Arguments whose choices a plugin adds to."""


def refusals(
    model: Model,
    args: EngineArgs,
    gpu: Gpu | None = None,
    *,
    checkpoint: str | None = None,
    known_weights: bool = True,
    long_allowed: bool = False,
) -> Iterator[Refusal]:
    """Every rule that an engine breaks.

    Args:
        model: what it serves.
        args: what it is started with.
        gpu: on which; None leaves out the rules on GPUs.
        checkpoint: method by which the published weights were quantized; None for what the model's own are.
        known_weights: the weights are those of the model's repository, not an unknown folder's.
        long_allowed: VLLM_ALLOW_LONG_MAX_MODEL_LEN is set.
    """
    checkpoint = checkpoint or _CHECKPOINTS.get(model.dtype)
    yield from _parallelism(model, args, checkpoint)
    if known_weights:
        # a folder's name says which family its weights are of, and not how long their context is
        yield from _context(model, args, long_allowed)
    yield from _quantization(args, checkpoint, known_weights)
    yield from _names(args)
    yield from _choices(args)
    yield from _adapters(args)
    yield from argument_refusals(args)
    yield from _draft(model, args)
    yield from _context_parallelism(model, args)
    yield from _half_precision(model, args)
    if gpu is not None:
        yield from _capability(model, args, gpu, checkpoint)


def _parallelism(model: Model, args: EngineArgs, checkpoint: str | None) -> Iterator[Refusal]:
    size = args.tensor_parallel_size
    legal = ", ".join(str(count) for count in (1, 2, 4, 8, 16) if divides(model, count))
    remedy = f"Set tensorParallelSize to one of {legal}."
    if model.heads % size:
        words = f"Total number of attention heads ({model.heads}) must be divisible by tensor parallel size ({size})."
        yield Refusal(words, words.rstrip("."), remedy, "config/model.py verify_with_parallel_config")
    elif not divides(model, size):
        words = f"{max(model.kv_heads, size)} is not divisible by {min(model.kv_heads, size)}"
        reason = f"its {model.kv_heads} KV heads cannot be divided among {size} GPUs"
        yield Refusal(words, reason, remedy, "model_executor/layers/linear.py QKVParallelLinear")
    sharing = bool(args.values.get("enable_expert_parallel"))
    if sharing and not model.experts:
        words = "Number of experts in the model must be greater than 0 when expert parallelism is enabled."
        yield Refusal(
            words,
            words.rstrip("."),
            "Leave out --enable-expert-parallel.",
            "config/model.py _verify_with_expert_parallelism",
        )
    wide = model.expert_intermediate if model.experts else model.intermediate
    if size > 1 and not sharing and wide % size:
        reason = f"its matrices of {wide:,} columns cannot be divided among {size} GPUs"
        place = "distributed/utils.py ensure_divisibility"
        yield Refusal(f"{wide} is not divisible by {size}", reason, remedy, place)
    block = model.fp8_block if checkpoint == "fp8" else 0
    part = wide // size
    if block and not sharing and part % block:
        words = (
            f"The output_size of gate's and up's weight = {part} is not divisible by weight quantization "
            f"block_n = {block}."
        )
        more = " or enable expert parallelism (--enable-expert-parallel)" if model.experts else ""
        sizes = [count for count in (1, 2, 4, 8) if divides(model, count) and not (wide // count) % block]
        ways = f"Set tensorParallelSize to {' or '.join(map(str, sizes)) or '1'}{more}."
        yield Refusal(words, words.rstrip("."), ways, "model_executor/layers/quantization/fp8.py create_weights")


def divides(model: Model, size: int) -> bool:
    """Whether the model's heads can be divided among so many GPUs; KV heads are copied where there are fewer."""
    if model.heads % size:
        return False
    kv = 1 if model.latent else model.kv_heads
    return kv % size == 0 if kv >= size else size % kv == 0


def _context(model: Model, args: EngineArgs, long_allowed: bool) -> Iterator[Refusal]:
    asked = args.max_model_len
    if asked is None or asked <= model.context or long_allowed or args.values.get("hf_overrides"):
        return
    words = (
        f"User-specified max_model_len ({asked}) is greater than the derived max_model_len "
        f"(max_position_embeddings={model.context} or model_max_length=None in model's config.json). To allow "
        "overriding this maximum, set the env var VLLM_ALLOW_LONG_MAX_MODEL_LEN=1."
    )
    yield Refusal(
        words,
        f"maxModelLen {asked:,} is more than the model's own context of {model.context:,} tokens",
        f"Set maxModelLen to {model.context:,} or less, or stretch the context by --hf-overrides where the model's "
        "page says how.",
        "config/model.py _get_and_verify_max_len",
    )


def _quantization(args: EngineArgs, checkpoint: str | None, known_weights: bool) -> Iterator[Refusal]:
    method = args.quantization
    if method is None or not known_weights:
        return
    facts = quantization_methods().get(method)
    if checkpoint and method not in _same(checkpoint):
        yield Refusal(
            f"Quantization method specified in the model config ({checkpoint}) does not match the quantization method "
            f"specified in the `quantization` argument ({method}).",
            f"its weights are quantized by {checkpoint}, not by {method}",
            "Leave out quantization: vLLM reads it from the weights.",
            "config/model.py _verify_quantization",
        )
    elif not checkpoint and facts and facts.config:
        yield Refusal(
            f"Cannot find the config file for {method}",
            f"quantization {method} needs weights that were quantized by it, and these are not",
            "Name a repository whose weights are, or use quantization: fp8, which is applied while loading.",
            "model_executor/model_loader/weight_utils.py get_quant_config",
        )


def _same(method: str) -> frozenset[str]:
    """Names under which vLLM takes the same weights."""
    for family in (
        {"awq", "auto_awq", "awq_marlin", "moe_wna16"},
        {"gptq", "auto_gptq", "gptq_marlin", "moe_wna16"},
        {"mxfp4", "gpt_oss_mxfp4"},
        {"fp8", "compressed-tensors", "modelopt", "fbgemm_fp8", "deepseek_v4_fp8"},
    ):
        if method in family:
            return frozenset(family)
    return frozenset({method})


def _names(args: EngineArgs) -> Iterator[Refusal]:
    if args.dtype not in _DTYPES:
        words = f"Unknown dtype: {args.dtype!r}"
        yield Refusal(
            words, words, f"Set dtype to one of {', '.join(sorted(_DTYPES))}.", "config/model.py _get_and_verify_dtype"
        )
    if args.kv_cache_dtype not in _KV_DTYPES and not args.kv_cache_dtype.startswith(_MORE_KV_DTYPES):
        names = ", ".join(sorted(_KV_DTYPES))
        words = f"argument --kv-cache-dtype: invalid choice: {args.kv_cache_dtype!r} (choose from {names})"
        yield Refusal(words, words, "Set kvCacheDtype to auto or fp8.", "config/cache.py CacheDType")
    if args.block_size % _BLOCK:
        words = f"No valid attention backend found: block_size {args.block_size} not supported"
        reason = f"a block size of {args.block_size} tokens is not a multiple of {_BLOCK}"
        yield Refusal(
            words,
            reason,
            f"Set --block-size to {_BLOCK} or a multiple of it.",
            "v1/attention/backends/flash_attn.py get_supported_kernel_block_sizes",
        )


def _adapters(args: EngineArgs) -> Iterator[Refusal]:
    values = args.values
    if not values.get("enable_lora"):
        return
    rank = values["max_lora_rank"]
    if rank not in LORA_RANKS:
        larger = next((known for known in LORA_RANKS if known >= rank), LORA_RANKS[-1])
        names = ", ".join(map(str, LORA_RANKS))
        words = f"argument --max-lora-rank: invalid choice: {rank} (choose from {names})"
        yield Refusal(
            words,
            f"{rank} is not a rank of adapters that vLLM has room for ({names})",
            f"Set it to {larger}.",
            "config/lora.py MaxLoRARanks",
        )
    most = values.get("max_cpu_loras")
    if most is not None and most < args.max_loras:
        words = f"max_cpu_loras ({most}) must be >= max_loras ({args.max_loras})."
        yield Refusal(
            words,
            words.rstrip("."),
            f"Set --max-cpu-loras to {args.max_loras} or more.",
            "config/lora.py _validate_lora_config",
        )


def _draft(model: Model, args: EngineArgs) -> Iterator[Refusal]:
    """A draft model with a vocabulary of its own."""
    given: Any = args.values.get("speculative_config")
    if not isinstance(given, dict) or given.get("use_heterogeneous_vocab"):
        return
    name, method = str(given.get("model") or ""), given.get("method")
    if method not in (None, "draft_model") or not name or "eagle" in name.lower():
        return
    known = recognized(name)
    if known is not None and known[0].vocab != model.vocab:
        words = (
            "Target and draft model should have the same vocabulary size. Target model "
            f"vocab_size={model.vocab}. Draft model vocab_size={known[0].vocab}."
        )
        reason = f"its draft model has a vocabulary of {known[0].vocab:,} tokens, and it has {model.vocab:,}"
        remedy = "Take a draft model of the same family."
        yield Refusal(words, reason, remedy, "config/speculative.py verify_equal_vocab_size_if_draft_model")


def _context_parallelism(model: Model, args: EngineArgs) -> Iterator[Refusal]:
    parts, size = args.values["decode_context_parallel_size"] or 1, args.tensor_parallel_size
    if parts == 1:
        return
    if size % parts:
        words = f"tp_size={size} must be divisible by dcp_size={parts}."
        remedy = "Set --decode-context-parallel-size to a divisor of tensorParallelSize."
        yield Refusal(words, words.rstrip("."), remedy, "config/parallel.py _validate_parallel_config")
    elif not model.latent and size // model.kv_heads < parts:
        words = (
            f"decode context parallel size must less than or equal to (tensor parallel size {size} // total num kv "
            f"heads {model.kv_heads}) = {size // model.kv_heads}, but got {parts}"
        )
        reason = (
            f"its {model.kv_heads} KV heads leave {size // model.kv_heads} GPUs for the context of each, not {parts}"
        )
        remedy = "Leave out --decode-context-parallel-size, or raise tensorParallelSize."
        yield Refusal(words, reason, remedy, "config/model.py verify_with_parallel_config")


def _half_precision(model: Model, args: EngineArgs) -> Iterator[Refusal]:
    family = model.family or _GEMMA.sub(r"gemma\1", model.name)
    kind = next((kind for kind in _NO_FLOAT16 if family in (kind, f"{kind}_text") or family.startswith(f"{kind}-")), "")
    if kind and args.dtype in ("half", "float16"):
        words = (
            f"The model type {kind!r} does not support float16. Reason: Numerical instability. Please use bfloat16 or "
            "float32 instead."
        )
        reason = f"models of the type {kind} do not work in float16"
        yield Refusal(words, reason, "Set dtype to bfloat16.", "config/model.py _FLOAT16_NOT_SUPPORTED_MODELS")


def _choices(args: EngineArgs) -> Iterator[Refusal]:
    for name, facts in ({} if args.other_release else known_arguments()).items():
        value = args.values.get(name.replace("-", "_"))
        plugin = args.values.get(_PLUGINS.get(name, ""))
        if not facts.get("choices") or value in (None, "") or value in facts["choices"] or plugin:
            continue
        names = ", ".join(map(str, facts["choices"]))
        words = f"argument --{name}: invalid choice: {value!r} (choose from {names})"
        close = get_close_matches(str(value), [str(choice) for choice in facts["choices"]], n=1)
        remedy = f"Set it to {close[0]}." if close else f"Set it to one of {names}."
        yield Refusal(words, f"{value} is not a value of --{name}", remedy, "engine/arg_utils.py EngineArgs")


def _capability(model: Model, args: EngineArgs, gpu: Gpu, checkpoint: str | None) -> Iterator[Refusal]:
    method = args.quantization or checkpoint
    facts = quantization_methods().get(method) if method else None
    if args.dtype == "bfloat16" and gpu.capability < _BF16_CAPABILITY:
        words = (
            "Bfloat16 is only supported on GPUs with compute capability of at least 8.0. Your "
            f"{gpu.name.upper()} GPU has compute capability {gpu.capability}. You can use float16 instead by "
            "explicitly setting the `dtype` flag in CLI, for example: --dtype=half."
        )
        yield Refusal(
            words,
            "Bfloat16 is only supported on GPUs with compute capability of at least 8.0",
            "Set dtype to float16, or take GPUs that have bfloat16 (compute capability 8.0 and higher).",
            "platforms/cuda.py check_if_supports_dtype",
        )
    if args.kv_cache_dtype.startswith("fp8") and gpu.capability < _BF16_CAPABILITY:
        words = (
            f"FP8 KV cache is not supported by the Triton attention backend on {gpu.name.upper()} (compute capability "
            f"{gpu.capability}); native FP8 (fp8e4nv) requires SM89+. Re-run with --kv-cache-dtype float16."
        )
        reason = f"{gpu.name} (compute capability {gpu.capability}) has no attention kernel for an fp8 KV cache"
        yield Refusal(
            words,
            reason,
            "Set kvCacheDtype to auto, or take GPUs of compute capability 8.0 or higher.",
            "v1/attention/backends/triton_attn.py TritonAttentionImpl",
        )
    if facts is None or method is None:
        return
    if gpu.capability < facts.capability:
        words = (
            f"The quantization method {method} is not supported for the current GPU. Minimum capability: "
            f"{round(10 * facts.capability)}. Current capability: {round(10 * gpu.capability)}."
        )
        reason = f"{method} needs compute capability {facts.capability}, and {gpu.name} has {gpu.capability}"
        yield Refusal(
            words,
            reason,
            f"Take GPUs of compute capability {facts.capability} or higher.",
            "config/vllm.py _get_quantization_config",
        )
    dtype = _SIXTEEN_BITS.get(args.dtype, args.dtype)
    if dtype in ("float16", "float32", "bfloat16") and dtype not in facts.dtypes:
        shown = ", ".join(f"torch.{name}" for name in facts.dtypes)
        words = f"torch.{dtype} is not supported for quantization method {method}. Supported dtypes: [{shown}]"
        yield Refusal(
            words,
            f"{method} does not work with dtype {dtype}",
            f"Set dtype to {facts.dtypes[-1]}.",
            "config/vllm.py _get_quantization_config",
        )
