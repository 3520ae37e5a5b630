"""What a node of an instance type has, and what pods may use of it, computed as Karpenter computes it.

Source of every formula: karpenter-provider-aws v1.14, pkg/providers/instancetype/types.go (computeCapacity,
kubeReservedResources, evictionThreshold, ENILimitedPods) and pkg/providers/amifamily (block devices, feature flags).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from drydock.scheduling.instance_types.facts import InstanceFacts
from drydock.scheduling.instance_types.quantity import GIB, Resources, amount, amounts

MIB = 1024**2
DEFAULT_VOLUME = 20 * GIB
VM_MEMORY_OVERHEAD = 0.075
"""Share of memory that the hypervisor is assumed to take: Karpenter's default for VM_MEMORY_OVERHEAD_PERCENT."""

NVIDIA_GPU = "nvidia.com/gpu"
NEURON = "aws.amazon.com/neuron"
NEURON_CORE = "aws.amazon.com/neuroncore"
EFA = "vpc.amazonaws.com/efa"

LARGER = "LARGER"
"""Instance store policy of EKS Auto Mode, which has no such field."""

EPHEMERAL_DEVICES = {"AL2": "/dev/xvda", "AL2023": "/dev/xvda", "Bottlerocket": "/dev/xvdb"}
"""The block device that pods' ephemeral storage lies on, by AMI family; a Custom AMI's is unknown."""


@dataclass(frozen=True)
class NodeSettings:
    """What a node class says that changes a node's capacity.

    Attributes:
        ami_family: `AL2`, `AL2023`, `Bottlerocket` or `Custom`.
        block_devices: `blockDeviceMappings` of the node class.
        instance_store_policy: `RAID0`, empty, or `LARGER`: the local disks or the volume, whichever is larger.
        network_interfaces: `networkInterfaces` of the node class, None when it leaves them to Karpenter.
        kubelet: `kubelet` of the node class.
    """

    ami_family: str = "AL2023"
    block_devices: Sequence[Mapping[str, Any]] = ()
    instance_store_policy: str = ""
    network_interfaces: Sequence[Mapping[str, Any]] | None = None
    kubelet: Mapping[str, Any] = field(default_factory=dict)


def capacity(facts: InstanceFacts, settings: NodeSettings) -> dict[str, int]:
    """Everything that a node of the type has (see `Resources` for units)."""
    neuron = facts.neuron[0] if facts.neuron else None
    return {
        "cpu": facts.vcpus * 1000,
        "memory": _memory(facts),
        "ephemeral-storage": ephemeral_storage(facts, settings),
        "pods": _pods(facts, settings),
        NVIDIA_GPU: _gpus(facts, "NVIDIA"),
        "amd.com/gpu": _gpus(facts, "AMD"),
        "habana.ai/gaudi": _gpus(facts, "Habana"),
        NEURON: sum(device.count for device in facts.neuron),
        NEURON_CORE: neuron.count * neuron.cores if neuron else 0,
        EFA: _efas(facts, settings),
    }


def allocatable(facts: InstanceFacts, settings: NodeSettings, total: Resources) -> dict[str, int]:
    """What pods may request of a node of the type: its capacity without what kubelet and system keep."""
    kubelet = settings.kubelet
    reserved = _kube_reserved(facts, settings, total["pods"]) | amounts(kubelet.get("kubeReserved"))
    system = amounts(kubelet.get("systemReserved"))
    evicted = _eviction_threshold(total, kubelet.get("evictionHard") or {})
    return {
        name: value - reserved.get(name, 0) - system.get(name, 0) - evicted.get(name, 0)
        for name, value in total.items()
    }


def ephemeral_storage(facts: InstanceFacts, settings: NodeSettings) -> int:
    """Bytes of the volume that images, logs and emptyDir volumes lie on."""
    local = facts.storage_gb * 10**9
    if settings.instance_store_policy == "RAID0" and local:
        return local
    volume = _volume(settings)
    return max(local, volume) if settings.instance_store_policy == LARGER and facts.local_nvme else volume


