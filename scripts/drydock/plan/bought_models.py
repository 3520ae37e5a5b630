"""Whether what a cluster bought for its models meets the environment's objectives, by the simulator."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from math import isfinite
from typing import TYPE_CHECKING, Any

from drydock.clusters.objects import full_name, is_true, labels_of
from drydock.engines.catalogue import Gpu, gpus
from drydock.engines.gpu_memory import DoesNotFitError
from drydock.engines.other_engines import other_engines
from drydock.engines.served_models import ServedModel, served_models
from drydock.errors import UsageError
from drydock.outcome.fleet import INSTANCE_TYPE
from drydock.outcome.observe import Scene
from drydock.outcome.owners import workload_of
from drydock.plan.estimate import simulated
from drydock.report.model import ModelReport
from drydock.scheduling.pods import PodUse
from drydock.suite.manifests import Manifest

if TYPE_CHECKING:
    from drydock.suite.environments import Environment

_ALONE = 1 / 300
"""Requests a second at which none meets another."""


def judged_models(scene: Scene, environment: "Environment") -> tuple[ModelReport, ...]:
    """Each engine on each instance type that its ready pods run on; none without objectives of times.

    Args:
        scene: what is on the cluster.
        environment: its objectives, and the load that it expects.
    """
    objectives = {
        name: float(limit)
        for name, limit in environment.objectives.items()
        if name.partition("_")[0] in ("ttft", "tpot", "itl", "e2e") and isinstance(limit, int | float)
    }
    if not objectives:
        return ()
    types = {full_name(node): labels_of(node).get(INSTANCE_TYPE, "") for node in scene.of("Node")}
    running = [pod for pod in scene.of("Pod") if is_true(pod, "Ready") and "deletionTimestamp" not in pod["metadata"]]
    replicas = Counter(_place(scene, pod) for pod in running)
    found: dict[tuple[str, str, str], ModelReport] = {}
    for pod in running:
        place = _place(scene, pod)
        instance_type = types.get(str(pod["spec"].get("nodeName", "")), "")
        use = PodUse(Manifest("", pod, ""), "spec", pod["spec"], labels_of(pod), {}, 1)
        if (*place, instance_type) in found:
            continue
        for engine in _engines(use):
            report = ModelReport(place[1], place[0], engine.names[0], instance_type, "", replicas[place])
            found[(*place, instance_type)] = _judged(report, engine, objectives, environment)
        for other in other_engines((use,)):
            report = ModelReport(place[1], place[0], other.name, instance_type, "", replicas[place])
            found[(*place, instance_type)] = replace(report, reason=other.reason)
    return tuple(found[key] for key in sorted(found))


def _place(scene: Scene, pod: Mapping[str, Any]) -> tuple[str, str]:
    return pod["metadata"]["namespace"], workload_of(scene, pod)


def _engines(use: PodUse) -> list[ServedModel]:
    try:
        return list(served_models((use,)))
    except UsageError:  # `validate` reports it
        return []


def _gpu(instance_type: str) -> Gpu | None:
    family = instance_type.partition(".")[0]
    return next((gpu for gpu in gpus().values() if gpu.nvidia and family in gpu.instances), None)


def _judged(
    report: ModelReport, engine: ServedModel, objectives: Mapping[str, float], environment: "Environment"
) -> ModelReport:
    from drydock.loadtest.presets import preset

    gpu = _gpu(report.instance_type)
    if gpu is None:
        return replace(report, reason=f"the GPU of {report.instance_type or 'its node'} is not known")
    report = replace(report, gpu=gpu.name)
    if engine.args.values.get("config"):
        return replace(report, reason="its arguments stand in a file (--config), which is not read from the cluster")
    if engine.model is None:
        return replace(report, reason=f"the shape of {engine.args.model} is not known")
    if engine.guess:
        return replace(report, reason=engine.guess)
    load = next((environment.load[name] for name in engine.names if name in environment.load), None)
    rate = load.rate if load else None
    each = _ALONE if rate is None else rate / report.replicas
    workload = load.workload if load else "chat"
    try:
        estimate = simulated(gpu, engine.model, engine.args, preset(workload), each)
    except (UsageError, DoesNotFitError) as error:
        return replace(report, reason=error.message)
    values = {name: estimate.measures.get(name) for name in objectives}
    known = {name: round(value, 3) for name, value in values.items() if value is not None and isfinite(value)}
    missed = tuple(
        f"{name} is {value:.4g}, more than {objectives[name]:g}"
        for name, value in known.items()
        if value > objectives[name]
    )
    if rate is not None and not estimate.keeps_up:
        missed = (*missed, f"{report.replicas} replicas do not keep up with {rate:g} requests/s")
    offered = "one request alone" if rate is None else f"{rate:g} requests/s over {report.replicas}"
    return replace(report, load=f"{workload}, {offered}", measures=known, missed=missed, meets=not missed)
