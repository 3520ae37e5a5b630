"""What terminal and browser both show of a report: orders, sums, and figures as text."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from drydock.report.model import (
    HOURS_PER_MONTH,
    ColdStartReport,
    FaultReport,
    ModelReport,
    NodeReport,
    PodReport,
    RehearsalReport,
)

MANY = 100
"""More pods than this are shown in groups, and only the slowest and what is not ready one by one."""
SHOWN = 20
"""Of many, how many are shown one by one, of each kind."""


@dataclass(frozen=True)
class Spread:
    """Seconds that half of a group, 95 in a hundred and all of it took at most."""

    half: float
    most: float
    longest: float


@dataclass(frozen=True)
class PodGroup:
    """Pods of one workload in one phase on one instance type.

    Attributes:
        workload, namespace, instance_type, phase: as in PodReport.
        pods: how many.
        scheduled, ready: seconds since the install began; None when none of them is.
    """

    workload: str
    namespace: str
    instance_type: str
    phase: str
    pods: int
    scheduled: Spread | None
    ready: Spread | None


@dataclass(frozen=True)
class NodeGroup:
    """Nodes of one pool, instance type, zone and capacity type.

    Attributes:
        pool, instance_type, zone, capacity_type: as in NodeReport.
        nodes: how many.
        empty: how many of them hold no pod with accelerators although they have some.
        dollars_per_hour: of all of them.
    """

    pool: str
    instance_type: str
    zone: str
    capacity_type: str
    nodes: int
    empty: int
    dollars_per_hour: float


@dataclass(frozen=True)
class PoolCost:
    """What the nodes of one pool cost.

    Attributes:
        pool: its name.
        nodes: how many.
        instance_types: of its nodes, sorted.
        dollars_per_hour: of all its nodes.
        share: of the report's total, 0 to 1.
    """

    pool: str
    nodes: int
    instance_types: tuple[str, ...]
    dollars_per_hour: float
    share: float


@dataclass(frozen=True)
class Blocked:
    """Pods of one workload that are not ready for the same reason.

    Attributes:
        workload, namespace, phase, reason: as in PodReport.
        pods: their names, sorted.
        exclusions: (pool, requirement that it fails on), sorted by pool.
    """

    workload: str
    namespace: str
    phase: str
    reason: str
    pods: tuple[str, ...]
    exclusions: tuple[tuple[str, str], ...]


def ordered_pods(report: RehearsalReport) -> tuple[PodReport, ...]:
    """Pods in the order in which things happened to them; what never happened comes last."""
    never = float("inf")

    def moments(pod: PodReport) -> tuple[float | str, ...]:
        ready = never if pod.ready_seconds is None else pod.ready_seconds
        scheduled = never if pod.scheduled_seconds is None else pod.scheduled_seconds
        return scheduled, ready, pod.created_seconds, pod.node, pod.namespace, pod.name

    return tuple(sorted(report.pods, key=moments))


def ordered_nodes(report: RehearsalReport) -> tuple[NodeReport, ...]:
    """Nodes by pool, the dearest first."""
    return tuple(sorted(report.nodes, key=lambda node: (node.pool, -node.dollars_per_hour, node.name)))


def is_large(report: RehearsalReport) -> bool:
    """Whether there are too many pods to show each."""
    return len(report.pods) > MANY


def pod_groups(report: RehearsalReport) -> tuple[PodGroup, ...]:
    """All pods in groups, the largest first."""
    groups = defaultdict(list)
    for pod in report.pods:
        groups[pod.workload, pod.namespace, pod.instance_type, pod.phase].append(pod)
    found = (
        PodGroup(
            *key,
            len(pods),
            _spread(pod.scheduled_seconds for pod in pods),
            _spread(pod.ready_seconds for pod in pods),
        )
        for key, pods in sorted(groups.items())
    )
    return tuple(sorted(found, key=lambda group: -group.pods))


def node_groups(report: RehearsalReport) -> tuple[NodeGroup, ...]:
    """All nodes in groups, by pool, the dearest first."""
    groups = defaultdict(list)
    for node in report.nodes:
        groups[node.pool, node.instance_type, node.zone, node.capacity_type].append(node)
    found = (
        NodeGroup(*key, len(nodes), sum(map(_is_empty, nodes)), sum(node.dollars_per_hour for node in nodes))
        for key, nodes in sorted(groups.items())
    )
    return tuple(sorted(found, key=lambda group: (group.pool, -group.dollars_per_hour)))


def shown_pods(report: RehearsalReport) -> tuple[PodReport, ...]:
    """Pods to show one by one, as `ordered_pods`: all, or of many the slowest and of each obstacle a few."""
    pods = ordered_pods(report)
    if not is_large(report):
        return pods
    slowest = [pod for pod in pods if pod.phase == "Ready"][-SHOWN:]
    seen: Counter[tuple[str, str, str]] = Counter()
    for pod in pods:
        key = (pod.workload, pod.phase, pod.reason)
        if pod.phase != "Ready" and seen[key] < SHOWN:
            seen[key] += 1
            slowest.append(pod)
    return tuple(slowest)


def shown_nodes(report: RehearsalReport) -> tuple[NodeReport, ...]:
    """Nodes to show one by one, as `ordered_nodes`: all, or of many those of the pods shown and some empty ones."""
    nodes = ordered_nodes(report)
    if not is_large(report):
        return nodes
    names = {pod.node for pod in shown_pods(report)}
    names |= {node.name for node in [node for node in nodes if _is_empty(node)][:SHOWN]}
    return tuple(node for node in nodes if node.name in names)


def spread_text(spread: Spread | None) -> str:
    """Such as `38.2, 61.0, 63.2 s`; empty for what has not happened."""
    return "" if spread is None else f"{spread.half:.1f}, {spread.most:.1f}, {spread.longest:.1f} s"


def first_names(names: tuple[str, ...]) -> tuple[tuple[str, ...], int]:
    """The first few names, and how many more there are."""
    return names[:SHOWN], max(0, len(names) - SHOWN)


def _spread(moments: Iterable[float | None]) -> Spread | None:
    known = sorted(moment for moment in moments if moment is not None)

    def within(share: float) -> float:
        return known[math.ceil(share * len(known)) - 1]

    return Spread(within(0.5), within(0.95), known[-1]) if known else None


def _is_empty(node: NodeReport) -> bool:
    return bool(node.accelerators) and not any(used for used, _ in node.accelerators.values())


def ready_pods(report: RehearsalReport) -> int:
    """How many pods became ready."""
    return sum(pod.phase == "Ready" for pod in report.pods)


def accelerator_totals(report: RehearsalReport) -> dict[str, tuple[int, int]]:
    """(used, available) over all nodes, by resource name."""
    totals: dict[str, tuple[int, int]] = {}
    for node in report.nodes:
        for resource, (used, available) in node.accelerators.items():
            before = totals.get(resource, (0, 0))
            totals[resource] = (before[0] + used, before[1] + available)
    return dict(sorted(totals.items()))


def pool_costs(report: RehearsalReport) -> tuple[PoolCost, ...]:
    """The pools that have nodes, the dearest first."""
    nodes = defaultdict(list)
    for node in report.nodes:
        nodes[node.pool].append(node)
    total = sum(node.dollars_per_hour for node in report.nodes)
    costs = []
    for pool, members in nodes.items():
        dollars = sum(node.dollars_per_hour for node in members)
        types = tuple(sorted({node.instance_type for node in members}))
        costs.append(PoolCost(pool, len(members), types, dollars, dollars / total if total else 0))
    return tuple(sorted(costs, key=lambda cost: (-cost.dollars_per_hour, cost.pool)))


def blocked_pods(report: RehearsalReport) -> tuple[Blocked, ...]:
    """Pods that are not ready, those of one workload with one reason together."""
    groups = defaultdict(list)
    for pod in report.pods:
        if pod.phase != "Ready":
            exclusions = tuple(sorted(pod.exclusions.items()))
            groups[pod.workload, pod.namespace, pod.phase, pod.reason, exclusions].append(pod.name)
    return tuple(
        Blocked(workload, namespace, phase, reason, tuple(sorted(pods)), exclusions)
        for (workload, namespace, phase, reason, exclusions), pods in sorted(groups.items())
    )


def cost_text(report: RehearsalReport) -> str:
    """Nodes and their price in one line."""
    price = f"{hourly(report.dollars_per_hour)} an hour, {monthly(report.dollars_per_hour)} a month"
    return f"{counted(len(report.nodes), 'node')}, {price}"


def accelerators_text(accelerators: dict[str, int]) -> str:
    """Extended resources as `8 nvidia.com/gpu, 4 vpc.amazonaws.com/efa`."""
    return ", ".join(f"{count} {resource}" for resource, count in sorted(accelerators.items()))


def hourly(dollars: float) -> str:
    """An hourly price, to a tenth of a cent."""
    return f"${dollars:,.3f}"


def monthly(dollars_per_hour: float) -> str:
    """What an hourly price comes to in AWS's 730-hour month, to the dollar."""
    return f"${dollars_per_hour * HOURS_PER_MONTH:,.0f}"