def _volume(settings: NodeSettings) -> int:
    sizes = [(device, device.get("ebs", {}).get("volumeSize")) for device in settings.block_devices]
    root = next((size for device, size in sizes if device.get("rootVolume") and size), None)
    if root:
        return amount("ephemeral-storage", root)
    if settings.ami_family == "Custom":
        last = sizes[-1][1] if sizes else None
        return amount("ephemeral-storage", last) if last else DEFAULT_VOLUME
    named = EPHEMERAL_DEVICES.get(settings.ami_family)
    size = next((size for device, size in sizes if device.get("deviceName") == named), None)
    return amount("ephemeral-storage", size) if size else DEFAULT_VOLUME


def _memory(facts: InstanceFacts) -> int:
    # Graviton keeps 64 MiB of contiguous memory that no pod can use.
    mebibytes = facts.memory - (64 if facts.architectures[0] == "arm64" else 0)
    overhead = math.ceil(mebibytes * MIB * VM_MEMORY_OVERHEAD / 1024 / 1024)
    return (mebibytes - overhead) * MIB


def _gpus(facts: InstanceFacts, manufacturer: str) -> int:
    return sum(gpu.count for gpu in facts.gpus if gpu.manufacturer == manufacturer)


def _efas(facts: InstanceFacts, settings: NodeSettings) -> int:
    if settings.network_interfaces is None:
        return facts.efa_interfaces
    return sum(1 for interface in settings.network_interfaces if interface.get("interfaceType") == "efa-only")


def _interface_limited_pods(facts: InstanceFacts, settings: NodeSettings) -> int:
    efa_only = sum(
        1
        for interface in settings.network_interfaces or ()
        if interface.get("networkCardIndex", 0) == 0 and interface.get("interfaceType") == "efa-only"
    )
    usable = max(facts.interfaces_by_card[facts.default_card] - efa_only, 0)
    return usable * (facts.addresses_per_interface - 1) + 2 if usable else 0


def _pods(facts: InstanceFacts, settings: NodeSettings) -> int:
    count = settings.kubelet.get("maxPods")
    if count is None:
        count = _interface_limited_pods(facts, settings)
    per_core = settings.kubelet.get("podsPerCore") or 0
    if per_core and settings.ami_family != "Bottlerocket":
        count = min(count, per_core * facts.vcpus)
    return int(count)


def _kube_reserved(facts: InstanceFacts, settings: NodeSettings, pods: int) -> dict[str, int]:
    if settings.ami_family != "Bottlerocket":
        pods = _interface_limited_pods(facts, settings)
    millicores = facts.vcpus * 1000
    cpu = 0
    for start, end, share in ((0, 1000, 0.06), (1000, 2000, 0.01), (2000, 4000, 0.005), (4000, 2**31, 0.0025)):
        if millicores >= start:
            cpu += int((min(millicores, end) - start) * share)
    return {"cpu": cpu, "memory": (11 * pods + 255) * MIB, "ephemeral-storage": GIB}


def _eviction_threshold(total: Mapping[str, int], hard: Mapping[str, str]) -> dict[str, int]:
    storage = total["ephemeral-storage"]
    threshold = {"memory": 100 * MIB, "ephemeral-storage": math.ceil(storage / 100 * 10)}
    if "memory.available" in hard:
        threshold["memory"] = _signal(total["memory"], hard["memory.available"])
    if "nodefs.available" in hard:
        threshold["ephemeral-storage"] = _signal(storage, hard["nodefs.available"])
    return threshold


def _signal(total: int, value: str) -> int:
    if not str(value).endswith("%"):
        return amount("memory", value)
    percentage = float(str(value).strip("%"))
    return 0 if percentage == 100 else math.ceil(total / 100 * percentage)  # noqa: PLR2004 (100 % switches it off)
