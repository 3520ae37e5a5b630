"""What an environment buys against EC2's quotas of vCPUs: those of its account, or those of a new one."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from drydock.checks.findings import Finding, Severity
from drydock.checks.rollouts import autoscaler_bounds, slots
from drydock.checks.subject import Subject
from drydock.scheduling.feasibility import PodVerdict
from drydock.scheduling.gpu_sharing import sharing_of
from drydock.scheduling.instance_types.labels import CAPACITY_TYPE
from drydock.scheduling.pools import Pool
from drydock.suite.ec2_quotas import Quota, quota_of

CHECK = "vcpu-quota"
_MILLI = 1000
_MARKETS = ("on-demand", "spot")
_Options = frozenset[Quota]
_Pods = list[tuple[PodVerdict, int]]


def check(subject: Subject) -> Iterator[Finding]:
    """Pods that need more vCPUs than the quotas of all that they can run on, and pools that may ask for more.

    Pods that may run on reserved capacity count against none. Pods with the same quotas are judged together, on
    the nodes with the fewest vCPUs.
    """
    if not any(pool.node_class for pool in subject.pools):
        return
    autoscalers = autoscaler_bounds(subject)
    needs: dict[_Options, _Pods] = {}
    for verdict in subject.verdicts:
        options = _options(verdict)
        if options:
            least, _ = autoscalers.get((verdict.pod.manifest.kind, verdict.pod.manifest.name), (0, 0))
            vcpus = _vcpus(subject, verdict, max(verdict.pod.replicas, least))
            if vcpus:
                needs.setdefault(options, []).append((verdict, vcpus))
    known = {options: pods for options, pods in needs.items() if all(_has(subject, each) for each in options)}
    for options, pods in known.items():
        yield from _short(subject, options, pods)
    yield from _unknown(subject, [pods for options, pods in needs.items() if options not in known])
    for pool in subject.pools:
        yield from _beyond(subject, pool)


def _options(verdict: PodVerdict) -> _Options:
    """The quotas that a pod's nodes count against; empty when some of them count against none."""
    found: set[Quota] = set()
    for each in verdict.pools:
        if not each.hosts:
            continue
        if _allows(each.pool, "reserved") and each.pool.node_class and each.pool.node_class.reservations:
            return frozenset()
        for name in each.types:
            for quota in _quotas(each.pool, name):
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


def _vcpus(subject: Subject, verdict: PodVerdict, replicas: int) -> int:
    """VCPUs of the smallest nodes that host so many of the pods."""
    shares = []
    for each in verdict.pools:
        sharing = sharing_of(subject.manifests, each.pool.labels) if each.hosts else None
        for name in each.types if sharing else ():
            count = slots(each.pool.allocatable(name), verdict.pod.requests, sharing) if sharing else 0
            if count:
                vcpus = each.pool.catalogue.types[name].vcpus
                shares.append(max(vcpus * math.ceil(replicas / count), 0))
    return min(shares, default=0)


def _short(subject: Subject, options: _Options, pods: _Pods) -> Iterator[Finding]:
    limits = {quota: subject.account.quotas[quota.code] for quota in options}
    required, allowed = _required(pods), sum(limits.values())
    if required <= allowed:
        return
    verdict = max(pods, key=lambda each: each[1])[0]
    names = " and ".join(sorted(f"{quota.name} ({quota.code}, {limits[quota]} vCPUs)" for quota in options))
    keys = " or ".join(sorted(f"account.quotas.{quota.key}" for quota in options))
    who = "The pods need" if len(pods) == 1 else f"Its pods and those of {len(pods) - 1} other workloads need"
    yield subject.finding(
        CHECK,
        verdict.pod.manifest,
        f"{who} nodes with at least {required} vCPUs, and the account's quotas allow {allowed}: {names}.",
        f"Request {required} or more in Service Quotas, then set {keys} in {subject.rendered.environment.file.name}.",
        path=verdict.pod.path,
    )


def _required(pods: _Pods) -> int:
    """VCPUs that are certain to be needed: pods without devices may share nodes, so that the largest need counts."""
    devices = all(any("/" in name for name in verdict.pod.requests) for verdict, _ in pods)
    return sum(vcpus for _, vcpus in pods) if devices else max(vcpus for _, vcpus in pods)


def _unknown(subject: Subject, groups: Sequence[_Pods]) -> Iterator[Finding]:
    """One note for all quotas that are not stated and that a new account would not meet."""
    short: dict[Quota, int] = {}
    for pods in groups:
        options = _options(pods[0][0])
        if _required(pods) > sum(_limit(subject, quota) for quota in options):
            cheapest = min(options, key=lambda quota: (quota.key, quota.code))
            short[cheapest] = max(short.get(cheapest, 0), _required(pods))
    if short:
        needs = ", ".join(
            f"{quota.name} ({quota.code}) {quota.default}, of at least {vcpus} that are needed"
            for quota, vcpus in sorted(short.items(), key=lambda each: each[0].key)
        )
        keys = ", ".join(sorted(f"account.quotas.{quota.key}" for quota in short))
        environment = subject.rendered.environment
        yield Finding(
            environment.name,
            CHECK,
            f"The account's quotas of vCPUs are not stated, and a new account has too little: {needs}.",
            f"State what Service Quotas shows as {keys} in {environment.file.name}.",
            Severity.NOTE,
            file=str(environment.file),
        )


def _beyond(subject: Subject, pool: Pool) -> Iterator[Finding]:
    """A pool whose limit of cpu lets Karpenter ask for more than a stated quota allows."""
    limit = pool.limits.get("cpu")
    quotas = {quota for name in pool.types_within_limits for quota in _quotas(pool, name)}
    stated: Mapping[Any, int] = {
        each: subject.account.quotas[each.code] for each in quotas if each and _has(subject, each)
    }
    if limit is None or len(stated) < len(quotas) or not quotas or limit <= sum(stated.values()) * _MILLI:
        return
    yield subject.finding(
        CHECK,
        pool.manifest,
        f"The limits of node pool {pool.name} allow {limit // _MILLI} vCPUs, but the quotas of what it may buy allow "
        f"only {sum(stated.values())}: EC2 refuses launches beyond them.",
        f"Lower limits.cpu of pool {pool.name}, or have Service Quotas raise "
        f"{', '.join(sorted(quota.code for quota in stated))}.",
        path="spec.limits",
        severity=Severity.NOTE,
    )


def _has(subject: Subject, quota: Quota) -> bool:
    return quota.code in subject.account.quotas


def _limit(subject: Subject, quota: Quota) -> int:
    return subject.account.quotas.get(quota.code, quota.default)
