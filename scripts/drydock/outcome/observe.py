"""What happens on a rehearsal cluster, as watches report it, kept with the time of its arrival."""

import queue
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from drydock.clusters.api import Api, collection
from drydock.clusters.objects import full_name, is_true
from drydock.clusters.watching import follow, in_background
from drydock.outcome.karpenter_pools import are_settled

COLLECTIONS = {
    "Pod": collection("v1", "pods"),
    "Node": collection("v1", "nodes"),
    "Event": collection("v1", "events"),
    "PersistentVolumeClaim": collection("v1", "persistentvolumeclaims"),
    "StorageClass": collection("storage.k8s.io/v1", "storageclasses"),
    "CSIDriver": collection("storage.k8s.io/v1", "csidrivers"),
    "Service": collection("v1", "services"),
    "Ingress": collection("networking.k8s.io/v1", "ingresses"),
    "Deployment": collection("apps/v1", "deployments"),
    "ReplicaSet": collection("apps/v1", "replicasets"),
    "StatefulSet": collection("apps/v1", "statefulsets"),
    "DaemonSet": collection("apps/v1", "daemonsets"),
    "Job": collection("batch/v1", "jobs"),
    "NodePool": collection("karpenter.sh/v1", "nodepools"),
    "NodeClaim": collection("karpenter.sh/v1", "nodeclaims"),
    "EC2NodeClass": collection("karpenter.k8s.aws/v1", "ec2nodeclasses"),
}
RAY = {
    "RayCluster": collection("ray.io/v1", "rayclusters"),
    "RayService": collection("ray.io/v1", "rayservices"),
}
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "Job")


@dataclass
class PodTimes:
    """When a pod was first seen in each state, as Unix time."""

    created: float
    scheduled: float | None = None
    ready: float | None = None


@dataclass
class Scene:
    """Every object as it was seen last.

    Attributes:
        objects: by kind, then by uid.
        times: of pods, by uid.
        changed: when anything but an event changed last, as Unix time.
        pools_settled: since when it has been known of every node pool whether it is usable, as Unix time; None while
            it is not known of one.
        gates: feature gates of Karpenter that the target has.
    """

    objects: dict[str, dict[str, Any]] = field(default_factory=lambda: {kind: {} for kind in {**COLLECTIONS, **RAY}})
    times: dict[str, PodTimes] = field(default_factory=dict)
    changed: float = 0.0
    pools_settled: float | None = 0.0
    gates: Mapping[str, bool] = field(default_factory=dict)

    def of(self, kind: str) -> Iterator[Any]:
        """The objects of a kind."""
        yield from self.objects[kind].values()

    def named(self, kind: str) -> dict[str, Any]:
        """The objects of a kind by `namespace/name`."""
        return {full_name(content): content for content in self.of(kind)}

    def see(self, kind: str, change: str, content: Mapping[str, Any], when: float) -> None:
        """Take note of one change."""
        identity = content["metadata"]["uid"]
        if change == "DELETED":
            self.objects[kind].pop(identity, None)
        else:
            self.objects[kind][identity] = content
        if kind == "Pod":
            self._time(identity, content, when)
        if kind in ("NodePool", "EC2NodeClass"):
            settled = are_settled(self.of("NodePool"), self.named("EC2NodeClass"))
            self.pools_settled = (self.pools_settled or when) if settled else None
        if kind != "Event":
            self.changed = when

    def _time(self, identity: str, pod: Mapping[str, Any], when: float) -> None:
        times = self.times.setdefault(identity, PodTimes(when))
        if times.scheduled is None and pod["spec"].get("nodeName"):
            times.scheduled = when
        if times.ready is None and (is_true(pod, "Ready") or pod["status"].get("phase") == "Succeeded"):
            times.ready = when


class Observer:
    """Watches a cluster for as long as it lives; `scene` changes only in `look`."""

    def __init__(self, api: Api) -> None:
        self.scene = Scene()
        self._api = api
        self._seen: queue.SimpleQueue[tuple[str, str, Mapping[str, Any], float]] = queue.SimpleQueue()
        self._watched: set[str] = set()
        self.watch(COLLECTIONS)

    def watch(self, collections: Mapping[str, str]) -> None:
        """Watch these too, paths by kind, unless they are watched already."""
        for kind in collections.keys() - self._watched:
            self._watched.add(kind)
            in_background(self._follow, kind, collections[kind])

    def look(self, seconds: float) -> None:
        """Take note of all changes of so many seconds; changes come without a pause while hundreds of nodes start."""
        time.sleep(seconds)
        try:
            while True:
                self.scene.see(*self._seen.get_nowait())
        except queue.Empty:
            return

    def _follow(self, kind: str, path: str) -> None:
        for change, content in follow(self._api, path):
            self._seen.put((kind, change, content, time.time()))
