"""Node classes: how the nodes of a pool are launched, and which instance types that leaves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from drydock.scheduling.account import Account, selected_reservations
from drydock.scheduling.instance_types import auto_mode
from drydock.scheduling.instance_types.facts import InstanceFacts
from drydock.scheduling.instance_types.quantity import Resources
from drydock.scheduling.instance_types.resources import LARGER, NodeSettings, allocatable, capacity
from drydock.suite.environments import CapacityReservation
from drydock.suite.manifests import Manifest

Fields = Mapping[str, Any]

AUTO_MODE_GROUP = "eks.amazonaws.com"


@dataclass(frozen=True, slots=True)
class NodeResources:
    """What a node of one type has, and what of it pods may request."""

    capacity: Resources
    allocatable: Resources

    @property
    def is_usable(self) -> bool:
        """Whether the node's own needs leave something of everything."""
        return min(self.allocatable.values()) >= 0


@dataclass(frozen=True)
class NodeClass:
    """An EC2NodeClass, or Auto Mode's NodeClass.

    Attributes:
        name: of the object.
        is_auto_mode: whether EKS runs the nodes.
        spec: of the object.
        settings: what of it changes a node's capacity.
        reservations: that its selector terms pick.
        manifest: None for the class that Auto Mode brings.
    """

    name: str
    is_auto_mode: bool
    spec: Fields
    settings: NodeSettings
    reservations: tuple[CapacityReservation, ...]
    manifest: Manifest | None
    _computed: dict[str, NodeResources] = field(default_factory=dict, compare=False, repr=False)

    def resources(self, facts: InstanceFacts) -> NodeResources:
        """What a node of the type has when it is launched from this class; computed once."""
        found = self._computed.get(facts.name)
        if found is None:
            total = capacity(facts, self.settings)
            found = NodeResources(total, allocatable(facts, self.settings, total))
            self._computed[facts.name] = found
        return found

    def suits(self, facts: InstanceFacts) -> bool:
        """Whether nodes of the type can be launched from this class, and have anything left for pods.

        Source: karpenter-provider-aws v1.14, pkg/providers/instancetype/compatibility/compatibility.go, and karpenter
        v1.14, pkg/utils/resources/resources.go, Fits (a negative amount fits nothing).
        """
        if self.is_auto_mode and not auto_mode.launches(facts):
            return False
        if self.settings.ami_family == "AL2023" and facts.name.startswith("a1."):
            return False
        nested = (self.spec.get("cpuOptions") or {}).get("nestedVirtualization") == "enabled"
        if nested and not facts.nested_virtualization:
            return False
        if self.spec.get("connectionTracking") is not None and facts.hypervisor != "nitro":
            return False
        return _takes_interfaces(facts, self.settings.network_interfaces) and self.resources(facts).is_usable


def find_node_class(reference: Fields, manifests: Sequence[Manifest], account: Account) -> NodeClass | None:
    """The node class that a NodePool refers to; None when neither the objects nor Auto Mode bring one of that name."""
    name = str(reference.get("name", ""))
    group, kind = str(reference.get("group", "")), str(reference.get("kind", ""))
    is_auto_mode = group == AUTO_MODE_GROUP
    named = (
        rendered_object
        for rendered_object in manifests
        if rendered_object.name == name and rendered_object.kind == kind
    )
    manifest = next((term for term in named if term.api_version.startswith(f"{group}/")), None)
    if manifest is None and not (is_auto_mode and name == "default"):
        return None
    spec = (manifest.content.get("spec") or {}) if manifest else {}
    reservations = selected_reservations(spec.get("capacityReservationSelectorTerms"), account.reservations)
    settings = _auto_mode_settings(spec) if is_auto_mode else _ec2_settings(spec)
    return NodeClass(name, is_auto_mode, spec, settings, reservations, manifest)


def ami_family(spec: Fields) -> str:
    """AMI family of an EC2NodeClass: named, or that of its alias.

    Source: karpenter-provider-aws v1.14, pkg/apis/v1/ec2nodeclass.go, AMIFamily.
    """
    if spec.get("amiFamily"):
        return str(spec["amiFamily"])
    families = {family.lower(): family for family in ("AL2", "AL2023", "Bottlerocket")}
    aliases = [str(term["alias"]) for term in spec.get("amiSelectorTerms") or () if term.get("alias")]
    return families.get(aliases[0].partition("@")[0].lower(), "Custom") if aliases else "Custom"


def _ec2_settings(spec: Fields) -> NodeSettings:
    return NodeSettings(
        ami_family=ami_family(spec),
        block_devices=spec.get("blockDeviceMappings") or (),
        instance_store_policy=spec.get("instanceStorePolicy") or "",
        network_interfaces=spec.get("networkInterfaces"),
        kubelet=spec.get("kubelet") or {},
    )


def _auto_mode_settings(spec: Fields) -> NodeSettings:
    """Auto Mode runs Bottlerocket; images and emptyDir lie on local disks when those are larger than the volume."""
    size = (spec.get("ephemeralStorage") or {}).get("size") or auto_mode.DEFAULT_STORAGE
    return NodeSettings("Bottlerocket", [{"rootVolume": True, "ebs": {"volumeSize": size}}], LARGER)


def _takes_interfaces(facts: InstanceFacts, interfaces: Sequence[Fields] | None) -> bool:
    if interfaces is None:
        return True
    if not facts.ena:
        return False
    for interface in interfaces:
        card = interface.get("networkCardIndex", 0)
        if card >= len(facts.interfaces_by_card) or interface.get("deviceIndex", 0) >= facts.interfaces_by_card[card]:
            return False
    return sum(1 for interface in interfaces if interface.get("interfaceType") == "efa-only") <= facts.efa_interfaces
