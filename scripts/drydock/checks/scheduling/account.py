"""What the AWS account of an environment holds, as far as scheduling depends on it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from drydock.checks.scheduling.requirements import from_expressions
from drydock.environments import CapacityReservation, Environment
from drydock.instance_types.labels import ZONE
from drydock.manifests import Manifest

DEFAULT_ZONES = ("us-west-2a", "us-west-2b", "us-west-2c")
"""Where an environment is taken to be that names no zone."""


@dataclass(frozen=True)
class Account:
    """Where nodes can be bought.

    Attributes:
        region: of the cluster.
        zones: that the cluster's subnets lie in.
        reservations: capacity reservations and capacity blocks that it holds.
    """

    region: str
    zones: tuple[str, ...]
    reservations: tuple[CapacityReservation, ...] = ()


def account_of(environment: Environment, manifests: Sequence[Manifest]) -> Account:
    """The account that an environment's objects expect: the zones that its node pools and reservations name."""
    named = {each.zone for each in environment.capacity_reservations}
    for manifest in manifests:
        if manifest.kind == "NodePool":
            template = ((manifest.content.get("spec") or {}).get("template") or {}).get("spec") or {}
            for each in from_expressions(template.get("requirements")):
                named |= each.values if each.key == ZONE and each.operator == "In" else set()
    zones = tuple(sorted(named)) or DEFAULT_ZONES
    return Account(region_of(zones[0]), zones, environment.capacity_reservations)


def region_of(zone: str) -> str:
    """Region of an availability zone: its name without the last letter."""
    return zone[:-1]


def selected_reservations(
    terms: Sequence[Mapping[str, Any]] | None, reservations: Sequence[CapacityReservation]
) -> tuple[CapacityReservation, ...]:
    """Reservations that one of a node class's `capacityReservationSelectorTerms` picks.

    Source: karpenter-provider-aws v1.14, pkg/providers/capacityreservation/types.go. A term's owner and instance match
    criteria are taken as met, since an environment does not state them.
    """
    return tuple(each for each in reservations if any(_picks(term, each) for term in terms or ()))


def _picks(term: Mapping[str, Any], reservation: CapacityReservation) -> bool:
    if term.get("id"):
        return bool(term["id"] == reservation.id)
    tags = term.get("tags") or {}
    return all(key in reservation.tags and value in ("*", reservation.tags[key]) for key, value in tags.items())
