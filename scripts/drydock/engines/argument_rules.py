"""Arguments of an engine that exclude each other, whatever its model and GPU.

As in `start_rules`, each rule stands at a place in vLLM 0.26's source that it names.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from drydock.engines.engine_args import EngineArgs
from drydock.engines.start_refusal import Refusal

_KV_ROLES = ("kv_producer", "kv_consumer", "kv_both")
_NGRAM = frozenset({"ngram", "[ngram]"})
_DEPRECATED_QUANTIZATION = frozenset({"fbgemm_fp8", "fp_quant"})


def argument_refusals(args: EngineArgs) -> Iterator[Refusal]:
    """Every rule that the arguments break."""
    yield from _world(args)
    yield from _data_parallelism(args)
    yield from _balancing(args)
    yield from _partial_prefills(args)
    yield from _speculation(args)
    yield from _kv_transfer(args)
    yield from _frontend(args)


def _world(args: EngineArgs) -> Iterator[Refusal]:
    size = args.tensor_parallel_size * args.pipeline_parallel_size
    elsewhere = args.values["distributed_executor_backend"] or (args.values["nnodes"] or 1) > 1
    if args.gpus and size > args.gpus and not elsewhere:
        words = f"World size ({size}) is larger than the number of available GPUs ({args.gpus}) in this node."
        reason = f"it is divided among {size} GPUs, and its container asks for {args.gpus}"
        remedy = f"Ask for {size} GPUs, or set tensorParallelSize x pipelineParallelSize to {args.gpus}."
        yield Refusal(words, reason, remedy, "config/parallel.py __post_init__")


def _data_parallelism(args: EngineArgs) -> Iterator[Refusal]:
    values, place = args.values, "config/parallel.py _validate_parallel_config"
    size, local = values["data_parallel_size"], values["data_parallel_size_local"]
    if local is not None and local > size:
        words = f"data_parallel_size_local ({local}) must be <= data_parallel_size ({size})"
        yield Refusal(words, words, f"Set --data-parallel-size-local to {size} or less.", place)
    if values["data_parallel_external_lb"] and size <= 1:
        words = "data_parallel_external_lb can only be set when data_parallel_size > 1"
        yield Refusal(words, words, "Set --data-parallel-size, or leave out --data-parallel-external-lb.", place)


def _balancing(args: EngineArgs) -> Iterator[Refusal]:
    values, place = args.values, "config/parallel.py _validate_parallel_config"
    if values["enable_eplb"]:
        if not values["enable_expert_parallel"]:
            words = "enable_expert_parallel must be True to use EPLB."
            yield Refusal(words, words.rstrip("."), "Add --enable-expert-parallel.", place)
        elif args.tensor_parallel_size * values["data_parallel_size"] == 1:
            words = "EPLB requires tensor, prefill-context, or data parallelism, but got TP=1, PCP=1, DP=1."
            yield Refusal(words, words.rstrip("."), "Leave out --enable-eplb on one GPU.", place)
        return
    config = values["eplb_config"]
    redundant = config.get("num_redundant_experts") if isinstance(config, Mapping) else None
    if redundant:
        words = f"num_redundant_experts is set to {redundant} but EPLB is not enabled."
        yield Refusal(words, words.rstrip("."), "Add --enable-eplb, or leave out num_redundant_experts.", place)


def _partial_prefills(args: EngineArgs) -> Iterator[Refusal]:
    values, place = args.values, "config/scheduler.py verify_max_model_len"
    many, long = values["max_num_partial_prefills"] or 1, values["max_long_partial_prefills"] or 1
    if many > 1 and not args.enable_chunked_prefill:
        words = "Chunked prefill must be enabled to set max_num_partial_prefills > 1."
        yield Refusal(words, words.rstrip("."), "Leave out --no-enable-chunked-prefill.", place)
    if long > many:
        words = f"max_long_partial_prefills={long} must be less than or equal to max_num_partial_prefills={many}."
        yield Refusal(words, words.rstrip("."), f"Set --max-long-partial-prefills to {many} or less.", place)


def _speculation(args: EngineArgs) -> Iterator[Refusal]:
    given: Any = args.values.get("speculative_config")
    if not isinstance(given, dict) or not given:
        return
    start, verify = "config/speculative.py __post_init__", "config/speculative.py _verify_args"
    method, tokens = given.get("method"), given.get("num_speculative_tokens")
    ngram = method in _NGRAM or given.get("model") in _NGRAM
    if given.get("model") and not ngram and tokens is None:
        words = "A speculative model was provided, but `num_speculative_tokens` was not provided"
        yield Refusal(words, words, "Add num_speculative_tokens to --speculative-config.", start)
    if tokens is not None and not method and not given.get("model"):
        words = "num_speculative_tokens was provided but without speculative model."
        yield Refusal(words, words.rstrip("."), "Add model or method to --speculative-config.", start)
    if isinstance(tokens, int) and tokens <= 0:
        words = f"Expected num_speculative_tokens to be greater than zero ({tokens})."
        yield Refusal(words, words.rstrip("."), "Set num_speculative_tokens to 1 or more.", verify)
    if "tensor_parallel_size" in given:
        words = (
            "'tensor_parallel_size' is not a valid argument in the speculative_config. Please pass "
            "'draft_tensor_parallel_size' instead."
        )
        reason = "'tensor_parallel_size' is not a field of the speculative configuration"
        yield Refusal(words, reason, "Rename it to draft_tensor_parallel_size.", verify)
    draft = given.get("draft_tensor_parallel_size")
    if draft is not None and draft not in (1, args.tensor_parallel_size):
        words = (
            f"speculative_draft_tensor_parallel_size={draft} cannot be other value than 1 or target model "
            "tensor_parallel_size"
        )
        remedy = f"Set draft_tensor_parallel_size to {' or '.join(map(str, sorted({1, args.tensor_parallel_size})))}."
        yield Refusal(words, words, remedy, "config/speculative.py _verify_and_get_draft_tp")
    if ngram:
        yield from _lookup(given, start)


def _lookup(given: Mapping[str, Any], place: str) -> Iterator[Refusal]:
    low, high = given.get("prompt_lookup_min"), given.get("prompt_lookup_max")
    if isinstance(low, int) and isinstance(high, int) and low > high:
        words = f"prompt_lookup_min={low} must be <= prompt_lookup_max={high}"
        yield Refusal(words, words, "Exchange them.", place)


def _kv_transfer(args: EngineArgs) -> Iterator[Refusal]:
    given = args.values["kv_transfer_config"]
    if not isinstance(given, Mapping):
        return
    role, place = given.get("kv_role"), "config/kv_transfer.py KVTransferConfig"
    names = ", ".join(_KV_ROLES)
    if role is not None and role not in _KV_ROLES:
        words = f"Unsupported kv_role: {role}. Supported roles are {_KV_ROLES}"
        yield Refusal(words, f"{role} is not a kv_role", f"Set kv_role to one of {names}.", place)
    elif role is None and given.get("kv_connector"):
        words = f"Please specify kv_role when kv_connector is set, supported roles are {_KV_ROLES}"
        yield Refusal(
            words, "kv_transfer_config has a connector and no kv_role", f"Add kv_role, one of {names}.", place
        )


def _frontend(args: EngineArgs) -> Iterator[Refusal]:
    values, place = args.values, "entrypoints/openai/cli_args.py validate_parsed_serve_args"
    for given, needed in (
        ("enable_auto_tool_choice", "tool_call_parser"),
        ("enable_log_outputs", "enable_log_requests"),
    ):
        if values[given] and not values[needed]:
            named, other = (f"--{name.replace('_', '-')}" for name in (given, needed))
            yield Refusal(f"Error: {named} requires {other}", f"{named} requires {other}", f"Add {other}.", place)
    if values["enable_per_request_metrics"] and values["disable_log_stats"]:
        words = (
            "Error: --enable-per-request-metrics requires engine statistics logging; remove --disable-log-stats to "
            "enable per-request metrics."
        )
        reason = "--enable-per-request-metrics needs the engine's statistics"
        yield Refusal(words, reason, "Leave out --disable-log-stats.", place)
    deprecated = args.quantization in _DEPRECATED_QUANTIZATION and not args.other_release
    if deprecated and not values["allow_deprecated_quantization"]:
        words = (
            f"The quantization method {args.quantization} is deprecated and will be removed in future versions of "
            "vLLM. To bypass, set `--allow-deprecated-quantization`."
        )
        reason = f"quantization {args.quantization} is deprecated"
        remedy = "Take weights of another method, or add --allow-deprecated-quantization."
        yield Refusal(
            words, reason, remedy, "model_executor/layers/quantization/__init__.py DEPRECATED_QUANTIZATION_METHODS"
        )
