"""What is planned for: a model by name on any GPU, or the engines of an environment on what its pools may buy."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from drydock.engines.catalogue import Gpu, Model, checkpoint_of, find_model, recognized
from drydock.engines.engine_args import EngineArgs, Weights, parse_line
from drydock.engines.fit import PARALLEL_SIZES
from drydock.engines.other_engines import other_engines
from drydock.engines.served_models import gpu_of, served_models
from drydock.engines.start_rules import divides
from drydock.errors import UsageError
from drydock.plan.scalers import Scaler, find_scaler
from drydock.scheduling.instance_types.facts import InstanceFacts
from drydock.scheduling.pods import PodUse

if TYPE_CHECKING:
    from drydock.progress import Progress
    from drydock.project import Project
    from drydock.scheduling.feasibility import PodVerdict
    from drydock.suite.environments import Environment, Load


@dataclass(frozen=True)
class Target:
    """One model to plan for.

    Attributes:
        name: in requests.
        types: instance types that are allowed, sorted by name; only those with a GPU that the catalogue knows.
        parallel: tensor parallelisms that may be chosen.
        object: of the environment, empty for a model by name.
        pod, container: that run it there.
        scaler: what scales it there.
        replicas: that its object asks for; None for a model by name.
        left_out: engines of the same environment for which nothing is planned, with the reason.
        region: of the environment; empty for a model by name.
        load: that the environment states for it.
        unusable: sentences on instance types of its pools that are left out.
    """

    name: str
    model: Model
    args: EngineArgs
    types: tuple[InstanceFacts, ...]
    parallel: tuple[int, ...]
    object: str = ""
    pod: PodUse | None = None
    container: str = ""
    scaler: Scaler | None = None
    replicas: int | None = None
    left_out: tuple[str, ...] = ()
    region: str = ""
    load: "Load | None" = None
    unusable: tuple[str, ...] = ()

    @property
    def gpus(self) -> list[Gpu]:
        """Of the allowed types, smallest first."""
        found = {gpu for facts in self.types if (gpu := gpu_of(facts)) is not None}
        return sorted(found, key=lambda gpu: (gpu.memory_gib, gpu.name))


def model_target(
    name: str, engine_args: str, types: Mapping[str, InstanceFacts], parallel: Sequence[int] = ()
) -> Target:
    """A model of the catalogue on every type of the region.

    Raises:
        UsageError: the catalogue does not know it, or an argument is wrong.
    """
    args = parse_line(f"--model {name} {engine_args}")
    found = recognized(name)
    model, quantization = found or (find_model(name), None)
    args = args.changed(weights=Weights(checkpoint_of(name)))
    if quantization and args.quantization is None:
        args = args.changed(quantization=quantization)
    given = (args.tensor_parallel_size,) if args.tensor_parallel_size > 1 else PARALLEL_SIZES[:4]
    sizes = tuple(parallel) or given
    if not any(divides(model, size) for size in sizes):
        raise UsageError(
            f"the {model.heads} attention heads and {model.kv_heads} KV heads of {model.name} cannot be divided by a"
            f" tensor parallelism of {', '.join(map(str, sizes))}",
            remedy="take one of " + ", ".join(str(size) for size in PARALLEL_SIZES if divides(model, size)),
        )
    return Target(name, model, args, _with_gpu(types.values()), sizes)


def environment_targets(
    project: "Project", environment: "Environment", progress: "Progress", parallel: Sequence[int] = ()
) -> list[Target]:
    """The engines of an environment, each on the instance types that its pools may buy for it.

    Raises:
        DrydockError: it does not render, or has no engine whose model is known.
    """
    from drydock.checks.subject import load_subject
    from drydock.suite.charts import assemble_charts
    from drydock.suite.cluster_description import describe
    from drydock.suite.render import render
    from drydock.tools.setup import set_up

    equipment = set_up(project, "render", progress)
    subject = load_subject(project.cache_dir, render(equipment.tools["helm4"], assemble_charts(project), environment))
    kubernetes = describe(environment).kubernetes
    allowed = {id(verdict.pod): usable_types(verdict, kubernetes) for verdict in subject.verdicts}
    served = list(served_models(subject.pods, subject.manifests))
    left_out = (
        *(f"{engine.names[0]} (its model is not known)" for engine in served if engine.model is None),
        *(f"{engine.names[0]} ({engine.guess})" for engine in served if engine.model is not None and engine.guess),
        *(f"{engine.name} ({engine.reason})" for engine in other_engines(subject.pods)),
    )
    found = [
        Target(
            model.names[0],
            model.model,
            model.args,
            _with_gpu(subject.catalogue.types[name] for name in allowed.get(id(model.pod), ((), ()))[0]),
            tuple(parallel) or (model.args.tensor_parallel_size,),
            model.pod.manifest.identity,
            model.pod,
            model.container,
            find_scaler(subject.manifests, model.pod.manifest.name),
            model.pod.manifest.content.get("spec", {}).get("replicas"),
            left_out,
            subject.account.region,
            environment.load.get(model.names[0]),
            allowed.get(id(model.pod), ((), ()))[1],
        )
        for model in served
        if model.model is not None and not model.guess
    ]
    if not found:
        raise UsageError(
            f"environment {environment.name} has no engine on NVIDIA GPUs whose model is in the catalogue",
            remedy="Name a model: `drydock plan MODEL`.",
        )
    return found


def usable_types(verdict: "PodVerdict", kubernetes: str) -> tuple[set[str], tuple[str, ...]]:
    """Names of the types that the pools may buy for a pod, and why others of theirs have no usable GPU for it."""
    from drydock.checks.gpu_drivers import obstacles

    allowed = {name for pool in verdict.pools for name in pool.types}
    usable, reasons = set(allowed), set[str]()
    barred = [(pool, family, found) for _, pool, family, found in obstacles(verdict, kubernetes) if found.certain]
    for name in allowed:
        offered = [pool for pool in verdict.pools if name in pool.types]
        against = [
            found
            for pool, family, found in barred
            if family == name.partition(".")[0] and any(pool is instance_type for instance_type in offered)
        ]
        if against and len(against) >= len(offered):
            usable.discard(name)
            reasons.add(against[0].reason)
    return usable, tuple(f"Instance types left out: {reason}." for reason in sorted(reasons))


def region_types(cache: Path, region: str) -> Mapping[str, InstanceFacts]:
    """Every instance type of a region."""
    from drydock.scheduling.instance_types.region import load_catalogue

    return load_catalogue(cache, region).types


def narrowed(target: Target, names: Sequence[str], types: Mapping[str, InstanceFacts]) -> Target:
    """The target on these instance types or families only.

    Raises:
        UsageError: the region has none of a name, or it has no GPU that the catalogue knows.
    """
    chosen: set[str] = set()
    for name in names:
        own = {instance_type for instance_type in types if name in (instance_type, instance_type.partition(".")[0])}
        if not _with_gpu(types[instance_type] for instance_type in own):
            raise UsageError(
                f"{name} is no instance type or family of the region with a GPU that the catalogue knows",
                remedy="Name one like g6.xlarge or p5.",
            )
        chosen |= own
    return replace(target, types=_with_gpu(types[instance_type] for instance_type in chosen))


def _with_gpu(types: Iterable[InstanceFacts]) -> tuple[InstanceFacts, ...]:
    return tuple(
        sorted(
            (instance_type for instance_type in types if gpu_of(instance_type) is not None), key=lambda each: each.name
        )
    )
