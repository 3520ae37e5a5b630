"""Which requirement keeps a pod off each node pool, read from what Karpenter says."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from drydock.clusters.objects import condition, is_true
from drydock.outcome.karpenter_pools import is_managed, is_static

_POOL = re.compile(r"karpenter\.sh/nodepool In \[([^\]]+)\]")
_POOL_PAIR = re.compile(r"NodePool=(\S+?)[,)]")
_TAINT = re.compile(r"^did not tolerate taint \(taint=(?P<taint>[^)]*)\)$")
_REQUIREMENTS = re.compile(r"(?<=requirements=).*(?=, resources=)")
_OWN = re.compile(r"karpenter\.(?:sh/(?:nodepool|initialized|registered)|k8s\.aws/ec2nodeclass) In \[[^\]]*\]")


def read_exclusions(
    causes: Sequence[str], pools: Sequence[Mapping[str, Any]], skipped: Mapping[str, str]
) -> dict[str, str]:
    """The reason for each pool, by its name.

    Karpenter reports a reason for each pool that it considered, in the order of weight and then of names backwards, but
    names the pool in some of them only, and lists every taint by itself. So the reasons are gone through in that order.

    Args:
        causes: Karpenter's reasons.
        pools: every NodePool of the cluster.
        skipped: pools that it left out because no instance type meets their requirements, and its words.
    """
    found = {name: reason for pool in pools if (name := _name(pool)) and (reason := _unusable(pool, skipped))}
    considered = sorted((pool for pool in pools if _name(pool) not in found), key=_turn, reverse=True)
    told = list(causes)
    for pool in considered:
        reasons = _take(told, pool)
        if reasons:
            found[_name(pool)] = "; ".join(map(shorten, reasons))
    return dict(sorted(found.items()))


def _name(pool: Mapping[str, Any]) -> str:
    return str(pool["metadata"]["name"])


def _turn(pool: Mapping[str, Any]) -> tuple[int, str]:
    return int(pool["spec"].get("weight") or 0), _name(pool)


def _unusable(pool: Mapping[str, Any], skipped: Mapping[str, str]) -> str:
    if not is_managed(pool):
        return "a pool of another provider's node class, which this Karpenter does not look at"
    if is_static(pool):
        return "a pool of static capacity, which Karpenter buys nothing for"
    if not is_true(pool, "Ready"):
        ready = condition(pool, "NodeClassReady")
        return f"not ready: {ready.get('message') or ready.get('reason') or 'unknown'}"
    if _name(pool) in skipped:
        return f"no instance type meets the pool's own requirements ({skipped[_name(pool)]})"
    return ""


def _take(told: list[str], pool: Mapping[str, Any]) -> list[str]:
    """The reasons at the head of the list that are about this pool."""
    taints = [_taint(taint) for taint in pool["spec"]["template"]["spec"].get("taints", [])]
    taken: list[str] = []
    while told and (match := _TAINT.match(told[0])) and match["taint"] in taints:
        taints.remove(match["taint"])
        taken.append(told.pop(0))
    if not taken and told and _TAINT.match(told[0]) is None and _names(told[0]) in (None, _name(pool)):
        taken.append(told.pop(0))
    return taken


def _taint(taint: Mapping[str, Any]) -> str:
    value = f"={taint['value']}" if taint.get("value") else ""
    return f"{taint['key']}{value}:{taint['effect']}"


def _names(reason: str) -> str | None:
    """The pool that a reason names: the last one, for the pod's own wish comes before it."""
    named = _POOL.findall(reason) or _POOL_PAIR.findall(reason)
    return str(named[-1]) if named else None


def shorten(reason: str) -> str:
    """A reason without the labels that Karpenter gives every node of its own accord."""

    def kept(match: re.Match[str]) -> str:
        return ", ".join(part for part in match.group().split(", ") if not _OWN.fullmatch(part))

    return _REQUIREMENTS.sub(kept, reason)
