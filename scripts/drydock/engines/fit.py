"""Memory by GPU and tensor parallelism, and what to change where a model does not fit.

The accounting is vLLM's own, in `drydock.engines.gpu_memory`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from drydock.engines.catalogue import Gpu, Model, gpus
from drydock.engines.engine_args import EngineArgs
from drydock.engines.gpu_memory import MemoryFit, memory_fit
from drydock.engines.start_rules import divides
from drydock.errors import UsageError

PARALLEL_SIZES = (1, 2, 4, 8, 16)
_ROUND = 256


@dataclass(frozen=True)
class Fit:
    """A model on one kind of GPU.

    Attributes:
        parallel: GPUs among which each layer is divided (`--tensor-parallel-size`).
        memory: account of each of them.
    """

    gpu: Gpu
    parallel: int
    memory: MemoryFit

    @property
    def starts(self) -> bool:
        """Whether vLLM would start, by what is known."""
        return not self.memory.error

    @property
    def certain(self) -> bool:
        """Whether it would start even if what was not measured is needed."""
        return self.memory.verdict == "starts"


def fits(
    model: Model, args: EngineArgs, among: Iterable[Gpu], parallel: Iterable[int] = PARALLEL_SIZES[:4]
) -> Iterator[Fit]:
    """The account on each GPU and for each tensor parallelism that the model's heads can be divided by."""
    sizes = [size for size in parallel if divides(model, size)]
    for gpu in among:
        for size in sizes:
            changed = args.changed(tensor_parallel_size=size)
            try:
                yield Fit(gpu, size, memory_fit(gpu, model, changed))
            except UsageError:  # limits that exclude each other on this GPU
                continue


def longest(fit: MemoryFit, requests: int = 1) -> int:
    """The largest maxModelLen that the model has, rounded down, of which so many requests fit at once.

    One alone fits even if what was not measured is needed, where it can.
    """
    sure = fit.sure_tokens if requests == 1 else 0
    tokens = min(sure or fit.tokens // requests, fit.context)
    return tokens // _ROUND * _ROUND or tokens


def remedy(gpu: Gpu, model: Model, args: EngineArgs, fit: MemoryFit) -> str:
    """What makes a model start: a shorter context, else more GPUs, fp8 weights, or the smallest GPU that holds it."""
    if fit.refused is not None:
        return fit.refused.remedy
    if fit.tokens > args.block_size and fit.weights_gib < fit.requested_gib and (fit.error or fit.sure_tokens):
        return f"Set maxModelLen to {longest(fit):,} or less, or take larger GPUs."
    ways = []
    larger = [size for size in PARALLEL_SIZES if size > args.tensor_parallel_size]
    more = next((option for option in fits(model, args, (gpu,), larger) if option.certain), None)
    if more:
        ways.append(f"{more.parallel} GPUs of the kind (accelerator.count, tensorParallelSize)")
    if args.quantization is None and gpu.fp8_tflops:
        quantized = args.changed(quantization="fp8")
        if any(option.certain for option in fits(model, quantized, (gpu,), (args.tensor_parallel_size,))):
            ways.append("fp8 weights (quantization: fp8)")
    others = sorted((other for other in gpus().values() if other.nvidia), key=lambda other: other.memory_gib)
    bigger = next(
        (option for option in fits(model, args, others, (args.tensor_parallel_size,)) if option.certain), None
    )
    if bigger:
        ways.append(f"GPUs with the memory of {bigger.gpu.name} ({bigger.gpu.memory_gib:.0f} GiB) or more")
    if not ways:
        return "Divide it among more GPUs (accelerator.count, tensorParallelSize), or take a smaller model."
    return f"Take {', or '.join(ways)}."
