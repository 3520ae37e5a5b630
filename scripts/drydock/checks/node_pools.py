"""Node pools that can buy nothing, or next to nothing (pain 22), and pools of unclear architecture (pain 24)."""

from collections.abc import Iterator, Sequence

from drydock.checks.findings import Finding, Severity
from drydock.checks.places import cause_of
from drydock.checks.subject import Subject
from drydock.engines.image_facts import load_image_facts
from drydock.scheduling.feasibility import unusable_because
from drydock.scheduling.instance_types.labels import ARCHITECTURE, CAPACITY_TYPE, ZONE
from drydock.scheduling.pools import Pool

EMPTY = "pool-without-types"
NARROW = "pool-without-fallback"
ARCHITECTURES = "pool-architecture"
LIMITS = "pool-limits"

_EMPTY_KEYS = ("capacityTypes", "requirements", "nodeClass")
_REQUIREMENTS = "spec.template.spec.requirements"


def check(subject: Subject) -> Iterator[Finding]:
    """Pools that match no instance type, hold no node within their limits, or depend on one type in one zone."""
    for pool in subject.pools:
        unusable = unusable_because(pool)
        if unusable:
            if pool.replicas != 0:
                reason = f"Node pool {pool.name} can never have a node: {unusable.reason}."
                cause = cause_of(subject, pool)
                yield _finding(subject, pool, EMPTY, reason, unusable.remedy, 22, keys=_EMPTY_KEYS, cause=cause)
        elif not pool.types_within_limits:
            yield _finding(
                subject,
                pool,
                LIMITS,
                f"Node pool {pool.name} can never have a node: one node of any allowed type exceeds its limits.",
                f"Raise limits of pool {pool.name}.",
                22,
                path="spec.limits",
            )
        else:
            yield from _narrow(subject, pool)
            yield from _two_architectures(subject, pool)


def _narrow(subject: Subject, pool: Pool) -> Iterator[Finding]:
    if len(pool.types) != 1:
        return
    (name,) = pool.types
    zones = sorted(pool.zones & pool.values(name, ZONE))
    reserved_only = {"reserved"} == _values(pool, CAPACITY_TYPE)
    if len(zones) == 1 and not reserved_only:
        yield _finding(
            subject,
            pool,
            NARROW,
            f"Node pool {pool.name} can only buy {name} in {zones[0]}: when EC2 has none left there, its pods wait.",
            "Allow more instance types or zones, or reserve the capacity.",
            22,
            severity=Severity.WARNING,
        )


def _two_architectures(subject: Subject, pool: Pool) -> Iterator[Finding]:
    """A pool that may buy either architecture runs pods whose images exist for one only."""
    index = pool.catalogue.by_value(ARCHITECTURE) or {}
    offered = {value for value, names in index.items() if value and names & pool.types}
    facts = load_image_facts()
    for verdict in subject.verdicts_on(pool):
        types = next(pool_verdict.types for pool_verdict in verdict.pools if pool_verdict.pool is pool)
        possible = {value for value in offered if index[value] & types}
        for container in verdict.pod.containers:
            known = facts.of(str(container.get("image", "")))
            missing = sorted(possible - set(known.architectures)) if known and known.architectures else []
            if missing:
                yield subject.finding(
                    ARCHITECTURES,
                    verdict.pod.manifest,
                    f"The image {container['image']} does not exist for {', '.join(missing)}, but node pool "
                    f"{pool.name} may buy such nodes for the pod.",
                    f"Select {ARCHITECTURE} {', '.join(known.architectures)} in the pod, or require it in the pool."
                    if known
                    else "",
                    path=verdict.pod.path,
                    pain=24,
                )


def _values(pool: Pool, key: str) -> frozenset[str]:
    found = pool.requirements.get(key)
    return found.values if found and found.operator == "In" else frozenset()


def _finding(
    subject: Subject,
    pool: Pool,
    check_id: str,
    reason: str,
    remedy: str,
    pain: int,
    *,
    path: str = _REQUIREMENTS,
    severity: Severity = Severity.ERROR,
    keys: Sequence[str] = (),
    cause: str = "",
) -> Finding:
    return subject.finding(
        check_id, pool.manifest, reason, remedy, path=path, pain=pain, severity=severity, keys=keys, cause=cause
    )
