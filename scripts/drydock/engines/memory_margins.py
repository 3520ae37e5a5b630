"""Memory that the account of an engine may lack: what was not measured, and by how much it may be off.

Margins and the public logs on which they rest stand in `data/vllm/memory-margins.yaml`.
"""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from drydock.engines.catalogue import Gpu, Model
from drydock.engines.engine_args import EngineArgs

COMPILE_GIB = 0.23
"""What an empty compile cache costs at least, measured on H200 with 8,192 batched tokens."""

COMPILE_PEAK_GIB = 1.01
"""Peak of activations while compiling, measured on H200 with 2,048 batched tokens, which themselves take 0.24 GiB."""

_NVLINK_GBS = 100
_MEASURED_GPUS = 2


@dataclass(frozen=True, slots=True)
class Margin:
    """GiB of each GPU that may be missing for one reason."""

    gib: float
    why: str


@cache
def margin_data() -> dict[str, Any]:
    """`margins` and `logs`, as in the data file."""
    import yaml

    text = (files("drydock") / "data/vllm/memory-margins.yaml").read_text()
    data: dict[str, Any] = yaml.safe_load(text)
    return data


def margins(gpu: Gpu, model: Model, args: EngineArgs, activation: float) -> list[Margin]:
    """Every margin of an engine.

    Args:
        gpu: on which it runs.
        model: what it serves.
        args: what it is started with.
        activation: peak of activations with a warm compile cache, GiB.
    """
    kinds = ["mixture"] if model.experts else []
    kinds += ["encoder"] if model.encoder and not model.experts else []
    size = args.tensor_parallel_size * args.pipeline_parallel_size
    kinds += ["parallel"] if size > _MEASURED_GPUS or (size > 1 and gpu.interconnect_gbs < _NVLINK_GBS) else []
    found = [Margin(**margin_data()["margins"][kind]) for kind in kinds]
    if not args.enforce_eager:
        cold = max(COMPILE_GIB, COMPILE_PEAK_GIB - activation)
        found.append(
            Margin(cold, f"a first start, which compiles the model, needs {cold:.1f} GiB more than later ones")
        )
    return found


def reported_refusal(gpu: Gpu, model: Model, args: EngineArgs) -> str:
    """A public log of this model on this GPU, alone, that ends without a start; empty where there is none."""
    if args.tensor_parallel_size * args.pipeline_parallel_size > 1:
        return ""
    for log in margin_data()["logs"]:
        if (log["model"], log["gpu"], log["starts"]) == (model.name, gpu.name, False):
            return f"vLLM {log['vllm']} did not start there ({log['source']})"
    return ""
