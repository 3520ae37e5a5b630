"""How many replicas of a model meet the objectives at a rate: searched with the simulator, kept by content."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

from drydock.engines.gpu_memory import DoesNotFitError
from drydock.errors import UsageError
from drydock.plan.estimate import Estimate, simulated

if TYPE_CHECKING:
    from drydock.engines.catalogue import Gpu, Model
    from drydock.engines.engine_args import EngineArgs
    from drydock.loadtest.settings import Workload

MOST_REPLICAS = 1024

_ALONE_SECONDS = 300.0
"""Between two requests, so that none meets another."""


@dataclass(frozen=True)
class Demand:
    """What is asked of all replicas together: requests a second of a workload, and objectives for each request."""

    workload: "Workload"
    rate: float
    objectives: Mapping[str, float]


@dataclass(frozen=True)
class Task:
    """A model on one kind of GPU; `args` say how many of them a replica takes."""

    gpu: "Gpu"
    model: "Model"
    args: "EngineArgs"
    demand: Demand
    seed: int = 0


@dataclass(frozen=True)
class Sizing:
    """The fewest replicas that meet the objectives.

    Attributes:
        replicas: 0 where no number of them does.
        estimate: of each replica; with one request at a time where no number suffices. None for what does not start.
        missed: why none does, in sentences.
    """

    replicas: int
    estimate: Estimate | None
    missed: tuple[str, ...] = ()


def sizes(tasks: Sequence[Task], cache: Path | None = None) -> list[Sizing]:
    """Search for every task, side by side over the processors; what was searched before is read from `cache`."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    found = [_stored(_file(cache, task)) if cache else None for task in tasks]
    missing = [task for task, known in zip(tasks, found, strict=True) if known is None]
    workers = min(os.cpu_count() or 1, len(missing))
    if workers > 1:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            fresh = list(pool.map(size, missing))
    else:
        fresh = [size(task) for task in missing]
    if cache:
        for task, sizing in zip(missing, fresh, strict=True):
            _store(_file(cache, task), sizing)
    following = iter(fresh)
    return [known or next(following) for known in found]


def size(task: Task) -> Sizing:
    """Double the replicas until they suffice, then halve the interval; before that, try one request alone."""
    demand = task.demand

    def estimated(replicas: int) -> Estimate:
        return simulated(task.gpu, task.model, task.args, demand.workload, demand.rate / replicas, seed=task.seed)

    try:
        alone = estimated(max(1, ceil(demand.rate * _ALONE_SECONDS)))
    except DoesNotFitError as error:
        return Sizing(0, None, (error.message,))
    missed = alone.missed(demand.objectives)
    if missed:
        return Sizing(0, alone, tuple(f"with one request at a time {item}" for item in missed))
    low, high, best = 0, 1, alone
    while (best := estimated(high)).missed(demand.objectives):
        if high >= MOST_REPLICAS:
            return Sizing(0, best, best.missed(demand.objectives))
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        tried = estimated(middle)
        if tried.missed(demand.objectives):
            low = middle
        else:
            high, best = middle, tried
    return Sizing(high, best)


def missed_by(task: Task, replicas: int) -> tuple[str, ...]:
    """Objectives that so many replicas miss, as sentences; none where the engine does not start or has no request."""
    demand = task.demand
    try:
        estimate = simulated(task.gpu, task.model, task.args, demand.workload, demand.rate / replicas, seed=task.seed)
    except (DoesNotFitError, UsageError):
        return ()
    return estimate.missed(demand.objectives)


def measured(estimates: Iterable[Estimate], demand: Demand) -> Sizing:
    """The fewest replicas by measurements at several rates.

    Each takes at most the highest measured rate that met the objectives: between two rates nothing is assumed.
    """
    ordered = sorted(estimates, key=lambda each: each.rate)
    good = [item for item in ordered if not item.missed(demand.objectives)]
    if not good:
        return Sizing(0, ordered[0] if ordered else None, ordered[0].missed(demand.objectives) if ordered else ())
    return Sizing(ceil(demand.rate / good[-1].rate - 1e-9), good[-1])


def _file(cache: Path, task: Task) -> Path:
    from drydock.tools.identity import code_identity, content_key

    parts = [code_identity(), task.gpu, task.model, sorted(task.args.values.items(), key=str), task.demand, task.seed]
    if task.demand.workload.dataset:
        parts.append(task.demand.workload.dataset.read_text())
    return cache / "plan" / f"{content_key(parts)}.json"


def _stored(file: Path) -> Sizing | None:
    try:
        row = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return None
    estimate = Estimate(**row["estimate"]) if row["estimate"] else None
    return Sizing(row["replicas"], estimate, tuple(row["missed"]))


def _store(file: Path, sizing: Sizing) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f"{file.name}.{os.getpid()}.partial")
    partial.write_text(json.dumps(asdict(sizing)))
    partial.replace(file)
