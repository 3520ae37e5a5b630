"""Makes EC2 Fleet's choice: of all offerings that Karpenter asks for, the cheapest.

Karpenter hands EC2 a claim's whole list of instance types, in one launch template for each number of pods a node can
have, and EC2 takes the cheapest (on-demand) or weighs price and capacity (spot). Karpenter's KWOK build takes the
cheapest of one launch template, and which one is left to chance. So each claim is narrowed, as it is created, to the
offering that EC2 would take: the same one in every rehearsal.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from drydock.errors import ClusterError
from drydock.suite.environments import CapacityReservation

INSTANCE_TYPE = "node.kubernetes.io/instance-type"
ZONE = "topology.kubernetes.io/zone"
CAPACITY_TYPE = "karpenter.sh/capacity-type"
RESERVATION = "karpenter.k8s.aws/capacity-reservation-id"

Requirements = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Offers:
    """What EC2 has.

    Attributes:
        zones: zones that offer an instance type, by type.
        on_demand: dollars an hour by instance type.
        reservations: capacity reservations of the account.
        refuses: whether EC2 has no quota or no address left for an instance of a type and capacity type in a zone.
    """

    zones: Mapping[str, frozenset[str]]
    on_demand: Mapping[str, float]
    reservations: Sequence[CapacityReservation]
    refuses: Callable[[str, str, str], bool] = lambda _type, _market, _zone: False


def narrow(requirements: Requirements, node_zones: Iterable[str], offers: Offers) -> list[Mapping[str, Any]] | None:
    """A claim's requirements with the one instance type and zone that EC2 takes; None to leave the claim alone.

    A claim of which EC2 would refuse every instance is left alone: Karpenter is to see each refusal.

    Args:
        requirements: `spec.requirements` of the claim.
        node_zones: zones of the subnets that its node class selects.
        offers: what EC2 has.

    Raises:
        ClusterError: the price of one that could be taken is not known, so that none is the cheapest.
    """
    types = next((requirement["values"] for requirement in requirements if _is_list(requirement, INSTANCE_TYPE)), None)
    if types is None:
        return None
    if any(_is_list(requirement, RESERVATION) for requirement in requirements):
        candidates = [
            (reservation.instance_type, reservation.zone)
            for reservation in sorted(offers.reservations, key=lambda each: each.id)
            if reservation.instance_type in types and _allows(requirements, RESERVATION, reservation.id)
        ]
    else:
        market = "spot" if _allows(requirements, CAPACITY_TYPE, "spot") else "on-demand"
        offered = [(name, zone) for name in types for zone in sorted(offers.zones.get(name, ()))]
        candidates = [(name, zone) for name, zone in offered if not offers.refuses(name, market, zone)]
    allowed = [(name, zone) for name, zone in candidates if zone in node_zones and _allows(requirements, ZONE, zone)]
    if not allowed:
        return None
    name, zone = min(allowed, key=lambda each: (_price(each[0], allowed, offers), each))
    kept = [
        _without_minimum(requirement) for requirement in requirements if requirement["key"] not in (INSTANCE_TYPE, ZONE)
    ]
    return [*kept, _only(INSTANCE_TYPE, name), _only(ZONE, zone)]


def reserved_launch(requirements: Requirements, offers: Offers) -> tuple[str, str] | None:
    """Type and zone of a narrowed claim for a reservation, Capacity Blocks apart; None of another claim."""
    for reservation in offers.reservations:
        wanted = {INSTANCE_TYPE: reservation.instance_type, ZONE: reservation.zone, RESERVATION: reservation.id}
        listed = any(_is_list(requirement, RESERVATION) for requirement in requirements)
        if listed and reservation.kind == "default" and all(_allows(requirements, *pair) for pair in wanted.items()):
            return reservation.instance_type, reservation.zone
    return None


def _price(name: str, allowed: Sequence[tuple[str, str]], offers: Offers) -> float:
    if all(each == name for each, _ in allowed):  # nothing to choose
        return 0.0
    if name not in offers.on_demand:
        raise ClusterError(
            f"no price of {name} is known, which Karpenter would buy: the cheapest cannot be named",
            remedy="This is a fault of Drydock's. Please report it with the environment.",
        )
    return offers.on_demand[name]


def _is_list(requirement: Mapping[str, Any], key: str) -> bool:
    return bool(requirement["key"] == key and requirement["operator"] == "In")


def _only(key: str, value: str) -> dict[str, Any]:
    return {"key": key, "operator": "In", "values": [value]}


def _without_minimum(requirement: Mapping[str, Any]) -> dict[str, Any]:
    """Karpenter has seen to `minValues` before it made the claim."""
    return {key: value for key, value in requirement.items() if key != "minValues"}


def _allows(requirements: Requirements, key: str, value: str) -> bool:
    return all(
        _met(requirement["operator"], requirement.get("values", []), value)
        for requirement in requirements
        if requirement["key"] == key
    )


def _met(operator: str, values: Sequence[str], value: str) -> bool:
    if operator == "In":
        return value in values
    if operator == "NotIn":
        return value not in values
    return operator == "Exists"
