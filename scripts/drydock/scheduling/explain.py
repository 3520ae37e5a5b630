"""Why a node pool cannot host a pod, in words that name what to change."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from drydock.scheduling.daemons import NodeGroup
from drydock.scheduling.instance_types.labels import ARCHITECTURE, CAPACITY_TYPE, INSTANCE_TYPE, NODE_POOL, ZONE
from drydock.scheduling.instance_types.quantity import describe
from drydock.scheduling.pods import PodUse, is_extended
from drydock.scheduling.pools import Pool
from drydock.scheduling.requirements import Conflict, Requirement, Requirements

Fields = Mapping[str, Any]

ADD_ONS = "CriticalAddonsOnly"
"""Taint of nodes that are kept for what runs the cluster."""


class Stage(IntEnum):
    """How far a pod came with a pool before something excluded it."""

    POOL = 0
    LABEL = 1
    TAINT = 2
    TYPE = 3
    OFFERING = 4
    RESOURCES = 5
    LIMITS = 6


@dataclass(frozen=True)
class Exclusion:
    """What keeps a pod out of a pool.

    Attributes:
        stage: how far it came.
        reason: in one clause, without the pod's and with the pool's name where it helps.
        remedy: what to set instead.
    """

    stage: Stage
    reason: str
    remedy: str


def explain_node_class(pool: Pool) -> Exclusion:
    """The pool refers to a node class that is not there."""
    reference = pool.template.get("nodeClassRef") or {}
    named = f"{reference.get('kind', 'node class')} {reference.get('name', '')}"
    return Exclusion(Stage.POOL, f"its {named} does not exist", f"Add {named}, or refer to one that exists.")


def explain_static(pool: Pool) -> Exclusion:
    """A static pool of no nodes."""
    return Exclusion(Stage.POOL, "it has replicas: 0, so it never has a node", f"Raise replicas of pool {pool.name}.")


def explain_claims(pool: Pool) -> Exclusion:
    """A pod with resource claims, and a pool that grows with its pods."""
    return Exclusion(
        Stage.POOL,
        "the pod claims devices by DRA (resourceClaims), for which Karpenter by default buys no node",
        f"Give pool {pool.name} replicas, nodes that are always there, or ask for an extended resource instead.",
    )


def explain_empty(pool: Pool) -> Exclusion:
    """No instance type meets the pool's own requirements; the one that is at fault is named where there is one."""
    region = pool.account.region
    everything = frozenset(pool.catalogue.types)
    named = pool.requirements.get(INSTANCE_TYPE)
    unknown = sorted(named.values - everything) if named and named.operator == "In" else []
    if named and unknown and named.values.isdisjoint(everything):
        near = difflib.get_close_matches(unknown[0], sorted(everything), 1)
        guess = f"Did you mean {near[0]}? " if near else ""
        return Exclusion(
            Stage.POOL,
            f"{region} offers no {', '.join(unknown)}",
            f"{guess}Name instance types that {region} offers in pool {pool.name}.",
        )
    if pool.account.zones and not pool.zones:
        wanted, zones = pool.requirements[ZONE], ", ".join(pool.account.zones)
        return Exclusion(
            Stage.POOL,
            f"it requires {wanted}, and the cluster has {zones}",
            f"Let pool {pool.name} have one of {zones}.",
        )
    kind = pool.requirements.get(CAPACITY_TYPE)
    if kind is not None and kind.operator == "In" and kind.values == {"reserved"}:
        return _explain_reserved(pool)
    for key in sorted(pool.requirements):
        others = {name: each for name, each in pool.requirements.items() if name != key}
        if any(pool.launchable(pool.narrowed(everything, others))):
            return Exclusion(
                Stage.POOL,
                f"no instance type in {region} that meets its other requirements has {pool.requirements[key]}",
                f"Widen {key} in the requirements of pool {pool.name}.",
            )
    if pool.node_class and (types := pool.narrowed(everything, pool.requirements)):
        return Exclusion(
            Stage.POOL,
            f"{_names(types)} cannot be launched from its node class {pool.node_class.name}, or have nothing left for "
            "pods on such a node",
            f"Correct node class {pool.node_class.name}, or allow other instance types in pool {pool.name}.",
        )
    return Exclusion(
        Stage.POOL,
        f"no instance type in {region} meets its own requirements",
        f"Widen the requirements of pool {pool.name}.",
    )


