"""Objectives of an environment against the GPUs that its pools may buy: one request alone must meet them."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from drydock.checks.findings import Finding, Severity
from drydock.checks.subject import Subject

if TYPE_CHECKING:
    from drydock.engines.catalogue import Gpu, Model
    from drydock.engines.served_models import ServedModel

CHECK = "objective-unreachable"

_PROMPT, _ANSWER = 225, 338
"""Tokens of a mean request of the workload `chat` (data/workloads.yaml), which `plan` takes by default."""
_MARGIN = 1.1
"""How far the fitted engine model may be off on GPUs that it was scaled to; beyond it the finding is an error."""
_TIMES = ("ttft", "tpot", "itl")
"""Measures that a request alone bounds from below; the length of answers, of which nothing is known, decides e2e."""


def check(subject: Subject) -> Iterator[Finding]:
    """Engines that may get a GPU on which a request alone misses an objective, by the engine model of `plan`."""
    limits = {
        name: float(limit)
        for name, limit in subject.rendered.environment.objectives.items()
        if name.partition("_")[0] in _TIMES and isinstance(limit, int | float)
    }
    if not limits:
        return
    from drydock.engines.served_models import served_models
    from drydock.errors import UsageError

    for verdict in subject.verdicts:
        try:
            engines = list(served_models((verdict.pod,), subject.manifests))
        except UsageError:  # the check of engines' memory reports it
            continue
        types = {name for pool in verdict.pools for name in pool.types}
        for engine in engines:
            if engine.model is not None and not engine.guess:
                yield from _judged(subject, engine, engine.model, types, limits)


def alone(gpu: "Gpu", model: "Model", engine: "ServedModel") -> Mapping[str, float]:
    """Ms by measure of one request that has an engine to itself; empty where the engine does not start."""
    from drydock.engines.gpu_memory import DoesNotFitError
    from drydock.errors import UsageError
    from drydock.simulator.profile import setup
    from drydock.simulator.simulation import simulate
    from drydock.simulator.workload import Shape, Workload

    try:
        chosen = setup(gpu, model, engine.args)
    except (DoesNotFitError, UsageError):
        return {}
    answer = min(_ANSWER, chosen.max_model_len // 2)
    shape = Shape(min(_PROMPT, chosen.max_model_len - answer), answer, ())
    run = simulate(
        chosen.profile.coefficients, chosen.limits, Workload(rate=1 / 60, duration=60, requests=1, shapes=(shape,))
    )
    sent, first, end, _, tokens, *_ = run.table
    token = 1e3 * (end - first) / max(tokens - 1, 1)
    return {"ttft": 1e3 * (first - sent), "tpot": token, "itl": token}


def _judged(
    subject: Subject, engine: "ServedModel", model: "Model", types: set[str], limits: Mapping[str, float]
) -> Iterator[Finding]:
    from drydock.engines.served_models import gpu_of

    by_gpu: dict[Gpu, list[str]] = {}
    for name in sorted(types, key=lambda each: (subject.catalogue.types[each].vcpus, each)):
        gpu = gpu_of(subject.catalogue.types[name])
        if gpu is not None:
            by_gpu.setdefault(gpu, []).append(name)
    measured = {gpu: alone(gpu, model, engine) for gpu in by_gpu}
    for name, limit in sorted(limits.items()):
        times = {gpu: found[name.partition("_")[0]] for gpu, found in measured.items() if found}
        missing = {gpu: time for gpu, time in times.items() if time > limit}
        if not missing:
            continue
        slowest = max(missing, key=lambda gpu: missing[gpu])
        good = sorted(gpu.name for gpu in times if gpu not in missing)
        names = [instance_type for gpu in missing for instance_type in by_gpu[gpu]]
        shown = f"{', '.join(names[:3])}{', ...' if names[3:] else ''}"
        remedy = (
            f"Let it have only {' and '.join(good)} of the GPUs that its pools may buy, or raise {name}."
            if good
            else f"Allow faster GPUs or more of them (tensorParallelSize), or raise {name} to "
            f"{max(missing.values()):.0f} or more."
        )
        yield subject.finding(
            CHECK,
            engine.pod.manifest,
            f"The pools of {engine.names[0]} may buy {shown} for it, and on {slowest.name} a request alone has a "
            f"{name.partition('_')[0]} of {missing[slowest]:.1f} ms; the environment's objective {name} is {limit:g}.",
            remedy,
            path=engine.path,
            keys=("gpuNames", "instanceTypes", "accelerator", "pool"),
            severity=Severity.ERROR if max(missing.values()) > _MARGIN * limit else Severity.WARNING,
        )
        return  # the first that is missed says it
