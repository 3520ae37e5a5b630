"""Does a model fit, and how much KV cache is left: vLLM's own accounting.

vLLM takes `gpu-memory-utilization` times the GPU's total memory, and deducts weights, the peak of activations in a
profiling run, and what lives outside PyTorch; blocks of KV cache fill the rest. Checked against
`data/vllm/measurements/vllm-0.26-h200-memory.csv`. CUDA graphs come on top and are not deducted.
"""

from dataclasses import dataclass

from drydock.engines.catalogue import Gpu, Model
from drydock.engines.engine_args import EngineArgs
from drydock.engines.start_rules import Refusal, refusals
from drydock.errors import DrydockError

GIB = 2**30

NON_TORCH_GIB = 0.2246
"""CUDA context's part and libraries, measured on H200; with several GPUs NCCL's buffers come on top."""

NCCL_GIB = 0.6
"""NCCL's buffers and the custom all-reduce, with tensor parallelism; an estimate."""

ACTIVATION_FLOOR_GIB = 0.03125
"""What a profiling run needs besides its tokens, measured on H200."""

CUDA_GRAPHS_GIB = 0.98
"""Measured for 8 billion parameters in bf16 on H200; not deducted by vLLM, but it must find room."""

_CONTEXT_GIB = 0.52
"""Memory that is gone before vLLM starts (CUDA context), measured on H200: 139.80 - 139.29 GiB."""

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
        cuda_graphs_gib: on top of what was requested.
        block_bytes: one block's size on one GPU.
        blocks, tokens: of the KV cache.
        max_model_len: tokens of the longest request.
        max_concurrency: requests of that length at once.
        error: why the engine would not start, in vLLM's words; empty when it would.
        refused: the rule that it breaks, where the reason is not memory.
        context: the model's own, tokens.
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
    weights = model.weight_bytes(args.quantization, args.dtype) / split / GIB
    weights -= min(weights, args.values["cpu_offload_gb"] or 0.0)
    weights += _lora_gib(model, args) / split
    weights += _ROPE_BYTES * model.context * model.head_dim / GIB
    activation = activation_gib(model, tokens, seqs, args.tensor_parallel_size)
    non_torch = NON_TORCH_GIB + (NCCL_GIB if split > 1 else 0.0)
    available = requested - weights - activation - non_torch
    if args.kv_cache_memory_bytes:
        available = args.kv_cache_memory_bytes / GIB
    per_token = _kv_bytes(model, args) * model.kv_share(max_model_len, tokens)
    block_bytes = per_token * args.block_size
    blocks = max(0, int(available * GIB // block_bytes))
    if args.num_gpu_blocks_override:
        blocks = args.num_gpu_blocks_override
    cached = blocks * args.block_size
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
    elif weights > free:
        error = (
            f"CUDA out of memory. GPU 0 has a total capacity of {gpu.memory_gib:.2f} GiB of which {free:.2f} GiB"
            f" is free, and the weights take {weights:.2f} GiB."
        )
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
    return MemoryFit(
        requested_gib=requested,
        weights_gib=weights,
        activation_gib=activation,
        non_torch_gib=non_torch,
        available_kv_gib=available,
        cuda_graphs_gib=0.0 if args.enforce_eager else CUDA_GRAPHS_GIB,
        block_bytes=block_bytes,
        blocks=blocks,
        tokens=cached,
        max_model_len=max_model_len,
        max_concurrency=blocks / -(-max_model_len // args.block_size),
        error=error,
        refused=refused,
        context=model.context,
    )


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
