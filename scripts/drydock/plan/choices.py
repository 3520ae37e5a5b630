"""Every allowed instance type with the replicas, times and dollars that a demand comes to, and the frontier of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, inf, isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drydock.engines.catalogue import Gpu, Model
from drydock.engines.fit import PARALLEL_SIZES, fits
from drydock.engines.served_models import gpu_of
from drydock.plan.sizing import Demand, Sizing, Task, sizes
from drydock.scheduling.instance_types.facts import InstanceFacts
from drydock.scheduling.prices import CAPACITY_TYPES, CapacityType, Prices

if TYPE_CHECKING:
    from drydock.engines.engine_args import EngineArgs

_HOUR = 3600.0


@dataclass(frozen=True)
class Choice:
    """One instance type.

    Attributes:
        parallel: GPUs of each replica.
        per_node: replicas that a node holds.
        nodes: that the replicas need; 0 where the objectives cannot be met.
        dollars_per_hour: of all nodes by capacity type; without those that the type is not sold as or has no price for.
        dollars_per_million_tokens: the same by a million input and output tokens.
        dollars_per_million_output_tokens: the same by a million output tokens.
    """

    instance_type: str
    gpu: str
    gpus: int
    parallel: int
    per_node: int
    nodes: int
    sizing: Sizing
    dollars_per_hour: Mapping[str, float]
    dollars_per_million_tokens: Mapping[str, float]
    dollars_per_million_output_tokens: Mapping[str, float]

    @property
    def meets(self) -> bool:
        """Whether any number of replicas meets the objectives."""
        return self.sizing.replicas > 0

    def cost(self, capacity_type: CapacityType) -> float:
        """Dollars an hour; infinite where there is no price or no number of replicas suffices."""
        return self.dollars_per_hour.get(capacity_type, inf) if self.meets else inf

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        estimate = self.sizing.estimate
        return {
            "instance_type": self.instance_type,
            "gpu": self.gpu,
            "gpus": self.gpus,
            "tensor_parallel_size": self.parallel,
            "meets_objectives": self.meets,
            "missed": list(self.sizing.missed),
            "replicas": self.sizing.replicas,
            "nodes": self.nodes,
            "rate_per_replica": estimate.rate if estimate else None,
            "measures": {name: _number(value) for name, value in estimate.measures.items()} if estimate else {},
            "origin": estimate.origin if estimate else None,
            "dollars_per_hour": dict(self.dollars_per_hour),
            "dollars_per_million_tokens": dict(self.dollars_per_million_tokens),
            "dollars_per_million_output_tokens": dict(self.dollars_per_million_output_tokens),
        }


def choices(
    model: Model,
    args: "EngineArgs",
    types: Sequence[InstanceFacts],
    demand: Demand,
    prices: Prices,
    *,
    parallel: Sequence[int] = PARALLEL_SIZES[:4],
    capacity_type: CapacityType = "on-demand",
    cache: Path | None = None,
    measured: Mapping[tuple[str, int], Sizing] | None = None,
) -> list[Choice]:
    """One choice for each instance type with a known GPU, with its cheapest tensor parallelism; cheapest first.

    Args:
        model: its shape.
        args: of the engine, but for the tensor parallelism.
        types: that are allowed.
        demand: what all replicas together have to do.
        prices: of the region.
        parallel: tensor parallelisms that may be chosen, where the model starts with them.
        capacity_type: by whose price the cheapest is chosen.
        cache: where what was searched is kept.
        measured: sizings by (GPU, tensor parallelism) that take the place of simulated ones.
    """
    gpus = {facts.name: gpu for facts in types if (gpu := gpu_of(facts)) is not None}
    starting = {
        (fit.gpu, fit.parallel)
        for fit in fits(model, args, sorted(set(gpus.values()), key=lambda each: each.name), parallel)
        if fit.starts
    }
    pairs = sorted(starting, key=lambda each: (each[0].name, each[1]))
    known = dict(measured or {})
    tasks = {
        (gpu.name, size): Task(gpu, model, args.changed(tensor_parallel_size=size), demand)
        for gpu, size in pairs
        if (gpu.name, size) not in known
    }
    known |= dict(zip(tasks, sizes(list(tasks.values()), cache), strict=True))
    found = []
    for facts in types:
        gpu = gpus.get(facts.name)
        if gpu is None:
            continue
        own = [
            _choice(facts, gpu, size, known[gpu.name, size], prices)
            for size in parallel
            if (gpu.name, size) in known and size <= _devices(facts)
        ]
        if own:
            found.append(min(own, key=lambda each: (not each.meets, each.cost(capacity_type), each.parallel)))
    return sorted(found, key=lambda each: (not each.meets, each.cost(capacity_type), each.instance_type))


def frontier(found: Sequence[Choice], measure: str, capacity_type: CapacityType) -> list[Choice]:
    """Choices that none beats in both dollars and the measure, cheapest first."""
    kept: list[Choice] = []
    best = inf
    priced = [choice for choice in found if choice.cost(capacity_type) < inf]
    for choice in sorted(priced, key=lambda one: (one.cost(capacity_type), _measure(one, measure))):
        if _measure(choice, measure) < best:
            best = _measure(choice, measure)
            kept.append(choice)
    return kept


def _choice(facts: InstanceFacts, gpu: Gpu, parallel: int, sizing: Sizing, prices: Prices) -> Choice:
    gpus = _devices(facts)
    per_node = gpus // parallel
    nodes = ceil(sizing.replicas / per_node)
    blank = Choice(facts.name, gpu.name, gpus, parallel, per_node, nodes, sizing, {}, {}, {})
    estimate = sizing.estimate
    if estimate is None or not sizing.replicas:
        return blank
    sold: list[CapacityType] = [
        capacity_type for capacity_type in CAPACITY_TYPES if capacity_type != "spot" or "spot" in facts.usage_classes
    ]
    priced = {kind: price for kind in sold if (price := prices.hourly(facts.name, kind)) is not None}
    hourly: dict[str, float] = {kind: price * nodes for kind, price in priced.items()}
    total = estimate.total_tokens_per_second * sizing.replicas * _HOUR / 1e6
    output = estimate.output_tokens_per_second * sizing.replicas * _HOUR / 1e6
    return replace(
        blank,
        dollars_per_hour=hourly,
        dollars_per_million_tokens={kind: dollars / total for kind, dollars in hourly.items()},
        dollars_per_million_output_tokens={kind: dollars / output for kind, dollars in hourly.items()},
    )


def _devices(facts: InstanceFacts) -> int:
    return sum(device.count for device in facts.gpus)


def _measure(choice: Choice, name: str) -> float:
    estimate = choice.sizing.estimate
    return estimate.measure(name) if estimate else inf


def _number(value: float) -> float | None:
    return round(value, 4) if isfinite(value) else None
