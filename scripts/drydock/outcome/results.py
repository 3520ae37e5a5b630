"""The report of a rehearsal, filled from what was seen."""

import datetime
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from drydock.clusters.objects import full_name, is_daemon, is_true, labels_of
from drydock.engines.cold_start import cold_start
from drydock.outcome.fleet import CAPACITY_TYPE, INSTANCE_TYPE, ZONE
from drydock.outcome.idle import idle_nodes
from drydock.outcome.observe import PodTimes, Scene
from drydock.outcome.obstacles import NUDGE, Obstacle
from drydock.outcome.owners import workload_of
from drydock.outcome.troubles import actionable_warnings
from drydock.outcome.unfinished import explain
from drydock.outcome.verdict import Verdict
from drydock.report.model import ColdStartReport, NodeReport, PodReport, RehearsalReport, StepReport, WarningReport
from drydock.scheduling.instance_types.quantity import GIB, add, amounts
from drydock.scheduling.pods import container_requests, pod_requests
from drydock.scheduling.prices import CapacityType, Prices

_POOL = "karpenter.sh/nodepool"
_ARCHITECTURE = "kubernetes.io/arch"
_PRICED_AS: Mapping[str, CapacityType] = {"spot": "spot", "reserved": "reserved"}
_ACCELERATORS = ("nvidia.com/", "aws.amazon.com/neuron", "amd.com/gpu", "habana.ai/", "vpc.amazonaws.com/efa")


@dataclass(frozen=True)
class Circumstances:
    """What a report says beside what was seen on the cluster.

    Attributes:
        environment: its name.
        started: when the command was given, as Unix time.
        install_began: when Helm was called, as Unix time; None when it never was.
        seconds: from the command to the verdict.
        versions: of `kubernetes`, `karpenter` and `helm`.
        steps: of the main job.
        prices: of the region.
        said: Karpenter's last words by object, see `RehearsalCluster.said`.
        whole: the scene holds the pods of every namespace, so that a node without any is idle.
        assumptions, limits: see `RehearsalReport`.
        assumptions_with: assumptions that matter only with nodes of a capacity type, by that type.
    """

    environment: str
    started: float
    install_began: float | None
    seconds: float
    versions: Mapping[str, str]
    steps: Sequence[StepReport]
    prices: Prices
    assumptions: Sequence[str]
    limits: Sequence[str]
    assumptions_with: Mapping[str, str] = field(default_factory=dict)
    said: Mapping[str, str] = field(default_factory=dict)
    whole: bool = True


def build_report(scene: Scene, verdict: Verdict, circumstances: Circumstances) -> RehearsalReport:
    """The report on a cluster as it stands."""
    nodes = _nodes(scene, circumstances.prices)
    said = circumstances.said
    idle = _idle(scene, nodes) if circumstances.whole else ()
    return RehearsalReport(
        environment=circumstances.environment,
        started=datetime.datetime.fromtimestamp(circumstances.started, datetime.UTC).isoformat(timespec="seconds"),
        ready=verdict.ready,
        seconds=round(circumstances.seconds, 2),
        kubernetes_version=circumstances.versions["kubernetes"],
        karpenter_version=circumstances.versions["karpenter"],
        helm_version=circumstances.versions["helm"],
        steps=tuple(circumstances.steps),
        pods=_pods(scene, verdict, circumstances.install_began or circumstances.started, said),
        nodes=nodes,
        warnings=(
            *_told(scene, verdict, said),
            *idle,
            *actionable_warnings(scene),
        ),
        dollars_per_hour=round(sum(node.dollars_per_hour for node in nodes), 6),
        assumptions=(*circumstances.assumptions, *_more_assumptions(nodes, circumstances.assumptions_with)),
        limits=tuple(circumstances.limits),
        install_began_seconds=_since(circumstances.install_began, circumstances.started),
        cold_starts=_cold_starts(scene),
    )


