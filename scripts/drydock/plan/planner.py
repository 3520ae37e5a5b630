"""One plan for each model: memory, choices, frontier, and what they assume."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drydock.engines.fit import Fit, fits
from drydock.errors import UsageError
from drydock.plan.choices import Choice, choices, frontier
from drydock.plan.from_loadtest import cautions, read_measurements
from drydock.plan.plan_tables import memory_cautions, memory_row, weights_gib
from drydock.plan.planned_models import Target, environment_targets, model_target, narrowed, region_types
from drydock.plan.sizing import Demand, Sizing, measured
from drydock.plan.traces import load_trace
from drydock.plan.what_if import Overrides, WhatIf, what_if
from drydock.scheduling.prices import CapacityType, Prices, load_prices
from drydock.suite.objectives import MOST, Objectives, merged, read_objectives

if TYPE_CHECKING:
    from drydock.progress import Progress
    from drydock.project import Project

MOST_MISSED = 0.5
"""Share of a day's requests from which on a day that misses their objectives is no plan."""
DEFAULT_WORKLOAD = "chat"
DEFAULT_OBJECTIVES: Mapping[str, float] = {"ttft_p95_ms": 1000.0, "itl_p99_ms": 150.0}
"""Where none are given: below a second to the first word, and faster than people read."""


@dataclass(frozen=True, kw_only=True)
class PlanRequest:
    """What to plan for.

    Attributes:
        target: a model of the catalogue, or an environment.
        files, set_values: on top of the stack of an environment.
        engine_args: of `vllm serve`, for a model, as one string.
        gpus, instance_types, parallel: those to consider; all that are allowed when empty.
        rate: requests per second of each model; None takes the environment's load, or plans memory only.
        workload, dataset: preset or JSONL file of the requests; None takes the environment's, else `chat`.
        acceptance: share of a speculative decoder's guesses that are accepted.
        objectives: limits by name, of `suite.objectives.MOST`; empty takes the environment's, else the default ones.
        region: of prices, for a model; an environment has its own.
        capacity_type: by whose price choices are compared.
        from_loadtest: folder or CSV of a load test of one replica, in place of simulation.
        trace: name or CSV of the rates of a day over which autoscaling is simulated.
        overrides: of the autoscaler over that day.
        spot_share, reserved_share: prices, as shares of the on-demand price.
    """

    target: str
    files: tuple[Path, ...] = ()
    set_values: tuple[str, ...] = ()
    engine_args: str = ""
    gpus: tuple[str, ...] = ()
    instance_types: tuple[str, ...] = ()
    parallel: tuple[int, ...] = ()
    rate: float | None = None
    workload: str | None = None
    dataset: Path | None = None
    acceptance: float | None = None
    objectives: Mapping[str, float] = field(default_factory=dict)
    region: str = "us-west-2"
    capacity_type: CapacityType = "on-demand"
    from_loadtest: Path | None = None
    trace: str | None = None
    overrides: Overrides = field(default_factory=Overrides)
    spot_share: float = 0.5
    reserved_share: float = 1.0

    def __post_init__(self) -> None:
        if self.rate is not None and not 0 < self.rate < inf:
            raise UsageError(f"--rate must be above 0, not {self.rate:g}", remedy="Give a finite number above 0.")


