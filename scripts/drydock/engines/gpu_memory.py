"""Does a model fit, and how much KV cache is left: vLLM's own accounting.

vLLM takes `gpu-memory-utilization` times the GPU's total memory, and deducts weights, the peak of activations in a
profiling run, and what lives outside PyTorch; blocks of KV cache fill the rest. Checked against
`data/vllm/measurements/vllm-0.26-h200-memory.csv`. CUDA graphs come on top with the V2 model runner, and are deducted
by the V1 runner, which vLLM 0.26 takes for mixtures and hybrids (vllm/config/vllm.py, use_v2_model_runner). What was
not measured has a margin (`drydock.engines.memory_margins`): an engine that starts only without it is uncertain.
"""

from dataclasses import dataclass

from drydock.engines.catalogue import DTYPE_BYTES, Gpu, Model
from drydock.engines.draft_models import Draft, draft_of
from drydock.engines.engine_args import EngineArgs
from drydock.engines.memory_margins import Margin, margins, reported_refusal
from drydock.engines.start_refusal import Refusal
from drydock.engines.start_rules import refusals
from drydock.errors import DrydockError

GIB = 2**30

NON_TORCH_GIB = 0.2246
"""CUDA context's part and libraries, measured on H200, alone and with two GPUs over NVLink."""

ACTIVATION_FLOOR_GIB = 0.03125
"""What a profiling run needs besides its tokens, measured on H200."""

GRAPHS_GIB_A_LAYER = 0.03
"""CUDA graphs of a layer, measured on H200 for 8 and 32 billion parameters (0.98 GiB of 32 layers, 1.87 of 64)."""

_GRAPH_BATCH = 512
"""Largest batch for which vLLM captures a graph."""

_CONTEXT_GIB = 0.52
"""Memory that is gone before vLLM starts (CUDA context), measured on H200: 139.80 - 139.29 GiB."""

_DRAFT_MARGIN_GIB = 0.5
"""GiB that a draft may take more of where its shape is not known, at least; an assumption."""

_ROPE_BYTES = 3.0
"""Bytes of the rotary embedding's table for each position and element of a head: the difference that a longer context
made to the measured weights (0.045 GiB from 8,192 to 131,072 positions)."""

_SEE = "See https://docs.vllm.ai/en/latest/configuration/conserving_memory/ for more details."


@dataclass(frozen=True, slots=True)
class MemoryFit:
    """Memory of one GPU (of `tensor_parallel_size`), GiB, and the cache that follows.

    Attributes:
        requested_gib: gpu-memory-utilization x total.
        weights_gib, activation_gib, non_torch_gib: deducted from it; weights without those that are kept in the
            node's memory (--cpu-offload-gb), with the room for LoRA adapters.
        available_kv_gib: what is left; negative when nothing is.
        cuda_graphs_gib: on top of what was requested, but for `graphs_deducted_gib`.
        block_bytes: one block's size on one GPU.
        blocks, tokens: of the KV cache.
        max_model_len: tokens of the longest request.
        max_concurrency: requests of that length at once.
        error: why the engine would not start, in vLLM's words; empty when it would.
        refused: the rule that it breaks, where the reason is not memory.
        context: the model's own, tokens.
        graphs_deducted_gib: of CUDA graphs, from what was requested.
        margin_gib: what may be missing besides.
        sure_tokens: of the KV cache if the whole margin is needed.
        doubt: why it may not start though the account says that it would; empty where it would start in any case.
    """

    requested_gib: float
    weights_gib: float
    activation_gib: float
    non_torch_gib: float
    available_kv_gib: float
    cuda_graphs_gib: float
    block_bytes: float
    blocks: int
    tokens: int
    max_model_len: int
    max_concurrency: float
    error: str
    refused: Refusal | None = None
    context: int = 0
    graphs_deducted_gib: float = 0.0
    margin_gib: float = 0.0
    sure_tokens: int = 0
    doubt: str = ""

    @property
    def verdict(self) -> str:
        """`starts`, `uncertain` or `does not start`."""
        if self.error:
            return "does not start"
        return "uncertain" if self.doubt else "starts"

    @property
    def why(self) -> str:
        """Why it would not start, in a few words; empty when it would."""
        if not self.error:
            return ""
        if self.refused is not None:
            return self.refused.reason
        if self.weights_gib > self.requested_gib:
            return f"weights of {self.weights_gib:.1f} GiB a GPU do not fit into {self.requested_gib:.1f} GiB"
        if self.tokens < 1:
            return f"weights of {self.weights_gib:.1f} GiB a GPU leave no room for a KV cache"
        if self.tokens < self.max_model_len:
            return f"a request of {self.max_model_len:,} tokens does not fit: longest context {self.tokens:,}"
        return self.error.partition(". ")[0]


_CROWDED = "its KV cache is as large as was asked for, whatever memory is left beside it"