def _more_assumptions(nodes: Sequence[NodeReport], by_capacity: Mapping[str, str]) -> Iterator[str]:
    present = {node.capacity_type for node in nodes}
    yield from (told for capacity, told in by_capacity.items() if capacity in present)
    unpriced = sorted({node.instance_type for node in nodes if not node.dollars_per_hour})
    if unpriced:
        yield f"Karpenter knows no price of {', '.join(unpriced)}: the totals are too low by these nodes."


def _since(moment: float | None, start: float) -> float | None:
    return None if moment is None else round(max(0.0, moment - start), 2)


def _told(scene: Scene, verdict: Verdict, said: Mapping[str, str]) -> tuple[WarningReport, ...]:
    """Obstacles that no pod of the report shows, and what was missing when time was over, and why."""
    missing = () if verdict.final else verdict.waiting
    return (
        *(
            WarningReport(obstacle.subject, "NeverReady", obstacle.reason, 1)
            for obstacle in verdict.obstacles
            if not obstacle.pod
        ),
        *(WarningReport(obstacle, "NotReady", explain(scene, said, obstacle), 1) for obstacle in missing),
    )


def _idle(scene: Scene, nodes: Iterable[NodeReport]) -> Iterator[WarningReport]:
    """Nodes that hold nothing but daemons: they cost as much as the others."""
    idle = {full_name(cluster_node) for cluster_node in idle_nodes(scene)}
    for node in nodes:
        if node.name in idle:
            cost = f"${node.dollars_per_hour:,.3f} an hour"
            yield WarningReport(
                f"Node/{node.name}", "OnlyDaemons", f"{node.instance_type} holds nothing but daemons, for {cost}", 1
            )


def _pods(scene: Scene, verdict: Verdict, start: float, said: Mapping[str, str]) -> tuple[PodReport, ...]:
    obstacles = {obstacle.pod: obstacle for obstacle in verdict.obstacles if obstacle.pod}
    nodes = scene.named("Node")
    alive = (pod for pod in scene.of("Pod") if pod["metadata"]["name"] != NUDGE)
    reports = [
        _pod(scene, pod, nodes, obstacles.get(full_name(pod)), start, said)
        for pod in alive
        if "deletionTimestamp" not in pod["metadata"] and not _went_with_its_node(pod, nodes)
    ]
    return tuple(sorted(reports, key=lambda each: (each.namespace, each.workload, each.created_seconds, each.name)))


def _went_with_its_node(pod: Mapping[str, Any], nodes: Collection[str]) -> bool:
    """Whether it is a daemon's pod on a node that was removed: the garbage collector deletes it some time later."""
    node = pod["spec"].get("nodeName")
    return bool(node) and node not in nodes and is_daemon(pod)


def _pod(
    scene: Scene,
    pod: Mapping[str, Any],
    nodes: Mapping[str, Mapping[str, Any]],
    obstacle: Obstacle | None,
    start: float,
    said: Mapping[str, str],
) -> PodReport:
    times = scene.times.get(pod["metadata"]["uid"], PodTimes(start))
    node = pod["spec"].get("nodeName", "")
    found = nodes.get(node)
    phase = _phase(pod, obstacle)
    return PodReport(
        name=pod["metadata"]["name"],
        namespace=pod["metadata"]["namespace"],
        workload=workload_of(scene, pod),
        node=node,
        instance_type=labels_of(found).get(INSTANCE_TYPE, "") if found else "",
        accelerators=accelerators_of(pod_requests(pod["spec"])),
        created_seconds=_since(times.created, start) or 0.0,
        scheduled_seconds=_since(times.scheduled, start),
        ready_seconds=_since(times.ready, start) if phase == "Ready" else None,
        phase=phase,
        reason=_reason(scene, pod, obstacle, phase, said),
        exclusions=dict(obstacle.exclusions) if obstacle else {},
    )


