"""What the AWS account of an environment holds, as far as scheduling depends on it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from drydock.environments import CapacityReservation


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
