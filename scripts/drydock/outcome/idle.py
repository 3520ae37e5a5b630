"""Nodes that hold nothing but daemons."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from drydock.clusters.objects import condition, is_daemon, labels_of
from drydock.outcome.karpenter_pools import is_static, since
from drydock.outcome.observe import Scene

_POOL = "karpenter.sh/nodepool"
_TYPE = "node.kubernetes.io/instance-type"
_ROUNDS_SECONDS = 60.0
"""Karpenter looks for nodes to take away every ten seconds, and looks again after fifteen before it does."""
_PATIENCE_SECONDS = 60.0
_CALM_SECONDS = 5.0
_DO_NOT_DISRUPT = "karpenter.sh/do-not-disrupt"
_DURATION = re.compile(r"([0-9.]+)(ms|h|m|s)")
_UNIT_SECONDS = {"h": 3600, "m": 60, "s": 1, "ms": 0.001}


def idle_nodes(scene: Scene) -> Iterator[Mapping[str, Any]]:
    """Nodes that Karpenter bought for pods and that hold none of them, or none any more.

    Those of pools with a fixed number of nodes are asked for as they are.
    """
    used = {pod["spec"].get("nodeName") for pod in scene.of("Pod") if _counts(pod)}
    pools = scene.named("NodePool")
    for node in scene.of("Node"):
        pool = pools.get(labels_of(node).get(_POOL, ""))
        if pool and not is_static(pool) and node["metadata"]["name"] not in used:
            yield node


def going_nodes(scene: Scene, now: float) -> Iterator[str]:
    """Names of idle nodes that Karpenter is about to take away, as their pools, they and their daemons allow.

    Args:
        scene: every object.
        now: as Unix time.
    """
    pools = scene.named("NodePool")
    claims = {(node_claim.get("status") or {}).get("nodeName"): node_claim for node_claim in scene.of("NodeClaim")}
    for node in idle_nodes(scene):
        claim = claims.get(node["metadata"]["name"])
        after = consolidate_after(pools[labels_of(node)[_POOL]])
        if (
            claim
            and after is not None
            and not _is_kept(scene, node, now)
            and now < _quiet_since(claim) + after + _ROUNDS_SECONDS
        ):
            yield node["metadata"]["name"]


def overdue_claims(scene: Scene, now: float) -> Iterator[tuple[str, str, float]]:
    """Claims of idle nodes that Karpenter takes away only after minutes, their instance types and those seconds.

    Nothing happens in that time that a verdict could wait for, so a rehearsal may take them away at once.

    Args:
        scene: every object.
        now: as Unix time.
    """
    going = frozenset(going_nodes(scene, now))
    pools = scene.named("NodePool")
    for claim in scene.of("NodeClaim"):
        if (claim.get("status") or {}).get("nodeName") in going and "deletionTimestamp" not in claim["metadata"]:
            after = consolidate_after(pools[labels_of(claim)[_POOL]])
            if after is not None and after > _PATIENCE_SECONDS and now > _quiet_since(claim) + _CALM_SECONDS:
                yield claim["metadata"]["name"], labels_of(claim).get(_TYPE, ""), after


def consolidate_after(pool: Mapping[str, Any]) -> float | None:
    """Seconds after which a pool's empty nodes may go; None when they never do."""
    disruption = pool["spec"].get("disruption") or {}
    told = str(disruption.get("consolidateAfter", "0s"))
    if told == "Never" or any(_forbids(budget) for budget in disruption.get("budgets") or ()):
        return None
    return _seconds(told)


def _is_kept(scene: Scene, node: Mapping[str, Any], now: float) -> bool:
    """Whether the node or one of its pods, daemons included, is annotated not to be disrupted.

    Source: karpenter v1.14, pkg/controllers/state/statenode.go, ValidateNodeDisruptable and ValidatePodsDisruptable.
    """
    if (node["metadata"].get("annotations") or {}).get(_DO_NOT_DISRUPT) == "true":
        return True
    name = node["metadata"]["name"]
    return any(_blocks(pod, now) for pod in scene.of("Pod") if pod["spec"].get("nodeName") == name)


def _blocks(pod: Mapping[str, Any], now: float) -> bool:
    """Whether a running pod's annotation is `true`, or a duration that has not passed since it began."""
    told = (pod["metadata"].get("annotations") or {}).get(_DO_NOT_DISRUPT, "")
    ended = pod["status"].get("phase") in ("Succeeded", "Failed") or "deletionTimestamp" in pod["metadata"]
    if ended or not (told == "true" or re.fullmatch(f"({_DURATION.pattern})+", told)):
        return False
    start = pod["status"].get("startTime")
    return told == "true" or not start or now < since({"lastTransitionTime": start}) + _seconds(told)


def _seconds(text: str) -> float:
    """Of a duration as Go writes it."""
    return sum(float(amount) * _UNIT_SECONDS[unit] for amount, unit in _DURATION.findall(text))


def _forbids(budget: Mapping[str, Any]) -> bool:
    """Whether a budget lets no empty node go, now or at times."""
    none = str(budget.get("nodes")) in ("0", "0%")
    return none and "Empty" in budget.get("reasons", ["Empty"])


def _quiet_since(claim: Mapping[str, Any]) -> float:
    initialized = since(condition(claim, "Initialized"))
    last = (claim.get("status") or {}).get("lastPodEventTime")
    return max(initialized, since({"lastTransitionTime": last}))


def _counts(pod: Mapping[str, Any]) -> bool:
    return pod["status"].get("phase") not in ("Succeeded", "Failed") and not is_daemon(pod)
