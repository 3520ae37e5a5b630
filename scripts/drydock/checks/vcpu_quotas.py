"""What an environment buys against EC2's quotas of vCPUs: those of its account, or those of a new one."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
from drydock.suite.manifests import Manifest

CHECK = "vcpu-quota"
_MILLI = 1000
_MARKETS = ("on-demand", "spot")
_Options = frozenset[Quota]
_PASSING = ("ClusterWorkflowTemplate", "CronJob", "CronWorkflow", "Job", "RayJob", "Workflow", "WorkflowTemplate")
"""Kinds whose pods end, so that they need not run at once."""


@dataclass(frozen=True)
class _Need:
    """What a workload, or a pool with a fixed number of nodes, asks of quotas.

    Attributes:
        manifest, path: the workload or the pool.
        pools: names of those that can host it; empty for a pool with a fixed number of nodes.
        whole: vCPUs of the nodes that it takes by itself, beside what it finds in reservations.
        shares: vCPUs by resource, as far as its pods fill nodes with that one, in reservations or not.
        reserved: likewise what each reservation that it may use has room for, by identifier.
    """

    manifest: Manifest
    path: str
    pools: frozenset[str]
    whole: int
    shares: Mapping[str, float] = field(default_factory=dict)
    reserved: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def is_pool(self) -> bool:
        """Whether it is a pool with a fixed number of nodes."""
        return not self.pools


_Needs = list[_Need]


def check(subject: Subject) -> Iterator[Finding]:
    """Pods that need more vCPUs than the quotas of all that they can run on, and pools that may ask for more.

    Pods for which reservations have room count against none. All that can only count against some of a set of quotas is
    judged together, on the nodes with the fewest vCPUs.
    """
    if not any(pool.node_class for pool in subject.pools):
        return
    needs: dict[_Options, _Needs] = {}
    for options, need in _all_needs(subject):
        if options:
            needs.setdefault(options, []).append(need)
    together = {
        options: [need for own, found in needs.items() if own <= options for need in found]
        for options in _unions(frozenset(needs))
    }
    known = {options: found for options, found in together.items() if all(_has(subject, quota) for quota in options)}
    reported: list[_Options] = []
    for options, found in sorted(known.items(), key=lambda item: len(item[0])):
        again = any(smaller < options for smaller in reported)
        if finding := _short(subject, options, needs.get(options, []) if again else found):
            reported.append(options)
            yield finding
    yield from _unknown(subject, {options: found for options, found in together.items() if options not in known})
    for pool in subject.pools:
        yield from _beyond(subject, pool)


def _all_needs(subject: Subject) -> Iterator[tuple[_Options, _Need]]:
    autoscalers = autoscaler_bounds(subject)
    for verdict in subject.verdicts:
        least, _ = autoscalers.get((verdict.pod.manifest.kind, verdict.pod.manifest.name), (0, 0))
        replicas = max(verdict.pod.replicas, least)
        if replicas:
            nodes = (
                (candidate.pool, name) for candidate in verdict.pools if candidate.hosts for name in candidate.types
            )
            yield _options(nodes), _need(subject, verdict, replicas)
    for pool in subject.pools:
        if pool.replicas and pool.types:
            yield _options((pool, name) for name in pool.types), _fixed_need(pool, pool.replicas)


def _unions(found: frozenset[_Options]) -> frozenset[_Options]:
    """Sets of quotas, and the unions of those that overlap: two of them may be enough apart and too little together."""
    more = found | {options | other for options in found for other in found if options & other}
    return found if more == found else _unions(more)


def _options(nodes: Iterable[tuple[Pool, str]]) -> _Options:
    """The quotas that nodes of pools and types count against; empty when some of them count against none."""
    found: set[Quota] = set()
    for pool, name in nodes:
        for quota in _quotas(pool, name):
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
    """VCPUs of the smallest nodes that host so many of the pods, and what reservations have room for."""
    requests, alone = verdict.pod.requests, dict[str, int]()
    rooms: list[tuple[int, int, Mapping[str, int]]] = []
    reserved: dict[str, tuple[int, Mapping[str, int]]] = {}
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
                for reservation in (reservation for reservation in held if reservation.instance_type == name):
                    alone[reservation.id] = reservation.instance_count * count
                    reserved[reservation.id] = reservation.instance_count, room
    left = max(0, replicas - sum(alone.values()))
    prices = {
        resource: min(vcpus / room[resource] for vcpus, _, room in rooms)
        for resource, amount in requests.items()
        if amount and rooms
    }
    return _Need(
        verdict.pod.manifest,
        verdict.pod.path,
        frozenset(candidate.pool.name for candidate in verdict.pools if candidate.hosts),
        min((vcpus * math.ceil(left / count) for vcpus, count, _ in rooms), default=0),
        {resource: replicas * requests[resource] * price for resource, price in prices.items()},
        {
            name: {resource: instances * room[resource] * price for resource, price in prices.items()}
            for name, (instances, room) in reserved.items()
        },
    )


def _fixed_need(pool: Pool, nodes: int) -> _Need:
    """VCPUs of nodes that are there whatever pods ask for, as far as reservations have none for them."""
    held = sum(
        reservation.instance_count for reservation in _reservations(pool) if reservation.instance_type in pool.types
    )
    vcpus = min(pool.catalogue.types[name].vcpus for name in pool.types)
    return _Need(pool.manifest, "spec.replicas", frozenset(), vcpus * max(0, nodes - held))


def _reservations(pool: Pool) -> Sequence[CapacityReservation]:
    return pool.node_class.reservations if pool.node_class and _allows(pool, "reserved") else ()


def _short(subject: Subject, options: _Options, needs: _Needs) -> Finding | None:
    limits = {quota: _limit(subject, quota) for quota in options}
    required, allowed = _required(needs), sum(limits.values())
    if required <= allowed:
        return None
    largest = max(needs, key=lambda need: need.whole)
    alone = largest.whole > allowed or len(needs) == 1
    names = " and ".join(
        sorted(
            f"{quota.name} ({quota.code}, {limits[quota]} vCPUs{_beside_reservations(subject, quota)})"
            for quota in options
        )
    )
    environment = subject.rendered.environment
    keys = " or ".join(sorted(f"account.quotas.{quota.key}" for quota in options))
    then = f"raise {keys} in {environment.file.name} as well"
    if environment.snapshot and all(quota.code in environment.snapshot.quotas for quota in options):
        then = f"run `drydock account {environment.name}` again"
    mine, others = ("Its nodes", "what") if largest.is_pool else ("Its pods", "those of")
    who = f"{mine} and {others} {len(needs) - 1} other workloads need"
    if alone:
        who = "Its fixed number of nodes needs" if largest.is_pool else "The pods need"
    return subject.finding(
        CHECK,
        largest.manifest,
        f"{who} nodes with at least {required} vCPUs, and the account's quotas allow {allowed}: {names}.",
        f"Have Service Quotas raise one by {required - allowed} or more, then {then}.",
        path=largest.path,
    )


def _required(needs: _Needs) -> int:
    """VCPUs that are certain to be needed, since workloads may share nodes.

    No packing has fewer than the largest workload by itself, nor fewer than all that stay fill of one resource beside
    what reservations have room for, for any pod. Fixed numbers of nodes add up, and come on top where no workload
    can run on them.
    """
    workloads = [need for need in needs if not need.is_pool]
    hosts = frozenset[str]().union(*(need.pools for need in workloads))
    fixed = {need.manifest.name: need.whole for need in needs if need.is_pool}
    apart = sum(vcpus for name, vcpus in fixed.items() if name not in hosts)
    together: Counter[str] = Counter()
    reserved: dict[str, Counter[str]] = {}
    for need in workloads:
        if need.manifest.kind not in _PASSING:
            together.update(need.shares)
            for name, shares in need.reserved.items():
                reserved[name] = reserved.get(name, Counter()) | Counter(shares)
    for shares in reserved.values():
        together.subtract(shares)
    filled = math.ceil(round(max(together.values(), default=0), 6))
    return max(filled + apart, sum(fixed.values()), apart + max((need.whole for need in workloads), default=0))


def _unknown(subject: Subject, groups: Mapping[_Options, _Needs]) -> Iterator[Finding]:
    """One note for all quotas that are not stated and that a new account would not meet; none without an account."""
    if not subject.rendered.environment.file.name:
        return
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
    stated: Mapping[Any, int] = {quota: _limit(subject, quota) for quota in quotas if quota and _has(subject, quota)}
    reserved = sum(
        reservation.instance_count * subject.catalogue.types[reservation.instance_type].vcpus
        for reservation in _reservations(pool)
        if reservation.instance_type in pool.types_within_limits
    )
    allowed = sum(stated.values()) + reserved
    if limit is None or len(stated) < len(quotas) or not quotas or limit <= allowed * _MILLI:
        return
    yield subject.finding(
        CHECK,
        pool.manifest,
        f"Limits of node pool {pool.name} allow {limit // _MILLI} vCPUs, and the account's quotas of all that it may "
        f"buy {allowed}: EC2 refuses what is beyond.",
        f"Lower limits.cpu of pool {pool.name}, or have Service Quotas raise "
        f"{', '.join(sorted(quota.code for quota in stated))}.",
        path="spec.limits",
        severity=Severity.NOTE,
    )


def _has(subject: Subject, quota: Quota) -> bool:
    return quota.code in subject.account.quotas


def _limit(subject: Subject, quota: Quota) -> int:
    """VCPUs that are left beside the reservations, as a snapshot has them."""
    return max(0, subject.account.quotas.get(quota.code, quota.default) - _reserved(subject, quota))


def _reserved(subject: Subject, quota: Quota) -> int:
    """VCPUs of stated reservations: each counts as a whole, used or not, except a Capacity Block.

    Source: EC2 User Guide, "Capacity Reservation limitations". A snapshot's quotas are without them already.
    """
    environment = subject.rendered.environment
    if environment.snapshot and quota.code in environment.snapshot.quotas:
        return 0
    types = subject.catalogue.types
    return sum(
        reservation.instance_count * types[reservation.instance_type].vcpus
        for reservation in subject.account.reservations
        if reservation.kind == "default"
        and reservation.instance_type in types
        and quota_of(reservation.instance_type, "on-demand") == quota
    )


def _beside_reservations(subject: Subject, quota: Quota) -> str:
    reserved = _reserved(subject, quota)
    return f" beside {reserved} of reservations" if reserved else ""
