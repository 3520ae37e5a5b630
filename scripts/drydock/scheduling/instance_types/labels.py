"""The labels that Karpenter puts on a node of an instance type, and may be asked for.

Source of every rule: karpenter-provider-aws v1.14, pkg/providers/instancetype/types.go, computeRequirements.
"""

import re
from collections.abc import Callable, Mapping

from drydock.scheduling.instance_types.facts import Device, InstanceFacts

ZONE = "topology.kubernetes.io/zone"
ZONE_ID = "topology.k8s.aws/zone-id"
REGION = "topology.kubernetes.io/region"
ARCHITECTURE = "kubernetes.io/arch"
OPERATING_SYSTEM = "kubernetes.io/os"
INSTANCE_TYPE = "node.kubernetes.io/instance-type"
WINDOWS_BUILD = "node.kubernetes.io/windows-build"
CAPACITY_TYPE = "karpenter.sh/capacity-type"
NODE_POOL = "karpenter.sh/nodepool"
COMPUTE_TYPE = "eks.amazonaws.com/compute-type"
HOSTNAME = "kubernetes.io/hostname"

EC2_PREFIX = "karpenter.k8s.aws/"
AUTO_MODE_PREFIX = "eks.amazonaws.com/"
"""EKS Auto Mode has the same instance labels under its own domain."""

RESERVATION_ID = "capacity-reservation-id"
RESERVATION_TYPE = "capacity-reservation-type"
RESERVATION_INTERRUPTIBLE = "capacity-reservation-interruptible"

UPSTREAM_WELL_KNOWN = frozenset(
    {NODE_POOL, ZONE, REGION, INSTANCE_TYPE, ARCHITECTURE, OPERATING_SYSTEM, CAPACITY_TYPE, WINDOWS_BUILD, ZONE_ID}
)

NORMALIZED = {
    "failure-domain.beta.kubernetes.io/zone": ZONE,
    "failure-domain.beta.kubernetes.io/region": REGION,
    "beta.kubernetes.io/arch": ARCHITECTURE,
    "beta.kubernetes.io/os": OPERATING_SYSTEM,
    "beta.kubernetes.io/instance-type": INSTANCE_TYPE,
}
"""Old names that Karpenter reads as the new ones (karpenter v1.14, pkg/apis/v1/labels.go, NormalizedLabels)."""

_ARCHITECTURES = {"x86_64": "amd64", "arm64": "arm64"}
_SCHEME = re.compile(r"(^[a-z]+)(-[0-9]+tb)?([0-9]+).*\.")

Values = frozenset[str]
"""Values that a node of a type may have for one label; the empty set says that it never has the label."""


def architecture(facts: InstanceFacts) -> str:
    """`amd64` or `arm64`."""
    return next((_ARCHITECTURES[machine] for machine in facts.architectures if machine in _ARCHITECTURES), "")


def label_reader(label: str, prefix: str = EC2_PREFIX) -> Callable[[InstanceFacts], Values] | None:
    """A function from a type's facts to the values of a label; None for a label that does not follow from the type."""
    if label in _COMMON:
        return _COMMON[label]
    return _INSTANCE.get(label.removeprefix(prefix)) if label.startswith(prefix) else None


def well_known(prefix: str = EC2_PREFIX) -> frozenset[str]:
    """Labels that a pod may ask for although no pool names them.

    Source: karpenter v1.14, pkg/apis/v1/labels.go, and karpenter-provider-aws v1.14, pkg/apis/v1/labels.go.
    """
    return UPSTREAM_WELL_KNOWN | {prefix + name for name in (*_INSTANCE, *_OFFERING_LABELS)}


def _category(facts: InstanceFacts, group: int) -> Values:
    scheme = _SCHEME.match(facts.name)
    return _some(scheme[group] if scheme else "")


def _gpu(facts: InstanceFacts) -> Device | None:
    return facts.gpus[0] if len(facts.gpus) == 1 else None


def _accelerator(facts: InstanceFacts) -> Device | None:
    devices = facts.neuron or facts.inference
    return devices[0] if len(devices) == 1 else None


def _some(value: str | int) -> Values:
    return frozenset({str(value)}) if value else frozenset()


def _one(value: str | int) -> Values:
    return frozenset({str(value)})


def _of(device: Device | None, attribute: str) -> Values:
    return _one(str(getattr(device, attribute)).replace(" ", "-").lower()) if device else frozenset()


def _truth(value: bool) -> Values:
    return _one(str(value).lower())


_COMMON: Mapping[str, Callable[[InstanceFacts], Values]] = {
    INSTANCE_TYPE: lambda facts: _one(facts.name),
    ARCHITECTURE: lambda facts: _one(architecture(facts)),
    OPERATING_SYSTEM: lambda facts: _one("linux"),
    WINDOWS_BUILD: lambda facts: frozenset(),
}

_INSTANCE: Mapping[str, Callable[[InstanceFacts], Values]] = {
    "instance-category": lambda facts: _category(facts, 1),
    "instance-generation": lambda facts: _category(facts, 3),
    "instance-family": lambda facts: _one(facts.name.partition(".")[0]),
    "instance-size": lambda facts: _one(facts.name.partition(".")[2]),
    "instance-cpu": lambda facts: _one(facts.vcpus),
    "instance-cpu-manufacturer": lambda facts: _one(facts.cpu_manufacturer.replace(" ", "-").lower()),
    "instance-cpu-sustained-clock-speed-mhz": lambda facts: _one(facts.clock_mhz),
    "instance-memory": lambda facts: _one(facts.memory),
    "instance-hypervisor": lambda facts: _one(facts.hypervisor),
    "instance-encryption-in-transit-supported": lambda facts: _truth(facts.encryption_in_transit),
    "instance-tenancy": lambda facts: frozenset({"default", "dedicated"}),
    "instance-capability-flex": lambda facts: _truth("-flex" in facts.name.partition(".")[0]),
    "instance-local-nvme": lambda facts: _some(facts.storage_gb if facts.local_nvme else 0),
    "instance-ebs-bandwidth": lambda facts: _some(facts.ebs_mbps),
    "instance-network-bandwidth": lambda facts: _some(facts.network_mbps),
    "instance-gpu-name": lambda facts: _of(_gpu(facts), "name"),
    "instance-gpu-manufacturer": lambda facts: _of(_gpu(facts), "manufacturer"),
    "instance-gpu-count": lambda facts: _of(_gpu(facts), "count"),
    "instance-gpu-memory": lambda facts: _of(_gpu(facts), "memory"),
    "instance-accelerator-name": lambda facts: _of(_accelerator(facts), "name"),
    "instance-accelerator-manufacturer": lambda facts: (
        _one("aws") if facts.neuron else _of(_accelerator(facts), "manufacturer")
    ),
    "instance-accelerator-count": lambda facts: _of(_accelerator(facts), "count"),
}
"""Readers of the labels under `karpenter.k8s.aws/` (or `eks.amazonaws.com/`)."""

_OFFERING_LABELS = (
    RESERVATION_ID,
    RESERVATION_TYPE,
    RESERVATION_INTERRUPTIBLE,
    "placement-group-id",
    "placement-group-partition",
)
