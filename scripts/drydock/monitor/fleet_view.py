"""Nodes of a cluster with what they hold and cost, and the pods that wait, as plain data."""

import datetime
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from drydock.clusters.objects import full_name, is_daemon, is_true, labels_of
from drydock.outcome.fleet import CAPACITY_TYPE, INSTANCE_TYPE, ZONE
from drydock.outcome.observe import Scene
from drydock.outcome.owners import workload_of
from drydock.outcome.results import accelerators_of, pods_by_node
from drydock.outcome.unfinished import explain
from drydock.scheduling.instance_types.quantity import GIB, add, amounts
from drydock.scheduling.pods import pod_requests
from drydock.scheduling.prices import CapacityType, Prices

_POOL_LABELS = ("karpenter.sh/nodepool", "eks.amazonaws.com/nodegroup")
_CAPACITY_LABELS = (CAPACITY_TYPE, "eks.amazonaws.com/capacityType")
_REGION = "topology.kubernetes.io/region"
_CAPACITY: Mapping[str, CapacityType] = {"spot": "spot", "reserved": "reserved", "capacity_block": "reserved"}
_STATES = ("launching", "not ready", "leaving", "cordoned", "ready")


@dataclass(frozen=True)
class NodeView:
    """One node, or a claim of Karpenter's whose node is on its way.

    Attributes:
        name: of the node; of the claim while it has none.
        pool: node pool or managed node group; empty for others.
        instance_type, capacity_type, zone: as labelled; empty where they are not.
        state: `launching`, `not ready`, `leaving`, `cordoned` or `ready`.
        age_seconds: since it was made.
        accelerators: by resource name, (requested, allocatable).
        cpu, memory: (requested, allocatable) in cores and GiB.
        dollars_per_hour: None where no price is known.
        pods: names of its pods that no DaemonSet made, as `namespace/name`.
    """

    name: str
    pool: str
    instance_type: str
    capacity_type: str
    zone: str
    state: str
    age_seconds: int
    accelerators: dict[str, tuple[int, int]]
    cpu: tuple[float, float]
    memory: tuple[float, float]
    dollars_per_hour: float | None
    pods: tuple[str, ...]


@dataclass(frozen=True)
class WaitingView:
    """Pods of a workload that are not ready.

    Attributes:
        workload: `Kind/name`.
        namespace: of the pods.
        pods: how many.
        seconds: since the oldest was made.
        reason: why the oldest is not ready.
    """

    workload: str
    namespace: str
    pods: int
    seconds: int
    reason: str


@dataclass(frozen=True)
class FleetView:
    """A cluster at one moment; nodes that need a look come first."""

    nodes: tuple[NodeView, ...]
    waiting: tuple[WaitingView, ...]

    @property
    def dollars_per_hour(self) -> float:
        """Of all nodes whose price is known."""
        return round(sum(node.dollars_per_hour or 0.0 for node in self.nodes), 6)

    @property
    def unpriced(self) -> tuple[str, ...]:
        """Instance types, or nodes without one, whose price is not known."""
        return tuple(sorted({node.instance_type or node.name for node in self.nodes if node.dollars_per_hour is None}))

    def to_dict(self) -> dict[str, Any]:
        """As `--format json` prints it."""
        return {"dollars_per_hour": self.dollars_per_hour, "unpriced": list(self.unpriced), **asdict(self)}


def region_of(scene: Scene) -> str:
    """The region that the nodes say they are in; empty where none does."""
    return next((labels_of(node)[_REGION] for node in scene.of("Node") if _REGION in labels_of(node)), "")


def read_fleet(scene: Scene, prices: Prices | None, now: float) -> FleetView:
    """The nodes and what waits.

    Args:
        scene: objects of the cluster.
        prices: of its region; None where it is in none of AWS.
        now: as Unix time.
    """
    nodes = [*_nodes(scene, prices, now), *_launching(scene, prices, now)]
    return FleetView(tuple(sorted(nodes, key=_by_need)), tuple(_waiting(scene, now)))


def _by_need(node: NodeView) -> tuple[Any, ...]:
    idle = bool(node.pods) or node.state != "ready"
    return (_STATES.index(node.state), idle, -(node.dollars_per_hour or 0), node.pool, node.instance_type, node.name)


def _nodes(scene: Scene, prices: Prices | None, now: float) -> Iterator[NodeView]:
    held = pods_by_node(scene)
    for node in scene.of("Node"):
        pods = held.get(node["metadata"]["name"], ())
        used = add(*(pod_requests(pod["spec"]) for pod in pods))
        free = amounts((node.get("status") or {}).get("allocatable"))
        yield NodeView(
            name=node["metadata"]["name"],
            state=_state(node),
            age_seconds=_age(node, now),
            accelerators={name: (used.get(name, 0), count) for name, count in accelerators_of(free).items()},
            cpu=(round(used.get("cpu", 0) / 1000, 3), round(free.get("cpu", 0) / 1000, 3)),
            memory=(round(used.get("memory", 0) / GIB, 2), round(free.get("memory", 0) / GIB, 2)),
            pods=tuple(sorted(full_name(pod) for pod in pods if not is_daemon(pod))),
            **_bought(labels_of(node), prices),
        )


def _launching(scene: Scene, prices: Prices | None, now: float) -> Iterator[NodeView]:
    present = {node["metadata"]["name"] for node in scene.of("Node")}
    for claim in scene.of("NodeClaim"):
        if (claim.get("status") or {}).get("nodeName", "") not in present:
            yield NodeView(
                name=claim["metadata"]["name"],
                state="leaving" if "deletionTimestamp" in claim["metadata"] else "launching",
                age_seconds=_age(claim, now),
                accelerators={},
                cpu=(0.0, 0.0),
                memory=(0.0, 0.0),
                pods=(),
                **_bought(labels_of(claim), prices),
            )


def _bought(labels: Mapping[str, str], prices: Prices | None) -> dict[str, Any]:
    instance_type = labels.get(INSTANCE_TYPE, "")
    capacity = next((labels[label] for label in _CAPACITY_LABELS if label in labels), "").lower()
    known = prices.hourly(instance_type, _CAPACITY.get(capacity, "on-demand")) if prices else None
    return {
        "pool": next((labels[label] for label in _POOL_LABELS if label in labels), ""),
        "instance_type": instance_type,
        "capacity_type": capacity.replace("_", "-"),
        "zone": labels.get(ZONE, ""),
        "dollars_per_hour": None if known is None else round(known, 6),
    }


def _state(node: Mapping[str, Any]) -> str:
    if "deletionTimestamp" in node["metadata"]:
        return "leaving"
    if not is_true(node, "Ready"):
        return "not ready"
    return "cordoned" if node["spec"].get("unschedulable") else "ready"


def _age(content: Mapping[str, Any], now: float) -> int:
    made = datetime.datetime.fromisoformat(content["metadata"]["creationTimestamp"]).timestamp()
    return max(0, round(now - made))


def _waiting(scene: Scene, now: float) -> Iterator[WaitingView]:
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for pod in scene.of("Pod"):
        ready = is_true(pod, "Ready") or pod["status"].get("phase") == "Succeeded"
        if not ready and "deletionTimestamp" not in pod["metadata"]:
            groups[(pod["metadata"]["namespace"], workload_of(scene, pod))].append(pod)
    for (namespace, workload), pods in sorted(groups.items(), key=lambda group: (-len(group[1]), group[0])):
        oldest = min(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))
        reason = explain(scene, {}, f"Pod/{full_name(oldest)}")
        yield WaitingView(workload, namespace, len(pods), _age(oldest, now), " ".join(reason.split()))
