"""YAML of small objects, each differing from a working default in what a test is about."""

import json
from collections.abc import Mapping, Sequence
from typing import Any


def pool(
    name: str = "gpu",
    requirements: Sequence[tuple[str, str, Sequence[str]]] = (),
    *,
    taints: Sequence[str] = (),
    labels: Mapping[str, str] | None = None,
    limits: Mapping[str, Any] | None = None,
    node_class: str = "default",
    spec: Mapping[str, Any] | None = None,
) -> str:
    """A NodePool; a taint is written `KEY=VALUE:EFFECT`."""
    template = {
        "metadata": {"labels": dict(labels or {})},
        "spec": {
            "nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": node_class},
            "requirements": [{"key": key, "operator": op, "values": list(values)} for key, op, values in requirements],
            "taints": [_taint(each) for each in taints],
        },
    }
    content = {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodePool",
        "metadata": {"name": name},
        "spec": {"template": template, "limits": dict(limits or {}), **(spec or {})},
    }
    return json.dumps(content) + "\n---\n"


def pod_spec(requests: Mapping[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """A pod's spec of one container."""
    container = {"name": "main", "image": "example.com/model:1.0", "resources": {"requests": dict(requests or {})}}
    return {"containers": [container], **fields}


def deployment(spec: Mapping[str, Any], name: str = "model", **fields: Any) -> str:
    """A Deployment of one pod."""
    template = {"metadata": {"labels": {"app": name}}, "spec": dict(spec)}
    content = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": template, **fields},
    }
    return json.dumps(content) + "\n---\n"


def daemon_set(spec: Mapping[str, Any], name: str = "agent") -> str:
    """A DaemonSet."""
    content = {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": {"spec": dict(spec)}},
    }
    return json.dumps(content) + "\n---\n"


def needs(key: str, operator: str, *values: str) -> dict[str, Any]:
    """A required node affinity of one expression."""
    term = {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}


def _taint(text: str) -> dict[str, str]:
    taint, _, effect = text.rpartition(":")
    key, _, value = taint.partition("=")
    return {"key": key, "value": value, "effect": effect}
