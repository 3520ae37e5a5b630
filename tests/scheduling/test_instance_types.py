"""Instance types as Karpenter sees them: figures that a running Karpenter 1.14 gave for the same node classes."""

from pathlib import Path
from typing import Any

import pytest

from drydock.errors import DrydockError
from drydock.scheduling.instance_types import NodeSettings, allocatable, capacity, load_catalogue
from drydock.scheduling.instance_types.labels import AUTO_MODE_PREFIX
from drydock.scheduling.instance_types.quantity import amount, describe
from tests.checks.helpers import catalogue

LARGE = [{"deviceName": "/dev/xvda", "ebs": {"volumeSize": "200Gi"}}]
KUBELET = {"maxPods": 30, "systemReserved": {"memory": "2Gi"}, "evictionHard": {"memory.available": "10%"}}
EFA = [
    {"networkCardIndex": 0, "deviceIndex": 0, "interfaceType": "interface"},
    {"networkCardIndex": 0, "deviceIndex": 1, "interfaceType": "efa-only"},
]


@pytest.mark.parametrize(
    ("name", "settings", "expected"),
    [
        (
            "p5.48xlarge",
            NodeSettings(),
            {
                "cpu": 191450,
                "memory": 2032570204160,
                "ephemeral-storage": 18253611008,
                "pods": 100,
                "nvidia.com/gpu": 8,
            },
        ),
        (
            "inf1.24xlarge",
            NodeSettings(block_devices=LARGE),
            {"memory": 186621362176, "ephemeral-storage": 192199786496, "pods": 321, "aws.amazon.com/neuroncore": 64},
        ),
        (
            "g6e.12xlarge",
            NodeSettings(block_devices=LARGE, instance_store_policy="RAID0"),
            {"memory": 377651986432, "ephemeral-storage": 3418926258176, "pods": 292, "nvidia.com/gpu": 4},
        ),
        ("g6e.24xlarge", NodeSettings(kubelet=KUBELET), {"memory": 678417242521, "pods": 30}),
        ("g4dn.12xlarge", NodeSettings(), {"memory": 187624849408, "pods": 234, "vpc.amazonaws.com/efa": 1}),
        (
            "g6.48xlarge",
            NodeSettings("Bottlerocket", [{"deviceName": "/dev/xvdb", "ebs": {"volumeSize": "120Gi"}}]),
            {"memory": 753912512512, "ephemeral-storage": 114890375168},
        ),
    ],
)
def test_allocatable_is_karpenters_to_the_byte(name: str, settings: NodeSettings, expected: dict[str, int]) -> None:
    facts = catalogue().types[name]
    room = allocatable(facts, settings, capacity(facts, settings))
    assert {resource: room[resource] for resource in expected} == expected


def test_efa_only_interfaces_are_counted_and_take_addresses() -> None:
    facts = catalogue().types["p5.48xlarge"]
    plain, with_efa = capacity(facts, NodeSettings()), capacity(facts, NodeSettings(network_interfaces=EFA))
    assert (plain["vpc.amazonaws.com/efa"], with_efa["vpc.amazonaws.com/efa"]) == (32, 1)
    assert (plain["pods"], with_efa["pods"]) == (100, 51)


@pytest.mark.parametrize(
    ("name", "label", "values"),
    [
        ("p4d.24xlarge", "instance-gpu-name", {"a100"}),
        ("p4d.24xlarge", "instance-generation", {"4"}),
        ("m5.large", "instance-gpu-name", set()),
        ("inf2.xlarge", "instance-accelerator-manufacturer", {"aws"}),
        ("inf2.xlarge", "instance-accelerator-name", {"inferentia2"}),
        ("m7i-flex.large", "instance-capability-flex", {"true"}),
        ("g6.xlarge", "instance-local-nvme", {"250"}),
        ("c5.metal", "instance-hypervisor", {""}),
        ("g6f.large", "instance-gpu-count", {"0"}),
    ],
)
def test_labels_are_karpenters(name: str, label: str, values: set[str]) -> None:
    assert catalogue().values(name, f"karpenter.k8s.aws/{label}") == values
    assert catalogue().values(name, f"eks.amazonaws.com/{label}", AUTO_MODE_PREFIX) == values


def test_the_catalogue_is_made_once_for_a_region(tmp_path: Path) -> None:
    first = load_catalogue(tmp_path, "eu-central-1")
    (file,) = (tmp_path / "instance-types").iterdir()
    assert file.name.startswith("eu-central-1-")
    file.write_text(file.read_text().replace('"m5.large"', '"m5.renamed"'))
    assert "m5.renamed" in load_catalogue(tmp_path, "eu-central-1").types
    assert "m5.large" in first.types
    with pytest.raises(DrydockError, match=r"unknown AWS region 'eu-nowhere-1'\n  Known: .*eu-central-1"):
        load_catalogue(tmp_path, "eu-nowhere-1")


@pytest.mark.parametrize(
    ("resource", "quantity", "value"),
    [
        ("cpu", "1500m", 1500),
        ("cpu", 2, 2000),
        ("cpu", "0.1", 100),
        ("memory", "16Gi", 17179869184),
        ("memory", "1.5G", 1500000000),
        ("memory", "2e3", 2000),
        ("nvidia.com/gpu", "8", 8),
        ("memory", "100m", 1),
    ],
)
def test_quantities(resource: str, quantity: Any, value: int) -> None:
    assert amount(resource, quantity) == value


def test_amounts_are_shown_as_people_write_them() -> None:
    assert describe("cpu", 3920) == "3.92 cpu"
    assert describe("memory", 16 * 1024**3) == "16 GiB memory"
    assert describe("nvidia.com/gpu", 8) == "8 nvidia.com/gpu"
    with pytest.raises(ValueError, match="not a Kubernetes quantity"):
        amount("cpu", "many")
