"""Stands in for what a real node reports, on top of KWOK: its capacity, and its accelerators once it has them.

Karpenter's KWOK build makes nodes with the capacity of a plain AL2023 node, whatever the node class says of disks and
kubelet; the claim that it was made for knows better. And where a real node has no GPUs before a device plugin has
registered them, such a node would have them from the start.
"""

import queue
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from drydock.clusters.api import Api, ApiError, collection
from drydock.clusters.objects import is_true, labels_of
from drydock.clusters.watching import follow, in_background
from drydock.outcome.fleet import CAPACITY_TYPE, INSTANCE_TYPE, ZONE
from drydock.outcome.karpenter_pools import are_settled, is_static
from drydock.outcome.shared_gpus import read_sharing, registers_gpus
from drydock.scheduling.gpu_sharing import WHOLE, Sharing

NODES = collection("v1", "nodes")
PODS = collection("v1", "pods")
CLAIMS = collection("karpenter.sh/v1", "nodeclaims")
POOLS = collection("karpenter.sh/v1", "nodepools")
CLASSES = collection("karpenter.k8s.aws/v1", "ec2nodeclasses")
POOL = "karpenter.sh/nodepool"
_CLAIM_SECONDS = 10
_PAUSE_SECONDS = 0.5
_LOOK_SECONDS = 0.1
_WRITERS = 4
_RESERVATION = "karpenter.k8s.aws/capacity-reservation-id"


_PLUGGED = "nvidia.com/"
"""Resources that a node has only once a device plugin registered them begin so."""
_BUILT_IN = ("bottlerocket",)
"""Families of images that bring the plugin; how those share GPUs is settled in the image's own settings."""


