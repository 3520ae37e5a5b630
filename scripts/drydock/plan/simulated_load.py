"""One engine under one load, simulated: what `drydock simulate` does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from drydock.engines.catalogue import find_gpu, find_model
from drydock.engines.engine_args import parse_line
from drydock.errors import UsageError
from drydock.loadtest import settings
from drydock.loadtest.presets import dataset, preset
from drydock.plan.traffic import shapes
from drydock.simulator.profile import Setup, read_profile, setup
from drydock.simulator.run_statistics import Summary, measures, summarize
from drydock.simulator.simulation import simulate
from drydock.simulator.workload import Arrival, Shape, Workload
from drydock.suite.objectives import Objectives, Verdict

_A_CLIENT = 4
"""Requests a second that one client sends at most, for which different ones are drawn; more repeat them."""
_MOST_SHAPES = 200_000


@dataclass(frozen=True, kw_only=True)
class Conversations:
    """How the requests of a load hang together; None takes what the workload has.

    Attributes:
        shared_prefix_tokens: that the prompts of a group share.
        prefix_groups: number of different shared prefixes.
        turns: requests of a conversation, each with all before it in its prompt.
        think_seconds: pause before the next turn.
    """

    shared_prefix_tokens: int | None = None
    prefix_groups: int | None = None
    turns: int | None = None
    think_seconds: float | None = None

    def stated(self) -> Mapping[str, Any]:
        """Those that are not None, by name."""
        values = {attribute.name: getattr(self, attribute.name) for attribute in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class SimulationRequest:
    """What to simulate.

    Attributes:
        gpu, model: names in the catalogue.
        engine_args: of `vllm serve`, as one string.
        acceptance_rate: share of a speculative decoder's guesses that are accepted.
        profile: file that a calibration wrote; None takes the nearest measured one.
        rate: requests per second of an open loop; None for a closed one.
        concurrency: clients of a closed loop; None for an open one.
        duration: seconds during which requests are sent.
        arrival, burstiness, max_in_flight, seed: see `simulator.workload.Workload`.
        workload, dataset: preset or JSONL file of the requests, in place of lengths.
        input_tokens, output_tokens: mean lengths; None for 512 and 128.
        spread: relative standard deviation of both lengths.
        conversations: how the requests hang together.
        objectives: limits that the run must keep.
    """

    gpu: str
    model: str
    engine_args: str = ""
    acceptance_rate: float | None = None
    profile: Path | None = None
    rate: float | None = None
    concurrency: int | None = None
    duration: float = 60.0
    arrival: Arrival = "poisson"
    burstiness: float = 0.5
    max_in_flight: int | None = None
    seed: int = 0
    workload: str | None = None
    dataset: Path | None = None
    input_tokens: int | None = None
    output_tokens: float | None = None
    spread: float = 0.0
    conversations: Conversations = Conversations()
    objectives: Objectives = field(default_factory=Objectives)


@dataclass(frozen=True)
class SimulatedLoad:
    """What came of a simulation.

    Attributes:
        setup: of the engine: profile, limits, memory.
        summary: of the run.
        verdicts: one for each objective.
        too_long: share of the requests that exceed the context; they count as failed, the others are sent.
    """

    setup: Setup
    summary: Summary
    verdicts: Sequence[Verdict]
    too_long: float = 0.0

    @property
    def met(self) -> bool:
        """Whether all objectives are met."""
        return all(verdict.met for verdict in self.verdicts)


def simulate_load(request: SimulationRequest) -> SimulatedLoad:
    """Simulate an engine under a load, in virtual time.

    Raises:
        UsageError: a name is not in the catalogue, settings contradict each other, or no request fits.
    """
    gpu, model = find_gpu(request.gpu), find_model(request.model)
    if not gpu.nvidia:
        raise UsageError(
            f"the speed of {gpu.name} is not known: every profile was measured on NVIDIA GPUs, and the "
            "roofline does not describe Neuron's engine, which compiles fixed shapes",
            remedy="Choose an NVIDIA GPU, or measure it with `drydock loadtest`.",
        )
    args = parse_line(f"--model {request.model} {request.engine_args}")
    if request.acceptance_rate is not None:
        args = args.changed(simulate_acceptance_rate=request.acceptance_rate)
    engine = setup(gpu, model, args, profile=read_profile(request.profile) if request.profile else None)
    drawn, too_long = _shapes(request, engine)
    workload = Workload(
        rate=request.rate,
        concurrency=request.concurrency,
        duration=request.duration,
        arrival=request.arrival,
        burstiness=request.burstiness,
        max_in_flight=request.max_in_flight,
        seed=request.seed,
    )
    if drawn:
        workload = replace(workload, shapes=drawn)
    else:
        workload = replace(
            workload,
            input_tokens=512 if request.input_tokens is None else request.input_tokens,
            output_tokens=128 if request.output_tokens is None else request.output_tokens,
            spread=request.spread,
            max_model_len=engine.max_model_len,
        )
    run = simulate(engine.profile.coefficients, engine.limits, workload)
    summary = summarize(run, blocks=engine.limits.blocks, rate=request.rate, duration=request.duration)
    verdicts = request.objectives.judged(measures(run, request.objectives.request, too_long))
    return SimulatedLoad(engine, summary, verdicts, too_long)


def _shapes(request: SimulationRequest, engine: Setup) -> tuple[tuple[Shape, ...], float]:
    """Requests of a load test's kind of workload, none where lengths alone were given; the share that is too long."""
    workload = _workload(request)
    if workload is None:
        return (), 0.0
    rate, clients = request.rate, request.concurrency
    count = round(min(max((rate or _A_CLIENT * (clients or 1)) * request.duration, 1), _MOST_SHAPES))
    drawn = shapes(
        workload,
        count,
        rate=rate or 1.0,
        block_size=engine.args.block_size,
        prefix_caching=engine.args.enable_prefix_caching,
        seed=request.seed,
        clients=clients,
    )
    fitting = tuple(shape for shape in drawn if shape.input_tokens + shape.output_tokens <= engine.max_model_len)
    if not fitting:
        raise UsageError(
            f"no request of {workload.name} fits into a context of {engine.max_model_len:,} tokens",
            remedy="Raise --max-model-len in --engine-args, or choose another workload.",
        )
    return fitting, 1 - len(fitting) / len(drawn)


def _workload(request: SimulationRequest) -> settings.Workload | None:
    """The workload as a load test has it; None where lengths alone were given."""
    name, file, given = request.workload, request.dataset, request.conversations.stated()
    if not (name or file or given):
        return None
    lengths = request.input_tokens is not None or request.output_tokens is not None or bool(request.spread)
    if (name and file) or ((name or file) and lengths) or (file and given):
        raise UsageError(
            "a preset, a data set and lengths of your own exclude each other",
            remedy="Pass --workload, --dataset, or --input-tokens and --output-tokens.",
        )
    if name:
        return replace(preset(name), **given)
    if file:
        return dataset(file)
    wide = request.spread
    means = (request.input_tokens or 512, request.output_tokens or 128)
    sizes = [
        settings.Lengths("lognormal", mean, wide * mean) if wide else settings.Lengths("fixed", mean) for mean in means
    ]
    return settings.Workload("own", sizes[0], sizes[1], **given)
