"""What the stand-in for AWS must hold for an environment: read from its values and manifests, sent as plain data."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from drydock.environments import CapacityReservation, Environment
from drydock.manifests import Manifest

DEFAULT_REGION = "us-west-2"
DEFAULT_ZONE_COUNT = 3
_ZONE = "topology.kubernetes.io/zone"
_ZONE_NAME = re.compile(r"^([a-z]{2}(?:-[a-z]+)+-\d)[a-z]$")


@dataclass(frozen=True)
class Account:
    """An AWS account as Karpenter sees it.

    Attributes:
        cluster_name: of the EKS cluster.
        region, zones: where it lies; there is one subnet in each zone for each selector.
        node_classes: `spec` of every EC2NodeClass; the account holds whatever their selectors select.
        capacity_reservations: On-Demand Capacity Reservations and Capacity Blocks.
    """

    cluster_name: str
    region: str
    zones: tuple[str, ...]
    node_classes: tuple[Mapping[str, Any], ...]
    capacity_reservations: tuple[CapacityReservation, ...] = ()

    def to_json(self) -> str:
        """For the supervisor's pipe."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Account":
        """The account that `to_json` wrote."""
        content = json.loads(text)
        reservations = tuple(CapacityReservation(**each) for each in content.pop("capacity_reservations"))
        zones, node_classes = tuple(content.pop("zones")), tuple(content.pop("node_classes"))
        return cls(**content, zones=zones, node_classes=node_classes, capacity_reservations=reservations)

    def with_also(self, other: "Account") -> "Account":
        """An account that holds what both hold; name and region stay."""
        return Account(
            cluster_name=self.cluster_name,
            region=self.region,
            zones=_once([*self.zones, *(zone for zone in other.zones if zone.startswith(self.region))]),
            node_classes=_once([*self.node_classes, *other.node_classes]),
            capacity_reservations=_once([*self.capacity_reservations, *other.capacity_reservations]),
        )


def expected_account(environment: Environment, manifests: Sequence[Manifest], values: Mapping[str, Any]) -> Account:
    """The account that an environment's objects and values speak of.

    Args:
        environment: names the capacity reservations.
        manifests: all its rendered objects.
        values: its merged values; `global.clusterName`, `global.region` and `global.zones` are read when there.
    """
    shared = values.get("global") or {}
    node_classes = tuple(each.content["spec"] for each in manifests if each.kind == "EC2NodeClass")
    zones = _once(
        [
            *_names(shared.get("zones")),
            *_pool_zones(manifests),
            *(each.zone for each in environment.capacity_reservations),
        ]
    )
    region = str(shared.get("region") or _region_of(zones) or DEFAULT_REGION)
    return Account(
        cluster_name=str(shared.get("clusterName") or _discovered_name(node_classes) or "drydock"),
        region=region,
        zones=tuple(sorted(zones)) or tuple(f"{region}{letter}" for letter in "abc"[:DEFAULT_ZONE_COUNT]),
        node_classes=node_classes,
        capacity_reservations=environment.capacity_reservations,
    )


def _names(zones: Any) -> list[str]:
    """Zones as values give them: a list of names, or a map by name with false for those left out."""
    if isinstance(zones, Mapping):
        return [str(name) for name, used in zones.items() if used]
    return [str(zone) for zone in zones or []]


def _pool_zones(manifests: Sequence[Manifest]) -> Iterable[str]:
    for pool in manifests:
        if pool.kind != "NodePool":
            continue
        for requirement in pool.content["spec"]["template"]["spec"].get("requirements", []):
            if requirement["key"] == _ZONE and requirement["operator"] == "In":
                yield from requirement["values"]


def _region_of(zones: Sequence[str]) -> str | None:
    named = [match.group(1) for zone in zones if (match := _ZONE_NAME.match(zone))]
    return named[0] if named else None


def _discovered_name(node_classes: Sequence[Mapping[str, Any]]) -> str | None:
    for spec in node_classes:
        for term in spec.get("subnetSelectorTerms", []):
            if name := term.get("tags", {}).get("karpenter.sh/discovery"):
                return str(name)
    return None


def _once(items: Sequence[Any]) -> tuple[Any, ...]:
    """Without repetitions, in order of first appearance (node classes cannot be hashed)."""
    seen: list[Any] = []
    for item in items:
        if item not in seen:
            seen.append(item)
    return tuple(seen)
