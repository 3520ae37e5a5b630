"""When Karpenter knows what each node pool can give."""

import datetime
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from drydock.clusters.objects import condition, is_true

GROUP = "karpenter.k8s.aws"


def are_settled(pools: Iterable[Mapping[str, Any]], classes: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether each pool has turned out usable or not.

    Args:
        pools: NodePools.
        classes: every EC2NodeClass by its name.
    """
    return not any(undecided(pools, classes))


def undecided(pools: Iterable[Mapping[str, Any]], classes: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Names of the pools of which it is not known whether they are usable; arguments as of `are_settled`."""
    dynamic = (pool for pool in pools if is_managed(pool) and not is_static(pool))
    open_ones = (pool for pool in dynamic if not is_true(pool, "Ready") and not _given_up(pool, classes))
    yield from (pool["metadata"]["name"] for pool in open_ones)


def is_static(pool: Mapping[str, Any]) -> bool:
    """Whether a pool has a fixed number of nodes, whatever pods ask for."""
    return "replicas" in pool["spec"]


def is_managed(pool: Mapping[str, Any]) -> bool:
    """Whether this Karpenter looks at a pool; those of EKS Auto Mode have node classes of another group."""
    return bool(pool["spec"]["template"]["spec"]["nodeClassRef"].get("group", GROUP) == GROUP)


def since(found: Mapping[str, Any]) -> float:
    """When a condition came to be as it is, as Unix time; 0 when there is no such condition."""
    moment = found.get("lastTransitionTime")
    return datetime.datetime.fromisoformat(moment).timestamp() if moment else 0.0


def _given_up(pool: Mapping[str, Any], classes: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether a pool that is not ready will stay so: its own checks failed, or its node class's did or is missing."""
    if condition(pool, "ValidationSucceeded").get("status") == "False":
        return True
    if condition(pool, "Ready").get("status") != "False":
        return False
    node_class = classes.get(pool["spec"]["template"]["spec"]["nodeClassRef"]["name"])
    return node_class is None or condition(node_class, "Ready").get("status") == "False"