@dataclass(frozen=True)
class Plan:
    """What is known of one model.

    Attributes:
        memory: on each GPU and tensor parallelism.
        demand: None where only memory was asked for.
        choices: instance types, cheapest first.
        frontier: those that none beats in dollars and time to first token.
        day: on the cheapest choice, where a trace was given.
        cautions: what must be said of measurements that it rests on.
    """

    target: Target
    memory: Sequence[Fit]
    demand: Demand | None = None
    choices: Sequence[Choice] = ()
    frontier: Sequence[Choice] = ()
    prices: Prices | None = None
    capacity_type: CapacityType = "on-demand"
    day: WhatIf | None = None
    cautions: Sequence[str] = ()

    @property
    def holds(self) -> bool:
        """Whether it starts somewhere and, where that was asked, meets the objectives."""
        if self.demand is None:
            return any(each.starts for each in self.memory)
        if self.day is not None and self.day.scaled.missed_share > MOST_MISSED:
            return False
        return any(each.meets for each in self.choices)

    @property
    def cheapest(self) -> Choice | None:
        """By the asked capacity type, None where nothing that meets the objectives has a price."""
        return next((each for each in self.choices if each.cost(self.capacity_type) < inf), None)

    @property
    def sentences(self) -> list[str]:
        """The choice, and what it rests on."""
        found = []
        if self.cheapest and self.demand:
            best = self.cheapest
            found.append(
                f"Cheapest {self.capacity_type}: {best.nodes} x {best.instance_type} for {best.sizing.replicas} "
                f"replica{'s' * (best.sizing.replicas != 1)}, ${best.cost(self.capacity_type):,.2f} an hour."
            )
            found.append(f"{self._spare(best)}{self._beside_values(best)}")
            if doubt := self._doubt(best):
                found.append(f"Whether {self.target.name} starts on {best.instance_type} is uncertain: {doubt}.")
        return [
            *found,
            *self.target.unusable,
            *self.cautions,
            *(self.day.sentences if self.day else ()),
            *self.assumptions,
        ]

    def _spare(self, best: Choice) -> str:
        """What a lost replica would cost: the replicas are as few as meet the objectives, none is spare."""
        if best.sizing.replicas == 1:
            return "None of them is spare: while it restarts nothing answers."
        share = best.sizing.replicas / (best.sizing.replicas - 1)
        return f"None of them is spare: without one each of the others gets {share:.0%} of its load."

    def _doubt(self, choice: Choice) -> str:
        """Why the engine may not start on the choice's GPUs; empty where it would."""
        pair = (choice.gpu, choice.parallel)
        return next((row.memory.doubt for row in self.memory if (row.gpu.name, row.parallel) == pair), "")

    def _beside_values(self, best: Choice) -> str:
        asked = self.target.replicas
        return "" if asked is None else f" The values have {asked}, this plan {best.sizing.replicas}."

    @property
    def assumptions(self) -> list[str]:
        """What the figures rest on."""
        if self.demand is None:
            return []
        told = ", ".join(f"{name} {value:g}" for name, value in self.demand.objectives.items())
        return [
            f"Objectives: {told}. Load: {self.demand.rate:g} requests/s of {self.demand.workload.name}, Poisson, "
            "spread evenly over the replicas.",
            "Times are simulated where no load test was given; on GPUs other than H100 and H200 they are scaled by the "
            "roofline and have not been checked.",
            *self._speculation,
            *(self.prices.assumptions if self.prices else ()),
            *(self.day.assumptions if self.day else ()),
        ]

    @property
    def _speculation(self) -> list[str]:
        values = self.target.args.values
        if not values.get("speculative_config"):
            return []
        rate = values.get("simulate_acceptance_rate")
        return [
            "Speculative decoding is left out of the times: --acceptance-rate simulates it."
            if rate is None
            else f"Each guess of speculative decoding is right with a probability of {rate:g} if those before it are; "
            "its cost is scaled by the weights that it reads and was not measured."
        ]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        found: dict[str, Any] = {
            "name": self.target.name,
            "model": self.target.model.name,
            "weights_gib": {name: round(value, 3) for name, value in weights_gib(self.target).items()},
            "memory": [memory_row(self.target, row) for row in self.memory],
            "memory_cautions": memory_cautions(self.target),
            "instance_types_left_out": list(self.target.unusable),
        }
        if self.demand is not None:
            found |= {
                "rate": self.demand.rate,
                "workload": self.demand.workload.name,
                "objectives": dict(self.demand.objectives),
                "choices": [{**choice.as_dict(), "start_doubt": self._doubt(choice)} for choice in self.choices],
                "frontier": [choice.instance_type for choice in self.frontier],
                "cheapest": self.cheapest.instance_type if self.cheapest else None,
                "replicas_in_values": self.target.replicas,
                "cautions": list(self.cautions),
                "assumptions": self.assumptions,
                **({"day": self.day.as_dict()} if self.day else {}),
            }
        return found


def total_sentence(plans: Sequence[Plan]) -> str:
    """What an environment's models cost together, and which are left out; empty for a single model by name."""
    left_out = plans[0].target.left_out if plans else ()
    without = f"; left out: {', '.join(left_out)}" if left_out else ""
    planned = [each for each in plans if each.demand is not None]
    if not planned or not planned[0].target.object:
        return f"Left out: {', '.join(left_out)}" if left_out else ""
    costs = {each.target.name: each.cheapest.cost(each.capacity_type) for each in planned if each.cheapest}
    unmet = [each.target.name for each in planned if each.target.name not in costs]
    total = sum(costs.values())
    missing = f"; nothing meets the objectives of {', '.join(unmet)}" if unmet else ""
    rates = {each.demand.rate for each in planned if each.demand}
    load = f"at {min(rates):g} requests/s each" if len(rates) == 1 else "at their loads"
    return f"All of {len(costs)} model{'s' * (len(costs) != 1)} {load}: ${total:,.2f} an hour{missing}{without}."


def make_plans(project: "Project", request: PlanRequest, progress: "Progress") -> list[Plan]:
    """A plan for the model, or for each model of the environment.

    Raises:
        DrydockError: the target is not known, does not render, or an argument is wrong.
    """
    targets = _targets(project, request, progress)
    request = replace(
        request,
        objectives=request.objectives or _own_objectives(project, request.target),
        region=targets[0].region or request.region,
    )
    return [_plan(project, request, target, progress) for target in targets]


