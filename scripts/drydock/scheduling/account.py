"""What the AWS account of an environment holds, as far as scheduling depends on it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from drydock.documents import load_yaml_file
from drydock.scheduling.instance_types.labels import ZONE
from drydock.scheduling.requirements import from_expressions
from drydock.suite.environments import CapacityReservation, Environment
from drydock.suite.manifests import Manifest

DEFAULT_REGION = "us-west-2"
"""Where an environment is taken to be that names neither region nor zone."""


@dataclass(frozen=True)
class Account:
    """Where nodes can be bought.

    Attributes:
        region: of the cluster.
        zones: that the cluster's subnets lie in.
        reservations: capacity reservations and capacity blocks that it holds.
        quotas: vCPUs by code of the quota of EC2, as far as they are known.
        class_zones: those of `zones` that a node class has subnets in, by its name, as far as they were read.
        offerings: instance types by the zone that offers them, as far as they were read.
    """

    region: str
    zones: tuple[str, ...]
    reservations: tuple[CapacityReservation, ...] = ()
    quotas: Mapping[str, int] = field(default_factory=dict)
    class_zones: Mapping[str, frozenset[str]] = field(default_factory=dict)
    offerings: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def offering_zones(self, instance_type: str, usual: Collection[str]) -> frozenset[str]:
        """Zones of the account that offer an instance type: as they were read, else those that usually do."""
        return frozenset(
            zone
            for zone in self.zones
            if (instance_type in self.offerings[zone] if zone in self.offerings else zone in usual)
        )

    def of_class(self, name: str) -> "Account":
        """The account as nodes of one node class see it."""
        own = self.class_zones.get(name)
        return replace(self, zones=tuple(zone for zone in self.zones if zone in own)) if own else self


def account_of(environment: Environment, manifests: Sequence[Manifest]) -> Account:
    """The account that an environment expects, as the rehearsal's stand-in for AWS is seeded.

    Zones are those that values (`global.zones`), node pools and reservations name, or the first three of the region. Of
    an account that was read, in the environment's region, they are those in which a node class has a subnet with
    addresses for a node.
    """
    shared = global_values(environment)
    zones = {reservation.zone for reservation in environment.capacity_reservations} | {
        str(zone) for zone in shared.get("zones") or ()
    }
    for manifest in manifests:
        if manifest.kind == "NodePool":
            template = ((manifest.content.get("spec") or {}).get("template") or {}).get("spec") or {}
            for expression in from_expressions(template.get("requirements")):
                zones |= expression.values if expression.key == ZONE and expression.operator == "In" else set()
    region = str(shared.get("region") or "") or (min(zones)[:-1] if zones else DEFAULT_REGION)
    snapshot = environment.snapshot
    if snapshot and snapshot.region == region and snapshot.zones():
        by_class = {name: each.zones() for name, each in snapshot.node_classes.items()}
        held, quotas = environment.capacity_reservations, environment.quotas
        return Account(snapshot.region, snapshot.zones(), held, quotas, by_class, snapshot.offered_types())
    named = tuple(sorted(zones)) or tuple(f"{region}{letter}" for letter in "abc")
    return Account(region, named, environment.capacity_reservations, environment.quotas)


def global_values(environment: Environment) -> dict[str, Any]:
    """`global.region` and `global.zones` of the stack."""
    found: dict[str, Any] = {}
    for file in environment.values_files:
        content = load_yaml_file(file)
        found |= (content.get("global") or {}) if isinstance(content, dict) else {}
    for pair in environment.set_values:
        key, _, value = pair.partition("=")
        if key == "global.region":
            found["region"] = value
        elif key == "global.zones":
            found["zones"] = [part.strip() for part in value.strip("{}").split(",")]
    return found


def selected_reservations(
    terms: Sequence[Mapping[str, Any]] | None, reservations: Sequence[CapacityReservation]
) -> tuple[CapacityReservation, ...]:
    """Reservations that one of a node class's `capacityReservationSelectorTerms` picks.

    Source: karpenter-provider-aws v1.14, pkg/providers/capacityreservation/types.go. A term's owner and instance match
    criteria are taken as met, since an environment does not state them.
    """
    return tuple(reservation for reservation in reservations if any(_picks(term, reservation) for term in terms or ()))


def _picks(term: Mapping[str, Any], reservation: CapacityReservation) -> bool:
    if term.get("id"):
        return bool(term["id"] == reservation.id)
    tags = term.get("tags") or {}
    return all(key in reservation.tags and value in ("*", reservation.tags[key]) for key, value in tags.items())
