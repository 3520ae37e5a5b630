"""Stands in for what a real node tells of itself, on top of KWOK: its capacity, and its accelerators once it has them.

Karpenter's KWOK build makes nodes with the capacity of a plain AL2023 node, whatever the node class says of disks and
kubelet; the claim that it was made for knows better. And where a real node has no GPUs before a device plugin has
registered them, such a node would have them from the start.
"""

import datetime
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from drydock.checks.scheduling.sharing import WHOLE, Sharing
from drydock.rehearsal.api import Api, ApiError, collection
from drydock.rehearsal.objects import is_true, labels_of
from drydock.rehearsal.pools import are_settled
from drydock.rehearsal.sharing import read_sharing
from drydock.rehearsal.watching import follow, in_background

NODES = collection("v1", "nodes")
PODS = collection("v1", "pods")
CLAIMS = collection("karpenter.sh/v1", "nodeclaims")
POOLS = collection("karpenter.sh/v1", "nodepools")
CLASSES = collection("karpenter.k8s.aws/v1", "ec2nodeclasses")
PLUGIN_FOLDER = "/var/lib/kubelet/device-plugins"
_DECIDED_SECONDS = 30
_RESERVATION = "karpenter.k8s.aws/capacity-reservation-id"


_PLUGGED = "nvidia.com/"
"""Resources that a node has only once a device plugin registered them begin so."""
_PLUGIN_HINT = "nvidia"
"""Part of the name of the plugin's image."""
_BUILT_IN = ("bottlerocket",)
"""Families of images that bring the plugin; how those share GPUs is settled in the image's own settings."""