def seconds_text(seconds: float | None) -> str:
    """A time such as `63.2 s`; empty for what has not happened."""
    return "" if seconds is None else f"{seconds:.1f} s"


def cold_start_parts(start: ColdStartReport) -> tuple[str, str, str, str]:
    """Node, pull, startup probe, and all together, in whole seconds; what is not known is shown as such."""
    pull = "size not known" if start.pull_seconds is None else f"{start.pull_seconds} s"
    startup = "none" if start.startup_seconds is None else f"{start.startup_seconds} s"
    together = (
        f"{start.seconds} s"
        if None not in (start.pull_seconds, start.startup_seconds)
        else f"{start.seconds} s and more"
    )
    return f"{start.node_seconds} s", pull, startup, together


def fault_outcome(fault: FaultReport) -> str:
    """`held` or `BROKEN`."""
    return "held" if fault.held else "BROKEN"


def recovery_text(fault: FaultReport) -> str:
    """Seconds until requests were answered again."""
    return "never" if fault.recovered_seconds is None else f"{fault.recovered_seconds:.1f} s"


def counted(count: int, noun: str) -> str:
    """`1 node`, `2 nodes`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def printable(text: str) -> str:
    """Text without control characters, which a hostile name or message could steer a terminal or a reader with."""
    return "".join(
        letter if letter.isprintable() else " " if letter.isspace() else "\N{REPLACEMENT CHARACTER}" for letter in text
    )


def model_sentence(model: ModelReport) -> str:
    """Whether a model meets the objectives on an instance type."""
    where = f"{model.model} on {model.instance_type}{f' ({model.gpu})' if model.gpu else ''}"
    if model.meets is None:
        return f"{where}: not known: {model.reason}"
    if model.missed:
        return f"{where}, {model.load}: missed: {'; '.join(model.missed)}"
    values = ", ".join(f"{name} {value:.4g}" for name, value in model.measures.items())
    return f"{where}, {model.load}: met ({values})"