class NodeStandIn:
    """Corrects nodes as they appear, and answers for what Karpenter can know of pools and node classes.

    Args:
        api: of the cluster.
        on_reserved: called with the number of claims that hold each capacity reservation, whenever that changes.
        on_ended: called with instance type, capacity type and zone of each claim that ends and had a machine.
    """

    def __init__(
        self, api: Api, on_reserved: Callable[[Counter[str]], None], on_ended: Callable[[str, str, str], None]
    ) -> None:
        self._api = api
        self._on_reserved = on_reserved
        self._on_ended = on_ended
        self._claims: dict[str, Any] = {}
        self._classes: dict[str, Any] = {}
        self._pools: dict[str, Any] = {}
        self._nodes: dict[str, Any] = {}
        self._claim_of: dict[str, str] = {}
        self._node_of: dict[str, str] = {}
        self._reserved: Counter[str] = Counter()
        self._plugins: dict[str, tuple[str, Sharing]] = {}
        self._told: dict[str, Any] = {}
        self._changed = threading.Condition()
        self._to_correct: list[queue.SimpleQueue[str]] = [queue.SimpleQueue() for _ in range(_WRITERS)]

    def start(self) -> None:
        """Watch in the background until the cluster ends."""
        stores = {CLASSES: self._classes, POOLS: self._pools, CLAIMS: self._claims, NODES: self._nodes}
        for path, store in stores.items():
            in_background(self._keep, path, store)
        in_background(self._keep_plugins)
        for names in self._to_correct:
            in_background(self._correct, names)

    def pools_settled(self) -> bool:
        """Whether Karpenter knows of every pool seen so far whether it is usable."""
        with self._changed:
            return are_settled(self._pools.values(), self._classes)

    def is_of_static_pool(self, claim: Mapping[str, Any]) -> bool:
        """Whether a claim is for a pool whose nodes no pod asks for."""
        with self._changed:
            pool = self._pools.get(labels_of(claim).get(POOL, ""))
        return pool is not None and is_static(pool)

    def class_zones(self, claim: Mapping[str, Any]) -> tuple[str, ...]:
        """Zones of the subnets that the node class of a claim selects; none while it is not known."""
        name = claim["spec"]["nodeClassRef"]["name"]
        with self._changed:
            zones = _zones(self._classes.get(name))
        return zones or _zones(self._api.find(f"{CLASSES}/{name}"))

    def correct_new(self, node: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """The JSON patch that gives a node its status as it is created; empty for one that Karpenter did not buy.

        The claim is there before its node, and seen a moment later at most; should it not be, the node begins with
        nothing that a device plugin registers, and gets the rest when the claim is seen.
        """
        if POOL not in labels_of(node):
            return []
        name, identity = node["metadata"]["name"], node["spec"].get("providerID", "")
        with self._changed:
            self._changed.wait_for(lambda: identity in self._claim_of, _CLAIM_SECONDS)
            if identity in self._claim_of:
                self._told[name] = status = self._status(name, self._claims[self._claim_of[identity]])
            else:
                parts = ("capacity", "allocatable")
                status = {part: _devices(node["status"].get(part, {}), labels_of(node), None) for part in parts}
        return [{"op": "add", "path": f"/status/{part}", "value": amounts} for part, amounts in status.items()]

    def _keep(self, path: str, store: dict[str, Any]) -> None:
        for kind, content in follow(self._api, path):
            with self._changed:
                name = content["metadata"]["name"]
                before = store.pop(name, None)
                if kind != "DELETED":
                    store[name] = content
                self._note(path, name, before, store.get(name))
                self._changed.notify_all()

    def _note(self, path: str, name: str, before: Any | None, now: Any | None) -> None:
        """What follows from a change of one object."""
        if path == NODES:
            if now is None:
                self._told.pop(name, None)
            elif identity := now["spec"].get("providerID"):
                self._node_of[identity] = name
                self._ask(name)
        elif path == CLAIMS:
            if now is None:
                self._claim_of.pop(_provider_id(before), None)
                self._tell_end(before)
            elif identity := _provider_id(now):
                self._claim_of[identity] = name
                self._ask(self._node_of.get(identity))
            self._count_reserved(before, now)
        elif path == CLASSES:
            for node in self._nodes:
                self._ask(node)

    def _tell_end(self, claim: Any | None) -> None:
        if claim and _provider_id(claim):
            labels = labels_of(claim)
            self._on_ended(*(labels.get(name, "") for name in (INSTANCE_TYPE, CAPACITY_TYPE, ZONE)))

    def _count_reserved(self, before: Any | None, now: Any | None) -> None:
        held, holds = (labels_of(status).get(_RESERVATION) if status else None for status in (before, now))
        if held != holds:
            self._reserved.subtract([held] if held else [])
            self._reserved.update([holds] if holds else [])
            self._on_reserved(Counter(self._reserved))

    def _keep_plugins(self) -> None:
        for kind, pod in follow(self._api, PODS):
            identity = pod["metadata"]["uid"]
            if kind == "DELETED" or not is_true(pod, "Ready"):
                with self._changed:
                    gone = self._plugins.pop(identity, None)
                    self._ask(gone[0] if gone else None)
            elif registers_gpus(pod):
                sharing = self._sharing(pod)
                with self._changed:
                    self._plugins[identity] = (pod["spec"]["nodeName"], sharing)
                    self._ask(pod["spec"]["nodeName"])

    def _ask(self, node: str | None) -> None:
        """Have a node corrected; one after the other for each, and many at once."""
        if node:
            self._to_correct[hash(node) % _WRITERS].put(node)

    def _correct(self, names: "queue.SimpleQueue[str]") -> None:
        while True:
            name = names.get()
            with self._changed:
                identity = self._nodes.get(name, {"spec": {}})["spec"].get("providerID", "")
                claim = self._claims.get(self._claim_of.get(identity, ""))
                status = self._status(name, claim) if claim else None
                if status is None or status == self._told.get(name):
                    continue
            try:
                self._api.merge(f"{NODES}/{name}/status", {"status": status})
            except ApiError as error:
                if self._api.leaving:
                    return
                print(f"{name}: {error.message}", file=sys.stderr, flush=True)
                time.sleep(_PAUSE_SECONDS)
                names.put(name)
            else:
                with self._changed:
                    self._told[name] = status

    def _status(self, node: str, claim: Mapping[str, Any]) -> dict[str, Any]:
        sharing = next((sharing for where, sharing in self._plugins.values() if where == node), None)
        if sharing is None and self._family(claim) in _BUILT_IN:
            sharing = WHOLE
        told = claim["status"]
        return {part: _devices(told.get(part, {}), labels_of(claim), sharing) for part in ("capacity", "allocatable")}

    def _family(self, claim: Mapping[str, Any]) -> str:
        node_class = self._classes.get(claim["spec"]["nodeClassRef"]["name"])
        return image_family(node_class["spec"]) if node_class else ""

    def _sharing(self, plugin: Mapping[str, Any]) -> Sharing:
        name = plugin["spec"]["nodeName"]
        with self._changed:
            node = self._nodes.get(name)
        return read_sharing(self._api, plugin, labels_of(node or self._api.find(f"{NODES}/{name}") or {"metadata": {}}))


def await_settled(api: Api) -> list[str]:
    """Wait until Karpenter knows of every pool that there is now whether it is usable; names of those that are.

    Raises:
        ApiError: the API server is gone.
    """
    while True:
        pools = api.get(POOLS)["items"]
        if are_settled(pools, {node_class["metadata"]["name"]: node_class for node_class in api.get(CLASSES)["items"]}):
            return [pool["metadata"]["name"] for pool in pools if is_true(pool, "Ready")]
        time.sleep(_LOOK_SECONDS)


def _provider_id(claim: Mapping[str, Any] | None) -> str:
    """Of the machine that a claim has; empty before it has one."""
    return str(((claim or {}).get("status") or {}).get("providerID", ""))


def _zones(node_class: Mapping[str, Any] | None) -> tuple[str, ...]:
    return tuple(subnet["zone"] for subnet in ((node_class or {}).get("status") or {}).get("subnets", ()))


def _devices(claimed: Mapping[str, str], labels: Mapping[str, str], sharing: Sharing | None) -> dict[str, str]:
    """Resources of a node: those of its claim, with what the plugin registers, or nothing of that without it."""
    plugged = {name: "0" for name in claimed if name.startswith(_PLUGGED)}
    if plugged and sharing:
        plugged |= sharing.registered(claimed, labels)
    return {**claimed, **plugged}


def image_family(node_class: Mapping[str, Any]) -> str:
    """`al2023`, `bottlerocket`... as a node class names it, in lower case; empty when it does not."""
    aliases = [term["alias"].partition("@")[0] for term in node_class.get("amiSelectorTerms", []) if "alias" in term]
    return str(aliases[0] if aliases else node_class.get("amiFamily", "")).lower()
