"""What the stand-in for AWS must hold for an environment: read from its values and manifests, sent as plain data."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from drydock.scheduling.account import account_of
from drydock.suite.environments import CapacityReservation, Environment
from drydock.suite.manifests import Manifest

_CLUSTER_TAG = "karpenter.sh/discovery"


@dataclass(frozen=True)
class Account:
    """An AWS account as Karpenter sees it.

    Attributes:
        cluster_name: of the EKS cluster.
        region, zones: where it lies; there is one subnet in each zone for each selector.
        node_classes: `spec` of every EC2NodeClass; the account holds whatever their selectors select.
        capacity_reservations: On-Demand Capacity Reservations and Capacity Blocks.
        quotas: vCPUs by code of the quota of EC2; a quota without an entry is not enforced.
        addresses: free addresses of subnets by zone; a zone without an entry has enough.
        offerings: instance types by the zone that offers them; a zone without an entry has those of Moto's catalogue.
    """

    cluster_name: str
    region: str
    zones: tuple[str, ...]
    node_classes: tuple[Mapping[str, Any], ...]
    capacity_reservations: tuple[CapacityReservation, ...] = ()
    quotas: Mapping[str, int] = field(default_factory=dict)
    addresses: Mapping[str, int] = field(default_factory=dict)
    offerings: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def to_json(self) -> str:
        """For the supervisor's pipe."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Account":
        """The account that `to_json` wrote."""
        content = json.loads(text)
        reservations = tuple(CapacityReservation(**reservation) for reservation in content.pop("capacity_reservations"))
        zones, node_classes = tuple(content.pop("zones")), tuple(content.pop("node_classes"))
        return cls(**content, zones=zones, node_classes=node_classes, capacity_reservations=reservations)

    def with_also(self, other: "Account") -> "Account":
        """An account that holds what both hold; what else was read is as `other` has it."""
        return Account(
            cluster_name=self.cluster_name,
            region=self.region,
            zones=_once([*self.zones, *(zone for zone in other.zones if zone.startswith(self.region))]),
            node_classes=_once([*self.node_classes, *other.node_classes]),
            capacity_reservations=_once([*self.capacity_reservations, *other.capacity_reservations]),
            quotas=other.quotas,
            addresses=other.addresses,
            offerings=other.offerings,
        )


def expected_account(environment: Environment, manifests: Sequence[Manifest]) -> Account:
    """The account that an environment's objects and values speak of.

    Args:
        environment: names the capacity reservations, and by its values the region and zones.
        manifests: all its rendered objects.
    """
    place = account_of(environment, manifests)
    snapshot = environment.snapshot
    node_classes = tuple(manifest.content["spec"] for manifest in manifests if manifest.kind == "EC2NodeClass")
    read_here = snapshot if snapshot and snapshot.region == place.region else None
    return Account(
        cluster_name=_discovered_name(node_classes) or "drydock",
        region=place.region,
        zones=place.zones,
        node_classes=_once(node_classes),
        capacity_reservations=place.reservations,
        quotas=dict(place.quotas),
        addresses=read_here.free_addresses() if read_here else {},
        offerings={zone: sorted(types) for zone, types in place.offerings.items()},
    )


def _discovered_name(node_classes: Sequence[Mapping[str, Any]]) -> str | None:
    for spec in node_classes:
        for term in spec.get("subnetSelectorTerms", []):
            if name := term.get("tags", {}).get(_CLUSTER_TAG):
                return str(name)
    return None


def _once(items: Sequence[Any]) -> tuple[Any, ...]:
    """Without repetitions, in order of first appearance (node classes cannot be hashed)."""
    seen: list[Any] = []
    for item in items:
        if item not in seen:
            seen.append(item)
    return tuple(seen)
