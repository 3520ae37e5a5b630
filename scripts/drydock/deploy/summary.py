"""What a deployment runs on and what that costs an hour."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from drydock.deploy.target import Reached
from drydock.kube import api_client, asking
from drydock.progress import Progress
from drydock.project import Project

if TYPE_CHECKING:
    from drydock.plan.prices import CapacityType

_TYPE = "node.kubernetes.io/instance-type"
_CAPACITY = "karpenter.sh/capacity-type"
_REGION = "topology.kubernetes.io/region"


@dataclass(frozen=True)
class NodeSummary:
    """One node; `hourly` in dollars, None where Karpenter's list has no price."""

    name: str
    instance_type: str
    capacity_type: str
    pods: int
    hourly: float | None


@dataclass(frozen=True)
class Summary:
    """Nodes that carry pods of the namespace, and how many of its pods are ready."""

    nodes: tuple[NodeSummary, ...]
    pods: int
    ready: int

    def print(self) -> None:
        """To standard output."""
        from rich.console import Console
        from rich.table import Table

        table = Table("node", "instance type", "capacity", "pods", "$/hour")
        for each in self.nodes:
            price = "?" if each.hourly is None else f"{each.hourly:.3f}"
            table.add_row(each.name, each.instance_type, each.capacity_type, str(each.pods), price)
        console = Console()
        console.print(table)
        total = sum(each.hourly or 0 for each in self.nodes)
        console.print(f"{self.ready} of {self.pods} pods are ready; nodes cost ${total:.2f} an hour")


def summarize(project: Project, reached: Reached, namespace: str, progress: Progress) -> Summary:
    """Look at the cluster.

    Raises:
        ClusterError: it does not answer.
    """
    from kubernetes import client

    from drydock.plan.prices import load_prices

    core = client.CoreV1Api(api_client(reached.kubeconfig))
    with asking():
        pods = core.list_namespaced_pod(namespace).items
        nodes = core.list_node().items
    found = []
    for node in nodes:
        here = sum(each.spec.node_name == node.metadata.name for each in pods)
        labels = node.metadata.labels or {}
        if not here:
            continue
        capacity: CapacityType = "spot" if labels.get(_CAPACITY) == "spot" else "on-demand"
        prices = load_prices(project, progress, labels.get(_REGION, ""))
        kind = labels.get(_TYPE, "")
        price = prices.hourly(kind, capacity)
        found.append(NodeSummary(node.metadata.name, kind, labels.get(_CAPACITY, ""), here, price))
    ready = sum(
        each.status.phase == "Succeeded"
        or any(one.type == "Ready" and one.status == "True" for one in each.status.conditions or ())
        for each in pods
    )
    return Summary(tuple(found), len(pods), ready)