@dataclass
class NodeStandIn:
    """Corrects nodes as they appear.

    Args:
        api: of the cluster.
        on_reserved: told how many claims hold each capacity reservation, whenever that changes.
    """

    api: Api
    on_reserved: Callable[[Counter[str]], None]
    _claims: dict[str, Any] = field(default_factory=dict)
    _classes: dict[str, Any] = field(default_factory=dict)
    _pools: dict[str, Any] = field(default_factory=dict)
    _nodes: dict[str, Any] = field(default_factory=dict)
    _plugins: dict[str, tuple[str, Sharing]] = field(default_factory=dict)
    _told: dict[str, Any] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def pools_undecided(self) -> bool:
        """Whether Karpenter may still find out that a pool of late is usable; it does so within a few seconds."""
        with self._lock:
            young = [pool for pool in self._pools.values() if time.time() - _created(pool) < _DECIDED_SECONDS]
            return not are_settled(young, self._classes)

    def class_zones(self, claim: Mapping[str, Any]) -> tuple[str, ...]:
        """Zones of the subnets that the node class of a claim selects."""
        with self._lock:
            node_class = self._classes.get(claim["spec"]["nodeClassRef"]["name"], {})
        return tuple(each["zone"] for each in node_class.get("status", {}).get("subnets", []))

    def start(self) -> None:
        """Watch in the background until the cluster ends."""
        stores = {CLASSES: self._classes, POOLS: self._pools, CLAIMS: self._claims, NODES: self._nodes}
        for path, store in stores.items():
            in_background(self._keep, path, store)
        in_background(self._keep_plugins)

    def correct_new(self, node: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """The JSON patch that gives a node its status as it is created; empty for one without a claim."""
        name = node["metadata"]["name"]
        with self._lock:
            claim = self._claims_by_provider().get(node["spec"].get("providerID"))
            if claim is None:
                return []
            self._told[name] = status = self._status(name, claim)
        return [{"op": "add", "path": f"/status/{part}", "value": amounts} for part, amounts in status.items()]

    def _keep(self, path: str, store: dict[str, Any]) -> None:
        for kind, content in follow(self.api, path):
            with self._lock:
                if kind == "DELETED":
                    store.pop(content["metadata"]["name"], None)
                else:
                    store[content["metadata"]["name"]] = content
                if store is self._claims:
                    self.on_reserved(_reserved(self._claims))
                self._correct_all()

    def _keep_plugins(self) -> None:
        for kind, pod in follow(self.api, PODS):
            identity = pod["metadata"]["uid"]
            with self._lock:
                if kind == "DELETED" or not is_true(pod, "Ready"):
                    gone = self._plugins.pop(identity, None)
                    if not gone:
                        continue
                elif registers_gpus(pod):
                    self._plugins[identity] = (pod["spec"]["nodeName"], self._sharing(pod))
                else:
                    continue
                self._correct_all()

    def _correct_all(self) -> None:
        by_provider = self._claims_by_provider()
        for name, node in self._nodes.items():
            claim = by_provider.get(node["spec"].get("providerID"))
            if claim and (status := self._status(name, claim)) != self._told.get(name):
                try:
                    self.api.merge(f"{NODES}/{name}/status", {"status": status})
                except ApiError as error:  # the next change tries it again
                    print(f"{name}: {error.message}", file=sys.stderr, flush=True)
                else:
                    self._told[name] = status

    def _claims_by_provider(self) -> dict[str | None, Any]:
        """Claims that have a machine: neither they nor nodes have a provider's identity before."""
        known = ((claim.get("status", {}).get("providerID"), claim) for claim in self._claims.values())
        return {identity: claim for identity, claim in known if identity}

    def _status(self, node: str, claim: Mapping[str, Any]) -> dict[str, Any]:
        sharing = self._sharing_on(node)
        if sharing is None and self._family(claim) in _BUILT_IN:
            sharing = WHOLE
        told = claim["status"]
        return {part: _devices(told.get(part, {}), labels_of(claim), sharing) for part in ("capacity", "allocatable")}

    def _family(self, claim: Mapping[str, Any]) -> str:
        node_class = self._classes.get(claim["spec"]["nodeClassRef"]["name"])
        return image_family(node_class["spec"]) if node_class else ""

    def _sharing(self, plugin: Mapping[str, Any]) -> Sharing:
        node = self.api.find(f"{NODES}/{plugin['spec']['nodeName']}") or {"metadata": {}}
        return read_sharing(self.api, plugin, labels_of(node))

    def _sharing_on(self, node: str) -> Sharing | None:
        """How the plugin of a node shares its GPUs; None while it has none."""
        return next((sharing for where, sharing in self._plugins.values() if where == node), None)


def _devices(claimed: Mapping[str, str], labels: Mapping[str, str], sharing: Sharing | None) -> dict[str, str]:
    """Resources of a node: those of its claim, with what the plugin registers, or nothing of that without it."""
    plugged = {name: "0" for name in claimed if name.startswith(_PLUGGED)}
    if plugged and sharing:
        plugged |= sharing.registered(claimed, labels)
    return {**claimed, **plugged}


def registers_gpus(pod: Mapping[str, Any]) -> bool:
    """Whether a pod is the device plugin for GPUs."""
    return _PLUGIN_HINT in plugin_image(pod)


def plugin_image(pod: Mapping[str, Any]) -> str:
    """Images of a pod that can register devices with its kubelet; empty for any other pod."""
    folders = {(volume.get("hostPath") or {}).get("path", "").rstrip("/") for volume in pod["spec"].get("volumes", [])}
    return " ".join(each["image"] for each in pod["spec"]["containers"]) if PLUGIN_FOLDER in folders else ""


def image_family(node_class: Mapping[str, Any]) -> str:
    """`al2023`, `bottlerocket`... as a node class names it, in lower case; empty when it does not."""
    aliases = [term["alias"].partition("@")[0] for term in node_class.get("amiSelectorTerms", []) if "alias" in term]
    return str(aliases[0] if aliases else node_class.get("amiFamily", "")).lower()


def _created(content: Mapping[str, Any]) -> float:
    return datetime.datetime.fromisoformat(content["metadata"]["creationTimestamp"]).timestamp()


def _reserved(claims: Mapping[str, Any]) -> Counter[str]:
    labels = map(labels_of, claims.values())
    return Counter(each[_RESERVATION] for each in labels if _RESERVATION in each)