def _targets(project: "Project", request: PlanRequest, progress: "Progress") -> list[Target]:
    from drydock.suite.environments import environment_names, load_environment

    if request.target in environment_names(project):
        if request.engine_args:
            raise UsageError(
                f"--engine-args are for a MODEL, and {request.target} is an environment",
                remedy="change the engine of its model with -f or --set",
            )
        environment = load_environment(project, request.target).stacked(request.files, request.set_values)
        found = environment_targets(project, environment, progress, request.parallel)
        types = region_types(project.cache_dir, found[0].region)
    else:
        types = region_types(project.cache_dir, request.region)
        found = [model_target(request.target, request.engine_args, types, request.parallel)]
        if request.files or request.set_values:
            raise UsageError(
                f"-f and --set are for an ENVIRONMENT, and {request.target} is not one",
                remedy="give the arguments of the engine with --engine-args",
            )
    if request.instance_types:
        found = [narrowed(each, request.instance_types, types) for each in found]
    if request.acceptance is not None:
        found = [_accepting(each, request.acceptance) for each in found]
    return [_only(each, request.gpus) for each in found]


def _accepting(target: Target, rate: float) -> Target:
    """The target with the acceptance rate of its guesses, where it speculates."""
    if not target.args.values.get("speculative_config"):
        if target.object:
            return target
        raise UsageError(
            "--acceptance-rate is for engines that speculate",
            remedy="give --speculative-config with --engine-args, or leave it out",
        )
    return replace(target, args=target.args.changed(simulate_acceptance_rate=rate))


def _only(target: Target, names: Sequence[str]) -> Target:
    from drydock.engines.catalogue import find_gpu
    from drydock.engines.served_models import gpu_of

    if not names:
        return target
    wanted = {find_gpu(name) for name in names}
    types = tuple(each for each in target.types if gpu_of(each) in wanted)
    if not types:
        raise UsageError(f"no allowed instance type has {' or '.join(names)}", remedy="take another --gpu or --region")
    return replace(target, types=types)


def _plan(project: "Project", request: PlanRequest, target: Target, progress: "Progress") -> Plan:
    from drydock.loadtest.presets import dataset, preset

    memory = list(fits(target.model, target.args, target.gpus, target.parallel))
    load = target.load if request.rate is None else None
    rate = load.rate if load else request.rate
    trace = load_trace(request.trace, rate) if request.trace else None
    rate = trace.peak if trace else rate
    if rate is None:
        return Plan(target, memory)
    name = request.workload or (load.workload if load else DEFAULT_WORKLOAD)
    demand = Demand(dataset(request.dataset) if request.dataset else preset(name), rate, request.objectives)
    prices = load_prices(
        project, progress, request.region, spot_share=request.spot_share, reserved_share=request.reserved_share
    )
    with progress.step(f"Choose replicas of {target.name} on {len(target.gpus)} GPUs of the catalogue"):
        found = choices(
            target.model,
            target.args,
            target.types,
            demand,
            prices,
            parallel=target.parallel,
            capacity_type=request.capacity_type,
            cache=project.cache_dir,
            measured=_measured(request, target, demand),
        )
    kept = frontier(found, "ttft_p95_ms", request.capacity_type)
    said = _cautions(request, demand)
    made = Plan(target, memory, demand, found, kept, prices, request.capacity_type, cautions=said)
    if trace is None or made.cheapest is None:
        return made
    with progress.step(f"A day of {target.name}"):
        day = what_if(target, made.cheapest, demand, trace, prices, request.capacity_type, request.overrides)
    return replace(made, day=day)


def _measured(request: PlanRequest, target: Target, demand: Demand) -> Mapping[tuple[str, int], Sizing]:
    """The load test's sizing for the one GPU and tensor parallelism that it was run on."""
    if request.from_loadtest is None:
        return {}
    gpus, parallel = target.gpus, target.parallel
    if len(gpus) != 1 or len(parallel) != 1:
        raise UsageError(
            f"--from-loadtest measured one replica, and {target.name} may get {len(gpus)} kinds of GPU and "
            f"{len(parallel)} tensor parallelisms",
            remedy="say which it was measured on with --gpu and --tensor-parallel",
        )
    return {(gpus[0].name, parallel[0]): measured(read_measurements(request.from_loadtest, demand.objectives), demand)}


def _cautions(request: PlanRequest, demand: Demand) -> Sequence[str]:
    if request.from_loadtest is None:
        return ()
    found = read_measurements(request.from_loadtest, demand.objectives)
    return cautions(request.from_loadtest, found, demand.objectives, demand.workload.name)


def plan_objectives(file: Path | None, texts: Sequence[str]) -> dict[str, float]:
    """Limits from a file and single texts such as `ttft_p95_ms=500`, without those that a load test must reach.

    Raises:
        UsageError: the file or a text is wrong, or a text names a measure that a plan does not have.
    """
    limits = merged(read_objectives(file) if file else Objectives(), texts).limits
    for text in texts:
        name = text.partition("=")[0]
        if name not in MOST:
            raise UsageError(
                f"--objective {text}: a plan finds the replicas that serve the rate, and has no {name} to reach",
                remedy=f"Choose from {', '.join(sorted(MOST))}.",
            )
    return {name: limit for name, limit in limits.items() if name in MOST}


def _own_objectives(project: "Project", target: str) -> Mapping[str, float]:
    """An environment's own, else those of a plan that was given none."""
    from drydock.suite.environments import environment_names, load_environment

    own = load_environment(project, target).objectives if target in environment_names(project) else {}
    return {name: float(limit) for name, limit in own.items() if name in MOST} or DEFAULT_OBJECTIVES
