"""What an environment buys against EC2's quotas of vCPUs: those of its account, or those of a new one."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from drydock.checks.findings import Finding, Severity
from drydock.checks.rollouts import autoscaler_bounds, slots
from drydock.checks.subject import Subject
from drydock.scheduling.feasibility import PodVerdict
from drydock.scheduling.gpu_sharing import sharing_of
from drydock.scheduling.instance_types.labels import CAPACITY_TYPE
from drydock.scheduling.pools import Pool
from drydock.suite.ec2_quotas import Quota, quota_of
from drydock.suite.environments import CapacityReservation

CHECK = "vcpu-quota"
_MILLI = 1000
_MARKETS = ("on-demand", "spot")
_Options = frozenset[Quota]
_PASSING = ("ClusterWorkflowTemplate", "CronJob", "CronWorkflow", "Job", "RayJob", "Workflow", "WorkflowTemplate")
"""Kinds whose pods end, so that they need not run at once."""


@dataclass(frozen=True)
class _Need:
    """What a workload asks of quotas.

    Attributes:
        verdict: where its pods can run.
        whole: vCPUs of the nodes that it takes by itself.
        shares: vCPUs by resource, as far as its pods fill nodes with that one.
    """

    verdict: PodVerdict
    whole: int
    shares: Mapping[str, float]


_Needs = list[_Need]


def check(subject: Subject) -> Iterator[Finding]:
    """Pods that need more vCPUs than the quotas of all that they can run on, and pools that may ask for more.

    Pods for which reservations have room count against none. Pods with the same quotas are judged together, on the
    nodes with the fewest vCPUs.
    """
    if not any(pool.node_class for pool in subject.pools):
        return
    autoscalers = autoscaler_bounds(subject)
    needs: dict[_Options, _Needs] = {}
    for verdict in subject.verdicts:
        options = _options(verdict)
        if options:
            least, _ = autoscalers.get((verdict.pod.manifest.kind, verdict.pod.manifest.name), (0, 0))
            need = _need(subject, verdict, max(verdict.pod.replicas, least))
            if need.whole:
                needs.setdefault(options, []).append(need)
    known = {options: found for options, found in needs.items() if all(_has(subject, quota) for quota in options)}
    for options, found in known.items():
        yield from _short(subject, options, found)
    yield from _unknown(subject, {options: found for options, found in needs.items() if options not in known})
    for pool in subject.pools:
        yield from _beyond(subject, pool)


def _options(verdict: PodVerdict) -> _Options:
    """The quotas that a pod's nodes count against; empty when some of them count against none."""
    found: set[Quota] = set()
    for candidate in verdict.pools:
        for name in candidate.types if candidate.hosts else ():
            for quota in _quotas(candidate.pool, name):
                if quota is None:
                    return frozenset()
                found.add(quota)
    return frozenset(found)


def _quotas(pool: Pool, name: str) -> Iterator[Quota | None]:
    for market in _MARKETS:
        if _allows(pool, market) and market in pool.catalogue.types[name].usage_classes:
            yield quota_of(name, market)


def _allows(pool: Pool, market: str) -> bool:
    wanted = pool.requirements.get(CAPACITY_TYPE)
    return wanted is None or wanted.has(market)


def _need(subject: Subject, verdict: PodVerdict, replicas: int) -> _Need:
    """VCPUs of the smallest nodes that host so many of the pods, less those that reservations have room for."""
    requests, reserved = verdict.pod.requests, dict[str, int]()
    rooms: list[tuple[int, int, Mapping[str, int]]] = []
    for candidate in verdict.pools:
        if not candidate.hosts:
            continue
        sharing, held = sharing_of(subject.manifests, candidate.pool.labels), _reservations(candidate.pool)
        for name in candidate.types:
            room = {
                resource: amount * sharing.pods_on(resource)
                for resource, amount in candidate.pool.allocatable(name).items()
            }
            count = slots(candidate.pool.allocatable(name), requests, sharing)
            if count:
                rooms.append((candidate.pool.catalogue.types[name].vcpus, count, room))
                reserved |= {
                    reservation.id: reservation.instance_count * count
                    for reservation in held
                    if reservation.instance_type == name
                }
    left = max(0, replicas - sum(reserved.values()))
    shares = {
        resource: left * min(vcpus * amount / room[resource] for vcpus, _, room in rooms)
        for resource, amount in requests.items()
        if amount and rooms
    }
    return _Need(verdict, min((vcpus * math.ceil(left / count) for vcpus, count, _ in rooms), default=0), shares)


