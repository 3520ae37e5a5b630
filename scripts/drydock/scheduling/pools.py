"""Node pools: what a NodePool allows, and which instance types that leaves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from drydock.scheduling.account import Account
from drydock.scheduling.instance_types import auto_mode
from drydock.scheduling.instance_types.labels import (
    AUTO_MODE_PREFIX,
    CAPACITY_TYPE,
    EC2_PREFIX,
    NODE_POOL,
    REGION,
    RESERVATION_ID,
    RESERVATION_INTERRUPTIBLE,
    RESERVATION_TYPE,
    ZONE,
    Values,
    well_known,
)
from drydock.scheduling.instance_types.quantity import Resources, amounts
from drydock.scheduling.instance_types.region import Catalogue
from drydock.scheduling.node_classes import NodeClass, NodeResources, find_node_class
from drydock.scheduling.overlays import Overlay, find_overlays
from drydock.scheduling.requirements import (
    Requirement,
    Requirements,
    conflicts,
    from_expressions,
    from_labels,
    merged,
    requirement,
)
from drydock.suite.manifests import Manifest

Fields = Mapping[str, Any]


@dataclass(frozen=True)
class Pool:
    """A NodePool.

    Attributes:
        manifest: the NodePool.
        node_class: None when no object of the release (and nothing that Auto Mode brings) has its name.
        account: where its nodes are bought.
        catalogue: instance types of the region.
        overlays: NodeOverlays of the environment, the one that wins first.
    """

    manifest: Manifest
    node_class: NodeClass | None
    account: Account
    catalogue: Catalogue
    overlays: tuple[Overlay, ...] = ()

    @property
    def name(self) -> str:
        """Name of the NodePool."""
        return self.manifest.name

    @property
    def spec(self) -> Fields:
        """Spec of the NodePool."""
        return self.manifest.content.get("spec") or {}

    @property
    def template(self) -> Fields:
        """`spec.template.spec`: what its nodes are like."""
        return (self.spec.get("template") or {}).get("spec") or {}

    @property
    def prefix(self) -> str:
        """Domain of the instance labels."""
        return AUTO_MODE_PREFIX if self.node_class and self.node_class.is_auto_mode else EC2_PREFIX

    @property
    def taints(self) -> Sequence[Fields]:
        """Taints that stay on its nodes."""
        return self.template.get("taints") or ()

    @property
    def replicas(self) -> int | None:
        """Nodes that are always there (static capacity), None for a pool that grows with its pods."""
        return self.spec.get("replicas")

    @cached_property
    def limits(self) -> Resources:
        """The most that all its nodes together may have."""
        return amounts(self.spec.get("limits"))

    @cached_property
    def labels(self) -> Mapping[str, str]:
        """Labels that every node carries, whatever its type."""
        own = ((self.spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
        reference = self.template.get("nodeClassRef") or {}
        kind = f"{reference.get('group', '')}/{str(reference.get('kind', '')).lower()}"
        return {**own, NODE_POOL: self.name, kind: str(reference.get("name", ""))}

    @cached_property
    def requirements(self) -> Requirements:
        """Everything that its nodes are known to be.

        Source: karpenter v1.14, pkg/controllers/provisioning/scheduling/nodeclaimtemplate.go, NewNodeClaimTemplate.
        """
        states = [requirement(f"karpenter.sh/{state}", "In", ["true"]) for state in ("registered", "initialized")]
        return merged(from_expressions(self.template.get("requirements")), from_labels(self.labels), states)

    @cached_property
    def zones(self) -> frozenset[str]:
        """Zones of the account in which it may have nodes."""
        return frozenset(zone for zone in self.account.zones if _allows(self.requirements.get(ZONE), zone))

    @cached_property
    def well_known(self) -> frozenset[str]:
        """Labels that a pod may ask for although the pool does not name them."""
        return auto_mode.well_known_labels() if self.prefix == AUTO_MODE_PREFIX else well_known(self.prefix)

    @cached_property
    def types(self) -> frozenset[str]:
        """Instance types that the pool may buy, limits apart."""
        if self.node_class is None:
            return frozenset()
        return self.launchable(self.narrowed(frozenset(self.catalogue.types), self.requirements))

    @cached_property
    def types_within_limits(self) -> frozenset[str]:
        """Instance types of which one node does not exceed the pool's limits."""
        if not self.limits:
            return self.types
        return frozenset(
            name
            for name in self.types
            if all(self.capacity(name).get(resource, 0) <= limit for resource, limit in self.limits.items())
        )

    def narrowed(self, types: frozenset[str], requirements: Requirements) -> frozenset[str]:
        """The types among `types` that meet the requirements and can be bought under them."""
        return self.buyable(self.matching(types, requirements), requirements)

    def launchable(self, types: frozenset[str]) -> frozenset[str]:
        """The types among `types` that the node class can launch."""
        suits = self.node_class.suits if self.node_class else lambda _: False
        return frozenset(name for name in types if suits(self.catalogue.types[name]))

    def matching(self, types: frozenset[str], requirements: Requirements) -> frozenset[str]:
        """The types among `types` whose labels meet the requirements."""
        for key, each in requirements.items():
            index = self.catalogue.by_value(key, self.prefix)
            if index is not None and types:
                allowed = [names for value, names in index.items() if _allows(each, value)]
                types = types.intersection(frozenset().union(*allowed))
        return types

    def buyable(self, types: frozenset[str], requirements: Requirements) -> frozenset[str]:
        """The types among `types` with an offering (zone, capacity type, reservation) under the requirements."""
        if not _allows(requirements.get(REGION), self.account.region):
            return frozenset()
        zones = frozenset(zone for zone in self.account.zones if _allows(requirements.get(ZONE), zone))
        market = {kind for kind in ("on-demand", "spot") if _allows(requirements.get(CAPACITY_TYPE), kind)}
        reserving = [self.prefix + name for name in (RESERVATION_ID, RESERVATION_TYPE, RESERVATION_INTERRUPTIBLE)]
        if not all(_allows(requirements.get(label), None) for label in reserving):
            market = set()
        found = {
            name
            for name in types
            if not zones.isdisjoint(self.offering_zones(name))
            and not market.isdisjoint(self.catalogue.types[name].usage_classes)
        }
        return frozenset(found | (types & self._reserved_types(requirements, zones)))

    def offering_zones(self, name: str) -> frozenset[str]:
        """Zones of the account that offer a type."""
        return self.account.offering_zones(name, self.catalogue.types[name].zones)

    def capacity(self, name: str) -> Resources:
        """What a node of a type has."""
        return self._resources(name).capacity

    def allocatable(self, name: str) -> Resources:
        """What pods may request of a node of a type, DaemonSets included."""
        return self._resources(name).allocatable

    def roomy(self, types: frozenset[str], requests: Resources) -> frozenset[str]:
        """The types among `types` of which an empty node takes the requests."""
        for resource, amount in requests.items():
            rooms = self._rooms.setdefault(resource, {})
            missing = types.difference(rooms)
            rooms.update((name, self.allocatable(name).get(resource, 0)) for name in missing)
            types = frozenset(name for name in types if rooms[name] >= amount)
        return types

    def values(self, name: str, key: str) -> Values:
        """Values that a node of a type may have for a label, as `minValues` counts them."""
        facts = self.catalogue.types[name]
        if key == ZONE:
            return self.offering_zones(name)
        if key == CAPACITY_TYPE:
            return frozenset(facts.usage_classes) & {"on-demand", "spot"}
        return self.catalogue.values(name, key, self.prefix)

    @cached_property
    def _rooms(self) -> dict[str, dict[str, int]]:
        """Allocatable amounts by resource and type, filled as they are asked for."""
        return {}

    def _resources(self, name: str) -> NodeResources:
        if self.node_class is None:
            raise KeyError(name)  # without a node class a pool has no types to ask about
        found = self.node_class.resources(self.catalogue.types[name])
        added: dict[str, int] = {}
        for overlay, types in self._overlaid:
            if name in types:
                added = {**overlay.capacity, **added}
        return NodeResources({**added, **found.capacity}, {**added, **found.allocatable}) if added else found

    @cached_property
    def _overlaid(self) -> tuple[tuple[Overlay, frozenset[str]], ...]:
        """The overlays that are about nodes of this pool, with their instance types."""
        return tuple(
            (overlay, self.matching(self.types, overlay.requirements))
            for overlay in self.overlays
            if not conflicts(self.requirements, overlay.requirements, self.well_known)
        )

    def _reserved_types(self, requirements: Requirements, zones: frozenset[str]) -> set[str]:
        if self.node_class is None or not _allows(requirements.get(CAPACITY_TYPE), "reserved"):
            return set()
        return {
            reservation.instance_type
            for reservation in self.node_class.reservations
            if reservation.instance_count > 0
            and reservation.zone in zones
            and reservation.instance_type in self.catalogue.types
            and reservation.zone in self.offering_zones(reservation.instance_type)
            and _allows(requirements.get(self.prefix + RESERVATION_ID), reservation.id)
            and _allows(requirements.get(self.prefix + RESERVATION_TYPE), reservation.kind)
            and _allows(requirements.get(self.prefix + RESERVATION_INTERRUPTIBLE), "false")
        }


def find_pools(manifests: Sequence[Manifest], account: Account, catalogue: Catalogue) -> tuple[Pool, ...]:
    """Every node pool of the objects, in the order in which Karpenter tries them (weight, then name, both falling)."""
    classes: dict[str, NodeClass | None] = {}
    overlays = find_overlays(manifests)
    pools = []
    for manifest in manifests:
        if manifest.kind == "NodePool" and manifest.api_version.startswith("karpenter.sh/"):
            template = ((manifest.content.get("spec") or {}).get("template") or {}).get("spec") or {}
            reference = template.get("nodeClassRef") or {}
            key = "/".join(str(reference.get(part)) for part in ("group", "kind", "name"))
            if key not in classes:
                classes[key] = find_node_class(reference, manifests, account)
            own = account.of_class(str(reference.get("name", "")))
            pools.append(Pool(manifest, classes[key], own, catalogue, overlays))
    return tuple(sorted(pools, key=lambda pool: (pool.spec.get("weight") or 0, pool.name), reverse=True))


def _allows(wanted: Requirement | None, value: str | None) -> bool:
    """Whether a requirement allows a value, or (None) the absence of the label."""
    if wanted is None:
        return True
    return wanted.is_negative if value is None else wanted.has(value)
