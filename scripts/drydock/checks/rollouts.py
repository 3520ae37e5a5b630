"""A rollout must not wait for accelerators that it will never get (pains 10 and 11)."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from drydock.checks.findings import Finding, Severity
from drydock.checks.subject import Subject
from drydock.scheduling.feasibility import PodVerdict
from drydock.scheduling.gpu_sharing import Sharing, sharing_of
from drydock.scheduling.instance_types.quantity import Resources, describe
from drydock.scheduling.pods import PodUse, is_extended
from drydock.scheduling.pools import Pool

HEADROOM = "rollout-headroom"
CAPACITY = "pool-capacity"
SCALING = "autoscaler-capacity"
RAY_UPGRADE = "ray-service-upgrade"


@dataclass(frozen=True)
class _Demand:
    """Devices that a workload takes of one pool.

    Attributes:
        verdict: on its pods.
        steady: in rest, at the fewest replicas of its autoscaler.
        scaled: at the most replicas of its autoscaler; 0 without one.
        surge: on top of `steady` while it is rolled out.
        waits: whether the rollout stops no old pod before the new one is ready.
    """

    verdict: PodVerdict
    steady: int
    scaled: int
    surge: int
    waits: bool


def check(subject: Subject) -> Iterator[Finding]:
    """Workloads whose pods, or whose pods during a rollout, need more devices than their pool may ever hold."""
    autoscalers = autoscaler_bounds(subject)
    for pool in subject.pools:
        sharing = sharing_of(subject.manifests, pool.labels)
        for resource, devices, bound in _bounds(pool):
            most = devices * sharing.pods_on(resource)
            pinned = [verdict for verdict in subject.verdicts_on(pool) if _only_on(verdict, pool)]
            demands = [_demand(verdict, resource, autoscalers) for verdict in pinned]
            demands = [demand for demand in demands if demand.steady]
            steady = sum(demand.steady for demand in demands)
            if steady > most:
                yield _overfull(subject, pool, resource, demands, most, bound)
                continue
            for demand in demands:
                if demand.surge and steady + demand.surge > most:
                    yield _stuck(subject, pool, resource, demand, most - steady, bound)
                if steady - demand.steady + demand.scaled > most:
                    yield _unscalable(subject, pool, resource, demand, most - steady, bound)
        yield from _beyond_nodes(subject, pool, sharing, autoscalers)


def _bounds(pool: Pool) -> Iterator[tuple[str, int, str]]:
    """Device resources that a pool holds only so many of, by its limits or because it has nothing but reservations."""
    for resource, limit in pool.limits.items():
        if is_extended(resource):
            yield resource, limit, "its limits allow"
    capacity_type = pool.requirements.get("karpenter.sh/capacity-type")
    if pool.node_class and capacity_type and capacity_type.values == {"reserved"}:
        held: dict[str, int] = {}
        for reservation in pool.node_class.reservations:
            if reservation.instance_type in pool.types:
                for resource, value in pool.capacity(reservation.instance_type).items():
                    held[resource] = held.get(resource, 0) + value * reservation.instance_count
        yield from (
            (resource, value, "its reservations hold") for resource, value in held.items() if is_extended(resource)
        )


def _beyond_nodes(
    subject: Subject, pool: Pool, sharing: Sharing, autoscalers: Mapping[tuple[str, str], tuple[int, int]]
) -> Iterator[Finding]:
    """Workloads whose nodes, the best that there are for them, exceed what the pool may hold of cpu, memory or nodes.

    Karpenter counts whole nodes against the limits, not what pods request. Each workload is judged alone.
    """
    limits = {name: limit for name, limit in pool.limits.items() if not is_extended(name)}
    for verdict in subject.verdicts_on(pool) if limits else ():
        types = next(pool_verdict.types for pool_verdict in verdict.pools if pool_verdict.pool is pool)
        least, _ = autoscalers.get((verdict.pod.manifest.kind, verdict.pod.manifest.name), (0, 0))
        replicas = max(verdict.pod.replicas, least)
        if not types or not _only_on(verdict, pool):
            continue
        counts = {name: slots(pool.allocatable(name), verdict.pod.requests, sharing) for name in types}
        for resource, limit in sorted(limits.items()):
            shares = (
                (1 if resource == "nodes" else pool.capacity(name).get(resource, 0)) / count
                for name, count in counts.items()
                if count
            )
            needed = math.ceil(replicas * min(shares, default=0))
            if needed > limit:
                yield _too_many_nodes(subject, pool, verdict, resource, needed, limit)
                break


def slots(room: Resources, requests: Resources, sharing: Sharing) -> int:
    """Pods of a kind that an empty node takes."""
    return min(
        (room.get(name, 0) * sharing.pods_on(name) // amount for name, amount in requests.items() if amount), default=0
    )


def _too_many_nodes(
    subject: Subject, pool: Pool, verdict: PodVerdict, resource: str, needed: int, limit: int
) -> Finding:
    return subject.finding(
        CAPACITY,
        verdict.pod.manifest,
        f"The nodes of the {verdict.pod.replicas} pods, which only node pool {pool.name} can host, have at least "
        f"{describe(resource, needed)}, and its limits, against which Karpenter counts whole nodes, allow "
        f"{describe(resource, limit)}.",
        f"Raise the limit of {resource} in pool {pool.name}, or run fewer replicas.",
        path=verdict.pod.path,
        pain=10,
        keys=("replicas",),
    )


def _only_on(verdict: PodVerdict, pool: Pool) -> bool:
    return [pool_verdict.pool for pool_verdict in verdict.pools if pool_verdict.hosts] == [pool]


def _demand(verdict: PodVerdict, resource: str, autoscalers: Mapping[tuple[str, str], tuple[int, int]]) -> _Demand:
    pod = verdict.pod
    each = pod.requests.get(resource, 0)
    surge, unavailable = _rolling(pod)
    least, most = autoscalers.get((pod.manifest.kind, pod.manifest.name), (0, 0))
    return _Demand(verdict, each * max(pod.replicas, least), each * most, each * surge, waits=not unavailable)


def autoscaler_bounds(subject: Subject) -> dict[tuple[str, str], tuple[int, int]]:
    """Fewest and most replicas by kind and name of what a HorizontalPodAutoscaler or KEDA scales."""
    found = {}
    for manifest in subject.manifests:
        spec = manifest.content.get("spec") or {}
        if manifest.kind == "HorizontalPodAutoscaler":
            bounds = int(spec.get("minReplicas", 1)), int(spec.get("maxReplicas", 0))
        elif manifest.kind == "ScaledObject":
            bounds = int(spec.get("minReplicaCount", 0)), int(spec.get("maxReplicaCount", 100))
        else:
            continue
        target = spec.get("scaleTargetRef") or {}
        found[str(target.get("kind", "Deployment")), str(target.get("name"))] = bounds
    return found


def _rolling(pod: PodUse) -> tuple[int, int]:
    """Pods that a rollout adds, and pods that it may take away first (apps/v1 defaults are 25 % each)."""
    spec: Mapping[str, Any] = pod.manifest.content.get("spec") or {}
    if pod.manifest.kind == "RayService":
        return (0 if _keeps_cluster(spec) else pod.replicas), 0
    if pod.manifest.kind == "LeaderWorkerSet":
        strategy = (spec.get("rolloutStrategy") or {}).get("rollingUpdateConfiguration") or {}
        replicas = int(spec.get("replicas", 1))
        per_group = pod.replicas // replicas if replicas else 0
        surge = _share(strategy.get("maxSurge", 0), replicas, math.ceil)
        return surge * per_group, _share(strategy.get("maxUnavailable", 1), replicas, math.floor)
    if pod.manifest.kind != "Deployment" or (spec.get("strategy") or {}).get("type") == "Recreate":
        return 0, 1
    strategy = (spec.get("strategy") or {}).get("rollingUpdate") or {}
    surge = _share(strategy.get("maxSurge", "25%"), pod.replicas, math.ceil)
    return surge, _share(strategy.get("maxUnavailable", "25%"), pod.replicas, math.floor)


def _keeps_cluster(spec: Mapping[str, Any]) -> bool:
    """Whether an upgrade of a RayService starts no second cluster of full size."""
    kind = (spec.get("upgradeStrategy") or {}).get("type")
    return kind in ("None", "NewClusterWithIncrementalUpgrade")


def _share(value: object, replicas: int, rounding: Any) -> int:
    text = str(value)  # a number or a percentage, of which the check of quantities is certain
    return int(rounding(replicas * int(text[:-1]) / 100)) if text.endswith("%") else int(text)


def _overfull(
    subject: Subject, pool: Pool, resource: str, demands: Sequence[_Demand], most: int, bound: str
) -> Finding:
    largest = max(demands, key=lambda each: each.steady)
    names = ", ".join(f"{demand.verdict.pod.name} {demand.steady}" for demand in demands)
    total = sum(demand.steady for demand in demands)
    return subject.finding(
        CAPACITY,
        largest.verdict.pod.manifest,
        f"The pods that only node pool {pool.name} can host need {total} {resource} ({names}), and {bound} {most}.",
        f"Raise what pool {pool.name} may hold, or run fewer replicas.",
        path=largest.verdict.pod.path,
        pain=10,
    )


def _stuck(subject: Subject, pool: Pool, resource: str, demand: _Demand, free: int, bound: str) -> Finding:
    pod = demand.verdict.pod
    ray = pod.manifest.kind == "RayService"
    remedy = (
        "Set upgradeStrategy.type to NewClusterWithIncrementalUpgrade or None"
        if ray
        else "Set strategy.rollingUpdate maxSurge 0 and maxUnavailable 1"
    )
    outcome = "it would wait for them for good, with the old pods still running" if demand.waits else "it goes slower"
    return subject.finding(
        RAY_UPGRADE if ray else HEADROOM,
        pod.manifest,
        f"A rollout starts pods with {demand.surge} more {resource} before it stops old ones, and {bound} pool "
        f"{pool.name} only {free} more: {outcome}.",
        f"{remedy}, or raise limits of pool {pool.name}.",
        path="spec.upgradeStrategy" if ray else "spec.strategy",
        pain=11 if ray else 10,
        severity=Severity.ERROR if demand.waits else Severity.WARNING,
    )


def _unscalable(subject: Subject, pool: Pool, resource: str, demand: _Demand, free: int, bound: str) -> Finding:
    pod = demand.verdict.pod
    return subject.finding(
        SCALING,
        pod.manifest,
        f"Its autoscaler may ask for {demand.scaled - demand.steady} more {resource}, and {bound} pool {pool.name} "
        f"only {free} more: replicas beyond stay Pending.",
        f"Lower maxReplicas, or raise what pool {pool.name} may hold.",
        path=pod.path,
        pain=10,
        severity=Severity.WARNING,
    )
