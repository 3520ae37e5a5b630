"""What EC2 says of each instance type, reduced to what Karpenter reads and kept in the cache.

The facts are those of EC2's DescribeInstanceTypes and DescribeInstanceTypeOfferings as Moto carries them: the same data
that the rehearsal's Karpenter is served, so that both see one catalogue.
"""

import gzip
import hashlib
import importlib.util
import json
import os
import re
from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

from drydock.errors import DrydockError, UsageError

_ROUNDED_FROM_MBPS = 20_000
"""From here on AWS's tables give two digits of Gbit/s only."""

_DEVICE_LISTS = ("gpus", "inference", "neuron")


@dataclass(frozen=True, slots=True)
class Device:
    """Accelerators of one kind: `count` devices with `memory` MiB and `cores` (of a Neuron device) each."""

    name: str
    manufacturer: str
    count: int
    memory: int = 0
    cores: int = 0


@dataclass(frozen=True, slots=True)
class InstanceFacts:
    """One instance type.

    Attributes:
        name: for example `g6.12xlarge`.
        zones: availability zones of the region that offer it.
        vcpus, memory: default vCPUs, MiB.
        architectures: as EC2 spells them, the preferred one first.
        usage_classes: among `on-demand`, `spot` and `capacity-block`.
        hypervisor: `nitro`, `xen` or empty (bare metal).
        cpu_manufacturer, clock_mhz: of the processor.
        nested_virtualization: whether the processor offers it.
        ebs_mbps: maximum EBS bandwidth, 0 when not EBS-optimised by default.
        storage_gb: all instance-store volumes together.
        local_nvme: whether those are NVMe.
        gpus, inference, neuron: accelerators, as the three parts of the API list them.
        interfaces_by_card: network interfaces that each network card takes, by card index.
        default_card: index of the card that carries the primary interface.
        addresses_per_interface: IPv4 addresses an interface takes.
        efa_interfaces: EFA interfaces at most.
        ena, encryption_in_transit: network features.
        network_mbps: baseline bandwidth of all cards, 0 when EC2 gives none.
        placement_strategies: of placement groups that take the type.
    """

    name: str
    zones: tuple[str, ...]
    vcpus: int
    memory: int
    architectures: tuple[str, ...]
    usage_classes: tuple[str, ...]
    hypervisor: str
    cpu_manufacturer: str
    clock_mhz: int
    nested_virtualization: bool
    ebs_mbps: int
    storage_gb: int
    local_nvme: bool
    gpus: tuple[Device, ...]
    inference: tuple[Device, ...]
    neuron: tuple[Device, ...]
    interfaces_by_card: tuple[int, ...]
    default_card: int
    addresses_per_interface: int
    efa_interfaces: int
    ena: bool
    encryption_in_transit: bool
    network_mbps: int
    placement_strategies: tuple[str, ...]


_DEVICES = tuple(position for position, field in enumerate(fields(InstanceFacts)) if field.name in _DEVICE_LISTS)


def load_facts(cache_dir: Path, region: str) -> tuple[InstanceFacts, ...]:
    """Every instance type that the region offers, sorted by name; milliseconds once it is in the cache.

    Raises:
        UsageError: the installed Moto does not know the region.
    """
    resources = _moto_resources()
    cached = cache_dir / "instance-types" / f"{region}-{_identity(resources)}.json"
    if not cached.is_file():
        _write(cached, [astuple(row) for row in _extract(resources, region)])
    return tuple(_revived(row) for row in json.loads(cached.read_bytes()))


def _revived(row: list[Any]) -> InstanceFacts:
    """One type from its row; rows rather than objects, because this is on the way of every check."""
    for position in _DEVICES:
        row[position] = tuple(Device(*entry) for entry in row[position])
    values: list[Any] = [tuple(value) if type(value) is list else value for value in row]
    return InstanceFacts(*values)


def _write(file: Path, content: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f"{file.name}.{os.getpid()}.partial")
    partial.write_text(json.dumps(content))
    partial.replace(file)


def _moto_resources() -> Path:
    """Moto's data files, found without importing Moto."""
    spec = importlib.util.find_spec("moto")
    if spec is None or spec.origin is None:
        raise DrydockError("the package moto is not installed", remedy="Run `pip install drydock` again.")
    return Path(spec.origin).parent / "ec2" / "resources"


def _identity(resources: Path) -> str:
    """Changes with this module, and with Moto's data without reading it: those files are replaced as a whole."""
    status = next(resources.glob("instance_types.json*")).stat()
    origin = f"{resources} {status.st_size} {status.st_mtime_ns}".encode()
    return hashlib.sha256(origin + Path(__file__).read_bytes()).hexdigest()[:12]


def _read(file: Path) -> Any:
    return json.loads(gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes())