def _reservations(pool: Pool) -> Sequence[CapacityReservation]:
    return pool.node_class.reservations if pool.node_class and _allows(pool, "reserved") else ()


def _short(subject: Subject, options: _Options, needs: _Needs) -> Iterator[Finding]:
    limits = {quota: subject.account.quotas[quota.code] for quota in options}
    required, allowed = _required(needs), sum(limits.values())
    if required <= allowed:
        return
    largest = max(needs, key=lambda need: need.whole)
    alone = largest.whole > allowed or len(needs) == 1
    names = " and ".join(sorted(f"{quota.name} ({quota.code}, {limits[quota]} vCPUs)" for quota in options))
    environment = subject.rendered.environment
    keys = " or ".join(sorted(f"account.quotas.{quota.key}" for quota in options))
    then = f"raise {keys} in {environment.file.name} as well"
    if environment.snapshot and all(quota.code in environment.snapshot.quotas for quota in options):
        then = f"run `drydock account {environment.name}` again"
    who = "The pods need" if alone else f"Its pods and those of {len(needs) - 1} other workloads need"
    yield subject.finding(
        CHECK,
        largest.verdict.pod.manifest,
        f"{who} nodes with at least {required} vCPUs, and the account's quotas allow {allowed}: {names}.",
        f"Have Service Quotas raise one by {required - allowed} or more, then {then}.",
        path=largest.verdict.pod.path,
    )


def _required(needs: _Needs) -> int:
    """VCPUs that are certain to be needed, since workloads may share nodes.

    No packing has fewer than the largest workload by itself, nor fewer than all that stay fill of one resource.
    """
    together: Counter[str] = Counter()
    for need in needs:
        if need.verdict.pod.manifest.kind not in _PASSING:
            together.update(need.shares)
    filled = math.ceil(round(max(together.values(), default=0), 6))
    return max(filled, *(need.whole for need in needs))


def _unknown(subject: Subject, groups: Mapping[_Options, _Needs]) -> Iterator[Finding]:
    """One note for all quotas that are not stated and that a new account would not meet."""
    short: dict[Quota, int] = {}
    for options, needs in groups.items():
        if _required(needs) > sum(_limit(subject, quota) for quota in options):
            cheapest = min(options, key=lambda quota: (quota.key, quota.code))
            short[cheapest] = max(short.get(cheapest, 0), _required(needs))
    if short:
        needed = ", ".join(
            f"{quota.name} ({quota.code}) {quota.default}, of at least {vcpus} that are needed"
            for quota, vcpus in sorted(short.items(), key=lambda item: item[0].key)
        )
        keys = ", ".join(sorted(f"account.quotas.{quota.key}" for quota in short))
        environment = subject.rendered.environment
        yield Finding(
            environment.name,
            CHECK,
            f"The account's quotas of vCPUs are not stated, and a new account has too little: {needed}.",
            f"State what Service Quotas shows as {keys} in {environment.file.name}.",
            Severity.NOTE,
            file=str(environment.file),
        )


def _beyond(subject: Subject, pool: Pool) -> Iterator[Finding]:
    """A pool whose limit of cpu lets Karpenter ask for more than a stated quota allows."""
    limit = pool.limits.get("cpu")
    quotas = {quota for name in pool.types_within_limits for quota in _quotas(pool, name)}
    stated: Mapping[Any, int] = {
        quota: subject.account.quotas[quota.code] for quota in quotas if quota and _has(subject, quota)
    }
    if limit is None or len(stated) < len(quotas) or not quotas or limit <= sum(stated.values()) * _MILLI:
        return
    yield subject.finding(
        CHECK,
        pool.manifest,
        f"Limits of node pool {pool.name} allow {limit // _MILLI} vCPUs, and the account's quotas of all that it may "
        f"buy {sum(stated.values())}: EC2 refuses what is beyond.",
        f"Lower limits.cpu of pool {pool.name}, or have Service Quotas raise "
        f"{', '.join(sorted(quota.code for quota in stated))}.",
        path="spec.limits",
        severity=Severity.NOTE,
    )


def _has(subject: Subject, quota: Quota) -> bool:
    return quota.code in subject.account.quotas


def _limit(subject: Subject, quota: Quota) -> int:
    return subject.account.quotas.get(quota.code, quota.default)