def _explain_reserved(pool: Pool) -> Exclusion:
    """A pool on reserved capacity alone, and reservations that it cannot use."""
    node_class = pool.node_class
    terms = (node_class.spec.get("capacityReservationSelectorTerms") or ()) if node_class else ()
    name = node_class.name if node_class else ""
    held = node_class.reservations if node_class else ()
    if held:
        shown = ", ".join(
            f"{requirement.id} ({requirement.instance_type} in {requirement.zone})" for requirement in held
        )
        reason = f"it buys reserved capacity alone, and of what its node class selects, {shown}, nothing meets its "
        return Exclusion(
            Stage.POOL,
            f"{reason}requirements",
            f"Allow the reservation's instance type and zone in pool {pool.name}, or allow on-demand as well.",
        )
    if not terms:
        return Exclusion(
            Stage.POOL,
            f"it buys reserved capacity alone, and its node class {name} selects no reservation",
            f"Set capacityReservationSelectorTerms of node class {name}, or allow on-demand as well.",
        )
    wanted = " or ".join(_term(term) for term in terms)
    return Exclusion(
        Stage.POOL,
        f"it buys reserved capacity alone, and the environment lists no reservation with {wanted}",
        "List the account's reservation under account.capacityReservations in the environment's file (with these tags "
        "or this id), or allow on-demand as well.",
    )


def _term(term: Fields) -> str:
    if term.get("id"):
        return f"the id {term['id']}"
    tags = ", ".join(f"{key}={value}" for key, value in sorted((term.get("tags") or {}).items()))
    return f"the tag {tags}" if tags else "its owner or match criteria"


def explain_taint(pool: Pool, taint: Fields) -> Exclusion:
    """A taint that the pod does not tolerate."""
    value = f"={taint['value']}" if taint.get("value") else ""
    shown = f"{taint.get('key')}{value}:{taint.get('effect')}"
    remedy = f"Tolerate {shown} in the pod, if it belongs on pool {pool.name}."
    if taint.get("key") == ADD_ONS:
        remedy = f"Add a node pool without that taint: pool {pool.name} is kept for the cluster's own add-ons."
    return Exclusion(Stage.TAINT, f"its nodes have the taint {shown}, which the pod does not tolerate", remedy)


def explain_conflict(pool: Pool, conflict: Conflict, *, of_volume: bool = False) -> Exclusion:
    """A label on which the pod, or a volume of it, and the pool do not agree."""
    wanted = conflict.wanted
    who = "a volume of the pod requires" if of_volume else "the pod requires"
    if conflict.offered is None:
        remedy = f"Label the nodes of pool {pool.name} with {wanted.key}, or do not select by it."
        return Exclusion(Stage.LABEL, f"{who} {wanted}, and its nodes do not carry that label", remedy)
    offered = _allowed(conflict.offered)
    if wanted.key == NODE_POOL:
        return Exclusion(Stage.POOL, f"{who} node pool {_values(wanted)}", f"Pin the pod to pool {pool.name} instead.")
    remedies = {
        ARCHITECTURE: f"Use images for {offered}, or allow {_values(wanted)} in pool {pool.name}.",
        ZONE: f"Let pool {pool.name} have nodes in {_values(wanted)}, or move what ties the pod to that zone.",
    }
    remedy = remedies.get(wanted.key, f"Allow {_values(wanted)} in pool {pool.name}, or ask for {offered}.")
    return Exclusion(Stage.LABEL, f"{who} {wanted}, and it allows {offered}", remedy)


def explain_given_up() -> Exclusion:
    """An alternative of the required node affinity that Karpenter gives up too early (see wishes.attempts)."""
    reason = (
        "an earlier alternative of the pod's required node affinity would fit, but Karpenter drops it before it "
        "gives up the pod's preferences or overlooks a PreferNoSchedule taint"
    )
    remedy = "Put the alternative that fits last, drop the preference, or tolerate the taint."
    return Exclusion(Stage.LIMITS, reason, remedy)


def explain_matching(pool: Pool, wanted: Requirements) -> Exclusion:
    """No instance type of the pool is what the pod asks for."""
    culprit = next(
        (
            requirement
            for requirement in wanted.values()
            if not pool.matching(pool.types, {requirement.key: requirement})
        ),
        None,
    )
    asked = str(culprit) if culprit else " and ".join(str(requirement) for requirement in wanted.values())
    reason = f"none of its {len(pool.types)} instance types meets {asked}"
    return Exclusion(Stage.TYPE, reason, f"Widen the requirements of pool {pool.name}, or ask for what it has.")


def explain_offerings(pool: Pool, requirements: Requirements, types: frozenset[str]) -> Exclusion:
    """The instance types exist, but not where or how they may be bought."""
    kind = requirements.get(CAPACITY_TYPE)
    if kind is not None and kind.operator == "In" and kind.values == {"reserved"}:
        reservations = pool.node_class.reservations if pool.node_class else ()
        held = ", ".join(
            f"{reservation.id} ({reservation.instance_type} in {reservation.zone})" for reservation in reservations
        )
        reason = "only reserved capacity is allowed, and its node class selects " + (
            f"{held}, which does not fit" if held else "no capacity reservation of the account"
        )
        remedy = "Select a reservation with capacityReservationSelectorTerms, or allow on-demand as well."
        return Exclusion(Stage.OFFERING, reason, remedy)
    where = _allowed(requirements[ZONE]) if ZONE in requirements else ", ".join(pool.account.zones)
    how = f" as {_allowed(kind)}" if kind else ""
    reason = f"{_names(types)} cannot be bought in {where}{how}"
    return Exclusion(
        Stage.OFFERING, reason, f"Allow other zones, capacity types or instance types in pool {pool.name}."
    )


