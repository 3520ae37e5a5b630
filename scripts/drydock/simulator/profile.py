"""Coefficients for a GPU, a model and an engine version: fitted where measured, else scaled by the roofline.

`data/vllm/profiles.yaml` carries the fitted ones. For another model or GPU every coefficient is multiplied by the
ratio of what the roofline says of the two: reading the weights by bytes / bandwidth, arithmetic by FLOP / (FLOP/s), KV
cache by bytes / bandwidth, launch overheads by the number of layers. So the shares of the peak that the engine reached
where it was measured are taken to hold where it was not.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from drydock.engines.catalogue import Gpu, Model, find_gpu, find_model, quantized_dtype
from drydock.engines.draft_models import draft_of, step_tokens
from drydock.engines.engine_args import EngineArgs
from drydock.engines.gpu_memory import DoesNotFitError, MemoryFit, memory_fit
from drydock.errors import UsageError
from drydock.simulator.requests import Limits
from drydock.simulator.timing import Coefficients

_EXPERT_BATCH = 64
"""Tokens of the batch for which a mixture's experts are counted as read."""

_ALL_REDUCE_SECONDS = 12e-6
"""Latency of one all-reduce of a small tensor between GPUs of a host; two in each layer."""

_SCHEDULING_SECONDS = 0.9e-3
"""What composing a step adds to it when that is not hidden behind the step before: the difference between the fitted
profiles of vLLM 0.11 (synchronous) and 0.26."""

_WAKE_GUESS = 1e-3
"""s, first guess where nothing was measured after a pause."""

ROOFLINE = "roofline"
"""Name of the first guess that rests on data sheets alone."""

_EAGER_PIECE = 1 / 3
"""Part of the launch overhead that does not grow with the layers."""


@dataclass(frozen=True, slots=True)
class Profile:
    """Coefficients and where they come from.

    Attributes:
        name: of the entry in the data file.
        engine: version of vLLM.
        source: measured file and fit, in words.
        fitted: whether measured for this GPU and model, or scaled from one that was.
    """

    name: str
    gpu: Gpu
    model: Model
    engine: str
    coefficients: Coefficients
    source: str
    fitted: bool = True


@dataclass(frozen=True, slots=True)
class Setup:
    """Everything that a simulated engine needs."""

    profile: Profile
    limits: Limits
    memory: MemoryFit
    args: EngineArgs
    max_model_len: int


@cache
def profiles() -> dict[str, Profile]:
    """Every fitted profile by name."""
    import yaml

    data: dict[str, dict[str, Any]] = yaml.safe_load((files("drydock") / "data/vllm/profiles.yaml").read_text())
    return {name: profile_from(name, facts) for name, facts in data.items()}


def read_profile(path: Path) -> Profile:
    """The one profile in a file that `drydock calibrate` wrote."""
    import yaml

    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(
            f"cannot read profile {path}: {error}", remedy="Write one with `drydock calibrate`."
        ) from error
    if not isinstance(data, dict) or len(data) != 1 or not isinstance(next(iter(data.values())), dict):
        raise UsageError(f"{path} does not hold one profile", remedy="Write one with `drydock calibrate`.")
    ((name, facts),) = data.items()
    return profile_from(str(name), facts)


def profile_from(name: str, facts: Mapping[str, Any]) -> Profile:
    """A profile from one entry of a profile file (as `drydock calibrate` writes them)."""
    try:
        coefficients = Coefficients(**{key: _number(value) for key, value in facts["coefficients"].items()})
        return Profile(
            name=name,
            gpu=find_gpu(facts["gpu"]),
            model=find_model(facts["model"]),
            engine=str(facts["engine"]),
            coefficients=coefficients,
            source=str(facts.get("source", "")),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"profile {name}: {type(error).__name__} at {error}", remedy="Write it with `drydock calibrate --output`."
        ) from error


def _number(value: object) -> Any:
    return float(value) if isinstance(value, str) else value


