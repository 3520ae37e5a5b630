"""Asks Karpenter once for its on-demand prices, so that the stand-in can answer with spot prices made from them."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drydock.errors import ClusterError
from drydock.rehearsal.api import Api, collection
from drydock.rehearsal.aws.account import Account
from drydock.rehearsal.aws.prices import load_prices, on_demand_prices, price_file, read_offerings, save_prices
from drydock.rehearsal.karpenter import Launch, metrics

_NAME = "drydock-prices"
_SECONDS = 180
_PAUSE_SECONDS = 0.5
_CLASSES = collection("karpenter.k8s.aws/v1", "ec2nodeclasses")
_POOLS = collection("karpenter.sh/v1", "nodepools")


def ensure_prices(api: Api, launch: Launch, cache: Path) -> None:
    """Give the stand-in the on-demand prices of the region, from the cache or from a Karpenter started for that.

    Raises:
        ClusterError: Karpenter tells no prices within a minute.
    """
    file = price_file(cache, launch.tools["karpenter"], launch.account.region)
    prices = load_prices(file)
    if prices is None:
        prices = _ask(api, launch)
        save_prices(file, prices)
    launch.aws.market.on_demand = prices


def _ask(api: Api, launch: Launch) -> dict[str, float]:
    """Karpenter exports prices for as long as it has a pool, so it gets one that no pod can use."""
    probe = _probe_account(launch.account)
    launch.aws.add(probe, "0.0")
    api.create(_CLASSES, _node_class(probe.node_classes[0]))
    api.create(_POOLS, _node_pool())
    child = launch.start()
    try:
        deadline = time.monotonic() + _SECONDS
        while time.monotonic() < deadline:
            prices = on_demand_prices(read_offerings(metrics(child.process.pid)))
            if prices:
                return prices
            time.sleep(_PAUSE_SECONDS)
        raise ClusterError(f"Karpenter tells no prices after {_SECONDS} s", remedy=f"Its log: {child.log}")
    finally:
        child.end()
        for path in (f"{_POOLS}/{_NAME}", f"{_CLASSES}/{_NAME}"):
            api.merge(path, {"metadata": {"finalizers": None}})
            api.delete(path)


def _probe_account(account: Account) -> Account:
    tags = {"drydock": "prices"}
    spec = {
        "amiSelectorTerms": [{"tags": tags}],
        "amiFamily": "AL2023",
        "subnetSelectorTerms": [{"tags": tags}],
        "securityGroupSelectorTerms": [{"tags": tags}],
        "instanceProfile": _NAME,
    }
    return Account(account.cluster_name, account.region, account.zones, (spec,))


def _node_class(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "karpenter.k8s.aws/v1",
        "kind": "EC2NodeClass",
        "metadata": {"name": _NAME},
        "spec": spec,
    }


def _node_pool() -> dict[str, Any]:
    reference = {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": _NAME}
    anything = [{"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["on-demand"]}]
    return {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodePool",
        "metadata": {"name": _NAME},
        "spec": {
            "limits": {"cpu": "0"},
            "template": {"spec": {"nodeClassRef": reference, "requirements": anything}},
        },
    }
