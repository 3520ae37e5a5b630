"""Which faults there are, and how each is brought about."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from drydock.clusters.api import collection
from drydock.clusters.objects import labels_of
from drydock.documents import load_yaml_file
from drydock.errors import ClusterError
from drydock.rehearsal.aws.shortages import FILE as SHORTAGES
from drydock.rehearsal.aws.shortages import Shortage, write_shortages
from drydock.rehearsal.children import ProcessRecord, end_recorded, read_records
from drydock.rehearsal.journeys.live_cluster import LiveCluster

_FILE = Path(__file__).resolve().parents[2] / "data" / "faults.yaml"
_NODES = collection("v1", "nodes")
_CLAIMS = collection("karpenter.sh/v1", "nodeclaims")
_TYPE, _ZONE = "node.kubernetes.io/instance-type", "topology.kubernetes.io/zone"
_API_SERVER = "kube-apiserver"

Undo = Callable[[], object]


@dataclass(frozen=True)
class Fault:
    """Something that breaks.

    Attributes:
        name: of the option `--fault`.
        what: happens.
        seconds: within which requests must be answered again.
        target: `model` or `gateway`: where requests go, and whose pod is struck.
        none_lost: from so many ready pods on no request may be lost; 0 where some may always be.
        replaces: the struck pod, or its process, is another one afterwards.
        lasts: seconds until it is taken back; 0 where it stays until the trial is over.
    """

    name: str
    what: str
    seconds: float
    target: str = "model"
    none_lost: int = 0
    replaces: bool = True
    lasts: float = 0.0

    def strike(self, cluster: LiveCluster, pod: Mapping[str, Any]) -> Undo:
        """Bring it about for a pod; what is returned takes back what lasts."""
        return _STRIKES[self.name](cluster, pod)


@cache
def faults() -> Mapping[str, Fault]:
    """Every fault by its name."""
    return {name: Fault(name, **facts) for name, facts in load_yaml_file(_FILE).items()}


def _processes(cluster: LiveCluster, pod: Mapping[str, Any]) -> list[ProcessRecord]:
    metadata = pod["metadata"]
    prefix = f"pods/{metadata['namespace']}_{metadata['name']}_"
    found = [record for record in read_records(cluster.folder.processes) if record.name.startswith(prefix)]
    if not any(record.find() for record in found):
        raise ClusterError(f"pod {metadata['name']} has no process to strike")
    return found


def _crash(cluster: LiveCluster, pod: Mapping[str, Any]) -> Undo:
    list(end_recorded(_processes(cluster, pod)))
    return _nothing


def _hang(cluster: LiveCluster, pod: Mapping[str, Any]) -> Undo:
    for record in _processes(cluster, pod):
        if process := record.find():
            for part in (*process.children(recursive=True), process):
                part.suspend()
    return _nothing  # the kubelet kills it


def _lose_node(cluster: LiveCluster, pod: Mapping[str, Any]) -> Undo:
    _lose(cluster, [pod["spec"]["nodeName"]])
    return _nothing


def _lose(cluster: LiveCluster, names: Iterable[str]) -> None:
    """As when instances fail: no pod gets there any more, those on them end without grace, and Karpenter replaces them.

    Cordoned in place of the taint `unreachable`, which the node controller takes off again while KWOK renews the lease.
    """
    lost = set(names)
    for name in lost:
        cluster.api.merge(f"{_NODES}/{name}", {"spec": {"unschedulable": True}})
    for pod in cluster.api.get(collection("v1", "pods"))["items"]:
        if pod["spec"].get("nodeName") in lost:
            metadata = pod["metadata"]
            cluster.api.forget(f"{collection('v1', 'pods', metadata['namespace'])}/{metadata['name']}", metadata["uid"])
    _remove_claims(cluster, lost)


def _drain(cluster: LiveCluster, pod: Mapping[str, Any]) -> Undo:
    _remove_claims(cluster, {pod["spec"]["nodeName"]})
    return _nothing


def _remove_claims(cluster: LiveCluster, nodes: set[str]) -> None:
    claims = cluster.api.get(_CLAIMS)["items"]
    names = [claim["metadata"]["name"] for claim in claims if claim.get("status", {}).get("nodeName") in nodes]
    if not names:
        raise ClusterError(f"node {', '.join(sorted(nodes))} was not bought by Karpenter")
    for name in names:
        cluster.api.delete(f"{_CLAIMS}/{name}")


def _use_up_type(cluster: LiveCluster, pod: Mapping[str, Any]) -> Undo:
    node = cluster.api.get(f"{_NODES}/{pod['spec']['nodeName']}")
    undo = _run_short(cluster, Shortage(instance_type=labels_of(node).get(_TYPE, ""), zone=""))
    _lose(cluster, [pod["spec"]["nodeName"]])
    return undo


def _lose_zone(cluster: LiveCluster, pod: Mapping[str, Any]) -> Undo:
    nodes = cluster.api.get(_NODES)["items"]
    zones = {node["metadata"]["name"]: labels_of(node).get(_ZONE, "") for node in nodes}
    zone = zones[pod["spec"]["nodeName"]]
    end_shortage = _run_short(cluster, Shortage(instance_type="", zone=zone))
    lost = [name for name, known in zones.items() if known == zone]
    _lose(cluster, lost)

    def undo() -> None:
        end_shortage()
        for name in lost:  # those that Karpenter did not buy are there again
            cluster.api.merge(f"{_NODES}/{name}", {"spec": {"unschedulable": False}})

    return undo


def _run_short(cluster: LiveCluster, shortage: Shortage) -> Undo:
    file = cluster.folder.cluster / SHORTAGES
    write_shortages(file, [shortage])
    return lambda: file.unlink(missing_ok=True)


def _stop_api_server(cluster: LiveCluster, _pod: Mapping[str, Any]) -> Undo:
    records = [record for record in read_records(cluster.folder.processes) if record.name == _API_SERVER]
    processes: list[psutil.Process] = [process for record in records if (process := record.find())]
    if not processes:
        raise ClusterError("the API server does not run")
    for process in processes:
        process.suspend()
    return lambda: list(map(psutil.Process.resume, processes))


def _nothing() -> None:
    """Nothing is left to take back."""


_STRIKES: dict[str, Callable[[LiveCluster, Mapping[str, Any]], Undo]] = {
    "model-crash": _crash,
    "model-hangs": _hang,
    "gateway-pod-dies": _crash,
    "gpu-node-dies": _lose_node,
    "spot-interruption": _drain,
    "no-capacity": _use_up_type,
    "zone-goes": _lose_zone,
    "api-server-away": _stop_api_server,
}