def _extract(resources: Path, region: str) -> list[InstanceFacts]:
    offered = next((resources / "instance_type_offerings" / "availability-zone").glob(f"{region}.json*"), None)
    if offered is None:
        known = sorted(
            file.name.split(".")[0] for file in (resources / "instance_type_offerings" / "availability-zone").iterdir()
        )
        raise UsageError(f"unknown AWS region '{region}'", remedy=f"Known: {', '.join(known)}.")
    zones: dict[str, list[str]] = {}
    for offering in _read(offered):
        zones.setdefault(offering["InstanceType"], []).append(offering["Location"])
    described = _read(next(resources.glob("instance_types.json*")))
    return [
        _reduced(described[name], tuple(sorted(places)))
        for name, places in sorted(zones.items())
        if name in described and _visible_to_karpenter(described[name])
    ]


def _visible_to_karpenter(info: Mapping[str, Any]) -> bool:
    """The filters of Karpenter's DescribeInstanceTypes call.

    Source: karpenter-provider-aws v1.14, pkg/providers/instancetype/instancetype.go, UpdateInstanceTypes.
    """
    architectures = set(info["ProcessorInfo"]["SupportedArchitectures"])
    return "hvm" in info["SupportedVirtualizationTypes"] and bool(architectures & {"x86_64", "arm64"})


def _reduced(info: Mapping[str, Any], zones: tuple[str, ...]) -> InstanceFacts:
    processor, network, ebs = info["ProcessorInfo"], info["NetworkInfo"], info["EbsInfo"]
    storage = info.get("InstanceStorageInfo", {})
    cards = sorted(network["NetworkCards"], key=lambda card: card["NetworkCardIndex"])
    optimised = ebs.get("EbsOptimizedSupport") == "default"
    return InstanceFacts(
        name=info["InstanceType"],
        zones=zones,
        vcpus=info["VCpuInfo"]["DefaultVCpus"],
        memory=info["MemoryInfo"]["SizeInMiB"],
        architectures=tuple(processor["SupportedArchitectures"]),
        usage_classes=tuple(info["SupportedUsageClasses"]),
        hypervisor=info.get("Hypervisor", ""),
        cpu_manufacturer=processor.get("Manufacturer", ""),
        clock_mhz=round(processor.get("SustainedClockSpeedInGhz", 0) * 1000),
        nested_virtualization="nested-virtualization" in processor.get("SupportedFeatures", ()),
        ebs_mbps=ebs.get("EbsOptimizedInfo", {}).get("MaximumBandwidthInMbps", 0) if optimised else 0,
        storage_gb=storage.get("TotalSizeInGB", 0),
        local_nvme=storage.get("NvmeSupport", "unsupported") != "unsupported",
        gpus=_devices(info.get("GpuInfo", {}).get("Gpus", ())),
        inference=_devices(info.get("InferenceAcceleratorInfo", {}).get("Accelerators", ())),
        neuron=_devices(info.get("NeuronInfo", {}).get("NeuronDevices", ())),
        interfaces_by_card=tuple(card["MaximumNetworkInterfaces"] for card in cards),
        default_card=network["DefaultNetworkCardIndex"],
        addresses_per_interface=network["Ipv4AddressesPerInterface"],
        efa_interfaces=network.get("EfaInfo", {}).get("MaximumEfaInterfaces", 0),
        ena=network.get("EnaSupport") != "unsupported",
        encryption_in_transit=network.get("EncryptionInTransitSupported", False),
        network_mbps=_network_mbps(network["NetworkPerformance"], cards),
        placement_strategies=tuple(info["PlacementGroupInfo"]["SupportedStrategies"]),
    )


def _network_mbps(performance: str, cards: list[dict[str, Any]]) -> int:
    """Baseline bandwidth as AWS's tables give it, which Karpenter's label repeats; 0 for `Low`, `Moderate`, `High`."""
    if "Gigabit" not in performance:
        return 0
    baseline = round(sum(float(card.get("BaselineBandwidthInGbps", 0)) for card in cards) * 1000)
    total = re.match(r"(?:(\d+)x )?([\d.]+) Gigabit", performance)
    if total:
        baseline = min(baseline, round(int(total[1] or 1) * float(total[2]) * 1000))
    return baseline if baseline < _ROUNDED_FROM_MBPS else baseline // 10 * 10


def _devices(described: Any) -> tuple[Device, ...]:
    return tuple(
        Device(
            name=row["Name"],
            manufacturer=row.get("Manufacturer", "AWS"),
            count=row["Count"],
            memory=row.get("MemoryInfo", {}).get("SizeInMiB", 0),
            cores=row.get("CoreInfo", {}).get("Count", 0),
        )
        for row in described
    )
