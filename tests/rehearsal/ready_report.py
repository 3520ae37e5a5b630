"""What the report of an environment that became ready says."""

from collections.abc import Mapping
from typing import Any


def assert_ready(report: Mapping[str, Any]) -> None:
    """Every pod is on a node with a price, nothing is left to warn of, and what was assumed is named."""
    assert report["ready"]
    assert {pod["phase"] for pod in report["pods"]} == {"Ready"}
    assert any(pod["accelerators"] for pod in report["pods"])
    assert all(pod["node"] and pod["instance_type"] for pod in report["pods"])
    assert all(node["dollars_per_hour"] > 0 for node in report["nodes"])
    assert report["warnings"] == []
    operated = any(pod["workload"].endswith("-kuberay-operator") for pod in report["pods"])
    assert (
        any("in place of images" in line and "kuberay/operator" in line for line in report["assumptions"]) == operated
    )
    capacity_types = {node["capacity_type"] for node in report["nodes"]}
    for capacity_type, sentence in (("reserved", "Reserved capacity counts"), ("spot", "Spot capacity is priced at")):
        assert any(sentence in line for line in report["assumptions"]) == (capacity_type in capacity_types)