class DoesNotFitError(DrydockError):
    """The engine would refuse to start."""


def memory_fit(gpu: Gpu, model: Model, args: EngineArgs, *, free_gib: float | None = None) -> MemoryFit:
    """Account for memory as vLLM does at start-up.

    Args:
        gpu: of each of the `tensor_parallel_size` GPUs.
        model: the model's shape.
        args: what the engine is started with.
        free_gib: free memory on the GPU when the engine starts; all but the CUDA context's when not given.

    Raises:
        UsageError: arguments that exclude each other.
    """
    as_long_as_fits = args.max_model_len == -1
    max_model_len = model.context if as_long_as_fits else args.max_model_len or model.context
    split = args.tensor_parallel_size * args.pipeline_parallel_size
    seqs, tokens = args.batch_limits(gpu, max_model_len)
    requested = args.gpu_memory_utilization * gpu.memory_gib
    draft = draft_of(model, args) or Draft(0)
    weights = _weights_gib(model, args, draft, split)
    activation = activation_gib(model, tokens, seqs, args.tensor_parallel_size)
    graphs = _graphs_gib(model, args, seqs)
    deducted = graphs if model.experts or model.linear_layers else 0.0
    available = requested - weights - activation - NON_TORCH_GIB - deducted
    if args.kv_cache_memory_bytes:
        available = args.kv_cache_memory_bytes / GIB
    per_token = _kv_bytes(model, args) * model.kv_share(max_model_len, tokens) + draft.kv / split
    block_bytes = per_token * args.block_size
    blocks = max(0, int(available * GIB // block_bytes))
    if args.num_gpu_blocks_override:
        blocks = args.num_gpu_blocks_override
    cached = blocks * args.block_size
    fixed = args.num_gpu_blocks_override or args.kv_cache_memory_bytes  # which vLLM does not hold against memory
    asked = blocks * block_bytes / GIB if fixed else 0.0
    if as_long_as_fits:
        max_model_len = max(1, min(model.context, cached))
    needed = per_token * -(-max_model_len // args.block_size) * args.block_size / GIB
    free = gpu.memory_gib - _CONTEXT_GIB if free_gib is None else free_gib
    weights_facts = args.weights
    refused = next(
        refusals(
            model,
            args,
            gpu,
            checkpoint=weights_facts.checkpoint,
            known_weights=weights_facts.known,
            long_allowed=weights_facts.long_allowed,
        ),
        None,
    )
    error = ""
    if refused is not None:
        error = refused.words
    elif free < requested and free_gib is not None:
        error = (
            f"Free memory on device cuda:0 ({free:.2f}/{gpu.memory_gib:.1f} GiB) on startup is less than desired GPU"
            f" memory utilization ({args.gpu_memory_utilization:g}, {requested:.2f} GiB). Decrease GPU memory"
            " utilization or reduce GPU memory used by other processes."
        )
    elif over := _out_of_memory(gpu, free, weights, asked):
        error = over
    elif available <= 0 and not args.num_gpu_blocks_override:
        error = (
            "No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when initializing the"
            f" engine. {_SEE}"
        )
    elif cached < max_model_len:
        error = (
            f"To serve at least one request with the model's max seq len ({max_model_len}), ({needed:.1f} GiB KV cache"
            f" is needed, which is larger than the available KV cache memory ({available:.2f} GiB). Based on the"
            f" available memory, the estimated maximum model length is {cached}. Try increasing"
            f" `gpu_memory_utilization` or decreasing `max_model_len` when initializing the engine. {_SEE}"
        )
    unsure = [*margins(gpu, model, args, activation), *_draft_margins(draft, split)]
    margin = sum(part.gib for part in unsure)
    sure = cached if fixed else max(0, int((available - margin) * GIB // block_bytes)) * args.block_size
    reported = reported_refusal(gpu, model, args)
    crowded = _CROWDED if asked and weights + asked + activation + NON_TORCH_GIB + margin > free else ""
    doubts = [doubt for doubt in (crowded, reported, *(part.why for part in unsure)) if doubt]
    doubtful = sure < (1 if as_long_as_fits else max_model_len) or reported or crowded
    return MemoryFit(
        requested_gib=requested,
        weights_gib=weights,
        activation_gib=activation,
        non_torch_gib=NON_TORCH_GIB,
        available_kv_gib=available,
        cuda_graphs_gib=graphs,
        block_bytes=block_bytes,
        blocks=blocks,
        tokens=cached,
        max_model_len=max_model_len,
        max_concurrency=blocks / -(-max_model_len // args.block_size),
        error=error,
        refused=refused,
        context=model.context,
        graphs_deducted_gib=deducted,
        margin_gib=margin,
        sure_tokens=sure,
        doubt="; ".join(doubts) if doubtful and not error else "",
    )


def _weights_gib(model: Model, args: EngineArgs, draft: Draft, split: int) -> float:
    """Of one GPU: the model's weights, its draft's, the room for adapters, and the table of positions."""
    weights = model.weight_bytes(args.quantization, args.dtype) / split / GIB
    weights -= min(weights, args.values["cpu_offload_gb"] or 0.0)
    weights += _lora_gib(model, args) / split
    weights += (_padding_bytes(model, args) + draft.weights) / split / GIB
    return weights + _ROPE_BYTES * model.context * model.head_dim / GIB


def activation_gib(model: Model, tokens: int, seqs: int, tensor_parallel_size: int = 1) -> float:
    """Peak activations of a profiling run over `tokens`, GiB.

    For each token three hidden vectors and the MLP's three (gate, up, product) in 16 bits: 3 x (hidden + intermediate)
    x 2 bytes reproduces the measured 0.24, 0.875 and 1.72 GiB at 2,048, 8,192 and 16,384 tokens to the last digit.
    The sampler's run over `seqs` logits (16 and 32 bits) takes over where the vocabulary is large and the batch small.
    """
    wide = model.intermediate
    if model.experts:
        wide = max(model.expert_intermediate * model.active_experts + model.shared_intermediate, 1)
    layers = tokens * 2 * 3 * (model.hidden + wide / tensor_parallel_size)
    logits = min(seqs, tokens) * model.vocab * 6
    return ACTIVATION_FLOOR_GIB + max(layers, logits) / GIB


def _draft_margins(draft: Draft, split: int) -> list[Margin]:
    """Of a draft whose shape is guessed."""
    return [Margin(max(draft.weights / split / GIB / 2, _DRAFT_MARGIN_GIB), draft.why)] if draft.why else []


def _out_of_memory(gpu: Gpu, free: float, weights: float, asked: float) -> str:
    """CUDA's error where weights, and a KV cache of a size that was asked for, exceed free memory; GiB all."""
    if weights + asked <= free:
        return ""
    what = "weights and the KV cache that was asked for take" if asked else "the weights take"
    return (
        f"CUDA out of memory. GPU 0 has a total capacity of {gpu.memory_gib:.2f} GiB of which {free:.2f} GiB"
        f" is free, and {what} {weights + asked:.2f} GiB."
    )


def _padding_bytes(model: Model, args: EngineArgs) -> float:
    """What mxfp4 experts take more than their weights: matrices rounded up to whole tiles of the Marlin kernel.

    vllm/model_executor/layers/fused_moe/oracle/mxfp4.py, mxfp4_round_up_hidden_size_and_intermediate_size.
    """
    if model.dtype != "mxfp4" or args.quantization not in (None, "mxfp4", "gpt_oss_mxfp4"):
        return 0.0
    size = args.tensor_parallel_size
    wide = size * _rounded(model.expert_intermediate / size, 128)
    more = wide * _rounded(model.hidden, 256) - model.expert_intermediate * model.hidden
    return 3 * more * model.experts * (model.layers - model.dense_layers) * DTYPE_BYTES["mxfp4"]


def _rounded(count: float, tile: int) -> int:
    return int(-(-count // tile) * tile)


def _graphs_gib(model: Model, args: EngineArgs, seqs: int) -> float:
    """Of all layers; fewer sequences have fewer graphs (0.59 GiB for 256 of them), and several GPUs smaller ones.

    Measured on H200: 0.98 and 1.87 GiB for 32 and 64 layers on one GPU, 0.72 and 1.52 GiB for 32 and 80 on two.
    """
    if args.enforce_eager:
        return 0.0
    share = 0.2 + 0.8 * min(seqs, _GRAPH_BATCH) / _GRAPH_BATCH
    return GRAPHS_GIB_A_LAYER * model.layers * share * (1.0 if args.tensor_parallel_size == 1 else 0.7)


def _lora_gib(model: Model, args: EngineArgs) -> float:
    """Room for `--max-loras` adapters of the highest rank in 16 bits, kept from the start; an estimate.

    Each of a layer's attention projections, and of its dense MLP's, gets two matrices of rank x (in + out) elements.
    """
    if not args.values["enable_lora"]:
        return 0.0
    wide, kv = model.heads * model.head_dim, model.kv_heads * model.head_dim
    sides = 2 * (model.hidden + wide) + 2 * (model.hidden + kv)
    sides += 0 if model.experts else 3 * (model.hidden + model.intermediate)
    rank: int = args.values["max_lora_rank"]
    return args.max_loras * rank * sides * 2 * model.layers / GIB


def _kv_bytes(model: Model, args: EngineArgs) -> float:
    """Bytes of KV cache a token on one GPU: heads are split, and copied when there are fewer of them than GPUs."""
    split = 1 if model.latent else max(1, min(args.tensor_parallel_size, model.kv_heads))
    return model.kv_bytes(args.kv_cache_dtype, args.dtype) / split / args.pipeline_parallel_size