def explain_resources(pool: Pool, pod: PodUse, groups: Sequence[NodeGroup]) -> Exclusion:
    """No instance type is large enough; named is the first resource that excludes the last of them."""
    overheads = {name: group.overhead for group in groups for name in group.types}
    if not overheads:
        return Exclusion(
            Stage.RESOURCES,
            "a DaemonSet on its nodes holds a host port that the pod wants",
            "Drop hostPort from the pod, or use another port.",
        )
    left = set(overheads)
    requests = pod.requests
    for resource in sorted(requests, key=_telling_first):
        room = {name: pool.allocatable(name).get(resource, 0) - overheads[name].get(resource, 0) for name in left}
        enough = {name for name in left if room[name] >= requests[resource]}
        if not enough:
            largest = max(sorted(room), key=lambda name: room[name])
            return _too_small(
                pool, resource, requests[resource], largest, room[largest], narrowed=left != set(overheads)
            )
        left = enough
    return Exclusion(
        Stage.RESOURCES, "no instance type has room left for the pod", f"Allow larger types in {pool.name}."
    )


def explain_limits(pool: Pool, types: frozenset[str]) -> Exclusion:
    """One node would already exceed the pool's limits."""
    smallest = min(sorted(types), key=lambda name: pool.capacity(name)["cpu"])
    over = [
        f"{describe(resource, pool.capacity(smallest)[resource])} over the limit of {describe(resource, limit)}"
        for resource, limit in pool.limits.items()
        if pool.capacity(smallest).get(resource, 0) > limit
    ]
    reason = f"one {smallest} would exceed its limits ({', '.join(over)})"
    resources = ", ".join(
        resource for resource, limit in pool.limits.items() if pool.capacity(smallest).get(resource, 0) > limit
    )
    return Exclusion(Stage.LIMITS, reason, f"Raise the limit of {resources} in pool {pool.name}.")


def explain_min_values(pool: Pool, wanted: Requirement, covered: int) -> Exclusion:
    """Too few different values are left for a `minValues`."""
    reason = f"its minValues {wanted.min_values} for {wanted.key} cannot be met: the types left have {covered}"
    return Exclusion(Stage.LIMITS, reason, f"Lower minValues of pool {pool.name}, or widen its requirements.")


def _too_small(pool: Pool, resource: str, wanted: int, largest: str, room: int, *, narrowed: bool) -> Exclusion:
    needed = describe(resource, wanted)
    offered = describe(resource, max(room, 0))
    if resource == "pods":
        total = pool.allocatable(largest)["pods"]
        name = pool.node_class.name if pool.node_class else ""
        return Exclusion(
            Stage.RESOURCES,
            f"its nodes take {total} pod{'s' * (total != 1)}, as many as its DaemonSets are",
            f"Raise kubelet.maxPods of node class {name} above {total - room}, or allow larger types in {pool.name}.",
        )
    if not narrowed and pool.allocatable(largest).get(resource, 0) == 0:
        remedy = f"Pin the pod to a pool that offers {resource}."
        if resource.startswith("nvidia.com/"):
            remedy = (
                f"Karpenter knows nvidia.com/gpu alone, for whole GPUs: declare {resource} with a NodeOverlay "
                "(nodeOverlays of karpenter-nodepools), or share it as nvidia.com/gpu (sharing.renameByDefault: false)."
            )
        return Exclusion(Stage.RESOURCES, f"the pod needs {needed}, and no instance type of it has any", remedy)
    which = "the roomiest instance type that has the rest" if narrowed else "its largest instance type"
    beside = "" if room == pool.allocatable(largest).get(resource, 0) else " beside the DaemonSets"
    larger = f"llow larger instance types in pool {pool.name}."
    remedy = f"Ask for {offered} or less, or a{larger}" if room > 0 else f"A{larger}"
    left = "" if is_extended(resource) else " for pods"
    return Exclusion(
        Stage.RESOURCES, f"the pod needs {needed}, and {which} ({largest}) has {offered}{left}{beside}", remedy
    )


def _telling_first(resource: str) -> tuple[int, str]:
    """Accelerators first, then memory: what people choose an instance by."""
    order = {"memory": 1, "cpu": 2, "ephemeral-storage": 3, "pods": 4}
    return order.get(resource, 0), resource


def _values(requirement: Requirement) -> str:
    return ", ".join(sorted(requirement.values)) or requirement.operator


def _allowed(requirement: Requirement) -> str:
    if requirement.operator == "In":
        return _values(requirement)
    return str(requirement).removeprefix(f"{requirement.key} ")


def _names(types: Iterable[str]) -> str:
    shown = sorted(types)
    more = f" and {len(shown) - 3} other types" if len(shown) > 3 else ""  # noqa: PLR2004 (three names are enough)
    return ", ".join(shown[:3]) + more
