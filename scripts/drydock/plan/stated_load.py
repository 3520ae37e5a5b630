"""The load that an environment states against the replicas that its values have: what `plan` knows, as a check."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from drydock.checks.findings import Finding, Severity

if TYPE_CHECKING:
    from drydock.checks.subject import Subject
    from drydock.engines.catalogue import Gpu, Model
    from drydock.engines.served_models import ServedModel
    from drydock.suite.environments import Load

CHECK = "replicas-too-few"
_MARGIN = 1.1
"""How far the engine model may be off on GPUs that it was scaled to: what is missed by less is not reported."""


@dataclass(frozen=True)
class _Miss:
    """Objectives that the replicas miss on a GPU, and how many replicas would meet them; 0 where no number does."""

    gpu: str
    reasons: tuple[str, ...]
    needed: int


def check(subject: "Subject") -> Iterator[Finding]:
    """Models whose replicas, or the maximum of their autoscaler, are too few for the stated load."""
    environment = subject.rendered.environment
    if not environment.load:
        return
    from drydock.engines.other_engines import other_engines
    from drydock.engines.served_models import served_models
    from drydock.errors import UsageError
    from drydock.plan.planned_models import usable_types
    from drydock.suite.cluster_description import describe

    kubernetes = describe(environment).kubernetes
    try:
        engines = [
            (engine, usable_types(verdict, kubernetes)[0])
            for verdict in subject.verdicts
            for engine in served_models((verdict.pod,), subject.manifests)
        ]
    except UsageError:  # the check of engines' memory reports it
        return
    known = {name for engine, _ in engines for name in engine.names}
    known |= {engine.name for engine in other_engines(subject.pods)}
    for name, load in sorted(environment.load.items()):
        own = [(engine, types) for engine, types in engines if name in engine.names]
        if name not in known:
            yield _unknown(subject, name, sorted(known))
        elif len(own) == 1:  # how several engines share a load is not known
            engine, types = own[0]
            yield from _judged(subject, engine, engine.model, types, name, load)


def _judged(
    subject: "Subject", engine: "ServedModel", model: "Model | None", types: set[str], name: str, load: "Load"
) -> Iterator[Finding]:
    from drydock.plan.scalers import find_scaler

    manifest = engine.pod.manifest
    scaler = find_scaler(subject.manifests, manifest.name)
    spec = manifest.content.get("spec") or {}
    replicas = scaler.most if scaler else int(spec.get("replicas", 1))
    if model is None or engine.guess or not replicas or engine.args.pipeline_parallel_size > 1:
        return
    misses = list(_misses(subject, engine, model, types, load, replicas))
    if not misses:
        return
    worst = max(misses, key=lambda miss: miss.needed)
    gpus = " and ".join(sorted(miss.gpu for miss in misses))
    key = "autoscaling.maxReplicas" if scaler else "replicas"
    yield subject.finding(
        CHECK,
        manifest,
        f"{name} must serve {load.rate:g} requests/s of {load.workload}, and with {replicas} "
        f"replica{'s' * (replicas != 1)}{' at most' if scaler else ''} on {gpus}, which its pools may buy, "
        f"{'; '.join(worst.reasons)}.",
        f"Set {key} of {name} to {worst.needed} or more, or lower load.{name}.rate in "
        f"{subject.rendered.environment.file.name}; `drydock plan {subject.rendered.environment.name}` has the costs.",
        path="spec.replicas",
        keys=("maxReplicas",) if scaler else ("replicas",),
        severity=Severity.WARNING,
    )


def _misses(
    subject: "Subject", engine: "ServedModel", model: "Model", types: set[str], load: "Load", replicas: int
) -> Iterator[_Miss]:
    from drydock.engines.fit import fits
    from drydock.engines.served_models import gpu_of
    from drydock.loadtest.presets import preset
    from drydock.plan.sizing import Demand, Task, missed_by, size
    from drydock.suite.objectives import MOST

    stated = subject.rendered.environment.objectives
    limits: Mapping[str, float] = {
        name: _MARGIN * float(limit)
        for name, limit in stated.items()
        if name in MOST and isinstance(limit, int | float)
    }
    found = {gpu for name in types if (gpu := gpu_of(subject.catalogue.types[name])) is not None}
    gpus: list[Gpu] = sorted(found, key=lambda gpu: gpu.name)
    for fit in fits(model, engine.args, gpus, (engine.args.tensor_parallel_size,)):
        if not fit.starts:
            continue
        task = Task(fit.gpu, model, engine.args, Demand(preset(load.workload), load.rate, limits))
        reasons = missed_by(task, replicas)
        needed = size(task).replicas if reasons else 0
        if needed > replicas:  # where no number suffices, `objective-unreachable` says it
            yield _Miss(fit.gpu.name, reasons, needed)


def _unknown(subject: "Subject", name: str, known: list[str]) -> Finding:
    from drydock.checks.origins import line_in

    environment = subject.rendered.environment
    close = get_close_matches(name, known, 1)
    guess = f"Did you mean {close[0]}?" if close else f"Its models: {', '.join(known) or 'none'}."
    return Finding(
        environment.name,
        CHECK,
        f"load names {name}, which no engine of the environment serves.",
        f"{guess} Keys are names in requests.",
        Severity.WARNING,
        path=f"load.{name}",
        file=str(environment.file),
        line=line_in(environment.file, name),
    )
