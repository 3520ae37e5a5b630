"""Which faults there are, and how each is brought about."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from drydock.clusters.api import collection
from drydock.documents import load_yaml_file
from drydock.errors import ClusterError
from drydock.rehearsal.children import end_recorded, read_records
from drydock.rehearsal.journeys.live_cluster import LiveCluster

_FILE = Path(__file__).resolve().parents[2] / "data" / "faults.yaml"
_NODES = collection("v1", "nodes")
_CLAIMS = collection("karpenter.sh/v1", "nodeclaims")


@dataclass(frozen=True)
class Fault:
    """Something that breaks.

    Attributes:
        name: of the option `--fault`.
        what: happens.
        seconds: within which requests must be answered again.
        none_lost: no request may be lost where the model has two ready pods or more.
    """

    name: str
    what: str
    seconds: float
    none_lost: bool

    def strike(self, cluster: LiveCluster, pod: Mapping[str, Any]) -> None:
        """Bring it about for a model's pod."""
        _STRIKES[self.name](cluster, pod)


@cache
def faults() -> Mapping[str, Fault]:
    """Every fault by its name."""
    return {name: Fault(name, **facts) for name, facts in load_yaml_file(_FILE).items()}


def _crash(cluster: LiveCluster, pod: Mapping[str, Any]) -> None:
    metadata = pod["metadata"]
    prefix = f"pods/{metadata['namespace']}_{metadata['name']}_"
    processes = [record for record in read_records(cluster.folder.processes) if record.name.startswith(prefix)]
    if not list(end_recorded(processes)):
        raise ClusterError(f"pod {metadata['name']} has no process to kill")


def _lose_node(cluster: LiveCluster, pod: Mapping[str, Any]) -> None:
    """As when an instance fails: no pod gets there any more, those on it end without grace, and Karpenter replaces it.

    Cordoned in place of the taint `unreachable`, which the node controller takes off again while KWOK renews the lease.
    """
    name = pod["spec"]["nodeName"]
    cluster.api.merge(f"{_NODES}/{name}", {"spec": {"unschedulable": True}})
    for lost in cluster.api.get(collection("v1", "pods"), {"fieldSelector": f"spec.nodeName={name}"})["items"]:
        metadata = lost["metadata"]
        cluster.api.forget(f"{collection('v1', 'pods', metadata['namespace'])}/{metadata['name']}", metadata["uid"])
    _remove_claim(cluster, name)


def _drain(cluster: LiveCluster, pod: Mapping[str, Any]) -> None:
    _remove_claim(cluster, pod["spec"]["nodeName"])


def _remove_claim(cluster: LiveCluster, node: str) -> None:
    claims = cluster.api.get(_CLAIMS)["items"]
    names = [claim["metadata"]["name"] for claim in claims if claim.get("status", {}).get("nodeName") == node]
    if not names:
        raise ClusterError(f"node {node} was not bought by Karpenter")
    cluster.api.delete(f"{_CLAIMS}/{names[0]}")


_STRIKES: dict[str, Callable[[LiveCluster, Mapping[str, Any]], None]] = {
    "model-crash": _crash,
    "gpu-node-dies": _lose_node,
    "spot-interruption": _drain,
}