def _cold_starts(scene: Scene) -> tuple[ColdStartReport, ...]:
    """Of every workload that has containers with accelerators, that of the container which takes longest."""
    found: dict[tuple[str, str], ColdStartReport] = {}
    for pod in scene.of("Pod"):
        place = (pod["metadata"]["namespace"], workload_of(scene, pod))
        for container in pod["spec"]["containers"]:
            start = cold_start(container)
            slowest = place not in found or start.seconds > found[place].seconds
            if slowest and accelerators_of(container_requests(container)):
                found[place] = ColdStartReport(
                    workload=place[1],
                    namespace=place[0],
                    image=container["image"],
                    node_seconds=start.node,
                    pull_seconds=start.pull,
                    startup_seconds=start.startup,
                    seconds=start.seconds,
                )
    return tuple(sorted(found.values(), key=lambda each: (-each.seconds, each.namespace, each.workload)))


def _phase(pod: Mapping[str, Any], obstacle: Obstacle | None) -> str:
    if is_true(pod, "Ready") or pod["status"].get("phase") == "Succeeded":
        return "Ready"
    if pod["status"].get("phase") == "Failed":
        return "Failed"
    return "Unschedulable" if obstacle and obstacle.unschedulable else "Pending"


def _reason(
    scene: Scene, pod: Mapping[str, Any], obstacle: Obstacle | None, phase: str, said: Mapping[str, str]
) -> str:
    if obstacle:
        return obstacle.reason
    return "" if phase == "Ready" else explain(scene, said, f"Pod/{full_name(pod)}")


def accelerators_of(resources: Mapping[str, int]) -> dict[str, int]:
    """Those of the resources that are accelerators, or EFA devices beside them, where there are any."""
    return {name: value for name, value in sorted(resources.items()) if name.startswith(_ACCELERATORS) and value}


def _nodes(scene: Scene, prices: Prices) -> tuple[NodeReport, ...]:
    nodes, held = scene.named("Node"), pods_by_node(scene)
    reports = []
    for claim in scene.of("NodeClaim"):
        name = (claim.get("status") or {}).get("nodeName", "")
        if name in nodes:
            reports.append(_node(claim, nodes[name], held.get(name, ()), prices))
    return tuple(sorted(reports, key=lambda each: (each.pool, each.instance_type, each.zone, each.name)))


def pods_by_node(scene: Scene) -> Mapping[str, Sequence[Mapping[str, Any]]]:
    """The pods that hold resources of each node, by its name."""
    held: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for pod in scene.of("Pod"):
        if pod["spec"].get("nodeName") and pod["status"].get("phase") not in ("Succeeded", "Failed"):
            held[pod["spec"]["nodeName"]].append(pod)
    return held


def _node(
    claim: Mapping[str, Any], node: Mapping[str, Any], held: Sequence[Mapping[str, Any]], prices: Prices
) -> NodeReport:
    labels = {**labels_of(node), **labels_of(claim)}
    used = add(*(pod_requests(pod["spec"]) for pod in held))
    available = amounts(node["status"].get("allocatable"))
    devices = accelerators_of(available)
    return NodeReport(
        name=node["metadata"]["name"],
        pool=labels.get(_POOL, ""),
        instance_type=labels.get(INSTANCE_TYPE, ""),
        zone=labels.get(ZONE, ""),
        capacity_type=labels.get(CAPACITY_TYPE, ""),
        architecture=labels.get(_ARCHITECTURE, ""),
        accelerators={device: (used.get(device, 0), count) for device, count in devices.items()},
        cpu=(round(used.get("cpu", 0) / 1000, 3), round(available.get("cpu", 0) / 1000, 3)),
        memory=(round(used.get("memory", 0) / GIB, 2), round(available.get("memory", 0) / GIB, 2)),
        dollars_per_hour=price(prices, labels),
        pods=tuple(sorted(pod["metadata"]["name"] for pod in held)),
    )


def price(prices: Prices, labels: Mapping[str, str]) -> float:
    """Price of a node in dollars an hour; 0 when the list has none.

    Reserved capacity is all but free to Karpenter, so that it is used first, but the account pays for it whether used
    or not.
    """
    capacity: CapacityType = _PRICED_AS.get(labels.get(CAPACITY_TYPE, ""), "on-demand")
    return round(prices.hourly(labels.get(INSTANCE_TYPE, ""), capacity) or 0.0, 6)