def find_profile(gpu: Gpu, model: Model, *, name: str | None = None) -> Profile:
    """The profile to start from: the one named, that of this GPU, or the latest engine's."""
    known = profiles()
    if name is not None:
        if name not in known:
            raise UsageError(f"profile {name!r} is not known", remedy=f"Known are {', '.join(known)}.")
        return known[name]
    same = [profile for profile in known.values() if profile.gpu.name == gpu.name]
    return (same or sorted(known.values(), key=lambda profile: profile.engine))[-1]


def starting_profile(
    gpu: Gpu, model: Model, args: EngineArgs, *, synchronous: bool = False, name: str | None = None
) -> Profile:
    """A first guess for a fit: a profile, scaled; the one named (`roofline`: no measurement at all) or the nearest."""
    found = roofline_guess() if name == ROOFLINE else find_profile(gpu, model, name=name)
    found = scaled(found, gpu, model, args.changed(async_scheduling=not synchronous))
    wake = max(found.coefficients.wake, _WAKE_GUESS)
    return replace(found, coefficients=replace(found.coefficients, wake=wake))


def roofline_guess() -> Profile:
    """An 8-billion-parameter model on H200 as the data sheets have it, and round figures for what they do not state.

    Those for power and launches were chosen knowing a fit to measurements.

    80 % of the bandwidth for weights and KV cache, 60 % of the peak for matrix products and 40 % for attention over
    prompts are what kernels usually reach.
    """
    gpu, model = find_gpu("h200"), find_model("llama-3-8b")
    ideal = _roofline(gpu, model, None, None)
    coefficients = Coefficients(
        base=1e-3,
        mixed=1.5e-3,
        weights=ideal["weights"] / 0.8,
        token=ideal["token"] / 0.6,
        sequence=1e-5,
        kv_read=ideal["kv_read"] / 0.8,
        attention=ideal["attention"] / 0.4,
        mixed_kv=1.5,
        launch_graph=7e-3,
        launch_eager=15e-3,
        power_cap=0.8,
        power_slope=0.7,
        power_memory=0.65,
        power_seconds=0.4,
        request_token_cpu=2e-6,
    )
    return Profile(ROOFLINE, gpu, model, "0.26", coefficients, "data sheets", fitted=False)


def scaled(profile: Profile, gpu: Gpu, model: Model, args: EngineArgs) -> Profile:
    """A profile for another GPU, model, quantization or number of GPUs."""
    before = _roofline(profile.gpu, profile.model, None, None)
    after = _roofline(gpu, model, args.quantization, args)
    coefficients = profile.coefficients.scaled(**{name: after[name] / before[name] for name in before})
    parallel = args.tensor_parallel_size
    if parallel > 1:
        rate = gpu.interconnect_gbs * 1e9
        volume = 2 * model.layers * model.hidden * 2 * 2 * (parallel - 1) / parallel
        coefficients = replace(
            coefficients,
            base=coefficients.base + 2 * model.layers * _ALL_REDUCE_SECONDS,
            token=coefficients.token + volume / rate,
        )
    if args.async_scheduling not in {None, coefficients.asynchronous} and coefficients.core_cpu:
        coefficients = replace(coefficients, asynchronous=bool(args.async_scheduling))
    elif args.async_scheduling not in {None, coefficients.asynchronous}:
        extra = -_SCHEDULING_SECONDS if args.async_scheduling else _SCHEDULING_SECONDS
        base = max(0.0, coefficients.base + extra)
        coefficients = replace(coefficients, base=base, asynchronous=bool(args.async_scheduling))
    if args.enforce_eager:
        coefficients = replace(coefficients, graph_tokens=0)
    same = gpu.name == profile.gpu.name and coefficients == profile.coefficients
    return replace(profile, gpu=gpu, model=model, coefficients=coefficients, fitted=profile.fitted and same)


