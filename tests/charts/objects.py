"""Rendered objects, looked at as people think of them."""

from collections.abc import Iterable
from typing import Any

from drydock.suite.manifests import Manifest

#: Rule of a NetworkPolicy's egress that reaches the agent of EKS Pod Identity, by IPv4 and IPv6.
POD_IDENTITY = {
    "ports": [{"port": 80, "protocol": "TCP"}],
    "to": [{"ipBlock": {"cidr": "169.254.170.23/32"}}, {"ipBlock": {"cidr": "fd00:ec2::23/128"}}],
}


def by_name(manifests: Iterable[Manifest], kind: str) -> dict[str, Any]:
    """Content of the objects of a kind, by name."""
    return {each.name: each.content for each in manifests if each.kind == kind}


def requirements(pool: Any) -> dict[str, Any]:
    """Requirements of a NodePool by key."""
    return {each["key"]: each for each in pool["spec"]["template"]["spec"]["requirements"]}


def taints(pool: Any) -> dict[str, str]:
    """Effects of a NodePool's taints by key."""
    return {each["key"]: each["effect"] for each in pool["spec"]["template"]["spec"].get("taints", [])}


def devices(node_class: Any) -> dict[str, Any]:
    """EBS settings of an EC2NodeClass by device."""
    return {each["deviceName"]: each["ebs"] for each in node_class["spec"]["blockDeviceMappings"]}


def labels_of_nodes(pool: Any) -> dict[str, str]:
    """Labels that a NodePool gives its nodes."""
    labels: dict[str, str] = pool["spec"]["template"].get("metadata", {}).get("labels", {})
    return labels