def _roofline(gpu: Gpu, model: Model, quantization: str | None, args: EngineArgs | None) -> dict[str, float]:
    """What each coefficient is proportional to."""
    split = args.tensor_parallel_size * args.pipeline_parallel_size if args else 1
    stored = quantized_dtype(quantization) or (model.dtype if model.dtype in {"fp8", "mxfp4"} else None)
    bytes_per_weight = {"fp8": 1.0, "int8": 1.0, "int4": 0.53, "mxfp4": 0.53}.get(stored or "", 2.0)
    tflops = gpu.fp8_tflops if stored == "fp8" and gpu.fp8_tflops else gpu.bf16_tflops
    head = model.embedding_parameters * 2.0
    read = model.touched_parameters(_EXPERT_BATCH) * bytes_per_weight + head
    kv_split = 1 if model.latent else min(split, model.kv_heads)
    layers = model.layers / 32
    launches = _EAGER_PIECE + (1 - _EAGER_PIECE) * layers
    return {
        "base": launches,
        "mixed": launches,
        "launch_graph": launches,
        "launch_eager": launches,
        "weights": read / split / (gpu.bandwidth_gbs * 1e9),
        "token": 2 * model.active_parameters() / split / (tflops * 1e12),
        "sequence": model.vocab / 1e5,
        "kv_read": model.kv_bytes(args.kv_cache_dtype if args else "auto") / kv_split / (gpu.bandwidth_gbs * 1e9),
        "attention": 4.0 * model.attending_layers * model.heads * model.head_dim / split / (gpu.bf16_tflops * 1e12),
    }


def speculating(profile: Profile, model: Model, args: EngineArgs, acceptance: float) -> Profile:
    """A profile with the draft of the engine's arguments, whose guesses are right with this probability each.

    Raises:
        UsageError: the engine does not speculate, or the probability is not one.
    """
    draft = draft_of(model, args)
    if draft is None:
        raise UsageError(
            "an acceptance rate was given, and the engine does not speculate",
            remedy='Give its arguments, such as --speculative-config {"method": "ngram", "num_speculative_tokens": 3}.',
        )
    if not 0 <= acceptance <= 1:
        raise UsageError(
            f"the acceptance rate must be from 0 to 1, not {acceptance:g}",
            remedy="vllm:spec_decode_num_accepted_tokens / vllm:spec_decode_num_draft_tokens is a server's own.",
        )
    own = profile.coefficients
    launch = own.base * (draft.model.layers if draft.model else 1) / model.layers if draft.step else 0.0
    coefficients = replace(
        own,
        guesses=draft.guesses,
        step_tokens=step_tokens(draft.guesses, acceptance),
        draft=draft.guesses * (launch + own.weights * draft.step),
    )
    return replace(profile, coefficients=coefficients, fitted=False)


def setup(gpu: Gpu, model: Model, args: EngineArgs, *, profile: Profile | None = None) -> Setup:
    """What `vllm serve` with these arguments would be.

    Speculative decoding is simulated where `--simulate-acceptance-rate` says how often its guesses are right.

    Raises:
        DoesNotFitError: it would refuse to start for want of memory, in vLLM's words.
        UsageError: arguments that exclude each other, or an acceptance rate that does not fit.
    """
    fit = memory_fit(gpu, model, args)
    if fit.error:
        raise DoesNotFitError(
            f"{model.name} does not start on {args.tensor_parallel_size} x {gpu.name}: {fit.error}",
            remedy="Choose a larger GPU, more of them (--tensor-parallel-size), a shorter --max-model-len or fp8.",
        )
    seqs, tokens = args.batch_limits(gpu, fit.max_model_len)
    limits = Limits(
        blocks=fit.blocks,
        block_size=args.block_size,
        max_num_seqs=seqs,
        max_num_batched_tokens=tokens,
        chunked_prefill=args.enable_chunked_prefill,
        max_loras=args.max_loras,
    )
    chosen = scaled(profile or find_profile(gpu, model), gpu, model, args)
    acceptance = args.values.get("simulate_acceptance_rate")
    if acceptance is not None:
        chosen = speculating(chosen, model, args, acceptance)
    return Setup(chosen, limits, fit, args, fit.max_model_len)


def as_data(profile: Profile) -> dict[str, Any]:
    """An entry of a profile file."""
    return {
        "gpu": profile.gpu.name,
        "model": profile.model.name,
        "engine": profile.engine,
        "source": profile.source,
        "coefficients": {
            name: float(f"{value:.6g}") if isinstance(value, float) else value
            for name, value in asdict(profile.coefficients).items()
        },
    }
