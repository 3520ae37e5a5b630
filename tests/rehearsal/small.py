"""A release made of plain objects, for rehearsals that need no chart of the suite."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from drydock.project import UMBRELLA
from drydock.rehearsal.cluster import RehearsalCluster
from drydock.rehearsal.release import Release
from drydock.suite.account_snapshot import AccountSnapshot, NodeClassState, Subnet
from drydock.suite.charts import AssembledCharts
from drydock.suite.environments import CapacityReservation, Environment

Content = dict[str, Any]
GPU = "nvidia.com/gpu"
PLUGIN_FOLDER = "/var/lib/kubelet/device-plugins"


def small_release(
    cluster: RehearsalCluster,
    helm: Path,
    folder: Path,
    objects: Sequence[Content],
    reservations: Sequence[CapacityReservation] = (),
    contents: Mapping[str, Any] | None = None,
    target: str = "eks",
    quotas: Mapping[str, int] | None = None,
    addresses: Mapping[str, int] | None = None,
    offerings: Mapping[str, Mapping[str, tuple[str, ...]]] | None = None,
) -> Release:
    """A release of the objects, seeded; its chart lies in the folder; `contents` is `cluster` of its environment.

    `addresses` are those that are free in each zone of the account, as far as it was read, and `offerings` the sizes by
    family that each offers.
    """
    write_chart(folder, objects)
    release = Release(cluster, helm, AssembledCharts(folder, "small"))
    name = folder.name.replace("_", "-")
    environment = Environment(
        name,
        folder / "none.yaml",
        "",
        (),
        namespace=name,
        capacity_reservations=tuple(reservations),
        quotas=quotas or {},
        target=target,
        cluster=contents or {},
        snapshot=snapshot_of(addresses, offerings or {}) if addresses else None,
    )
    release.seed(environment)
    return release


def snapshot_of(
    addresses: Mapping[str, int], offerings: Mapping[str, Mapping[str, tuple[str, ...]]]
) -> AccountSnapshot:
    """An account with a subnet in each zone that has so many free addresses."""
    subnets = {f"subnet-{zone}": Subnet(zone, free) for zone, free in addresses.items()}
    classes = {"read": NodeClassState(subnets=subnets)}
    read = "2999-01-01T00:00:00+00:00"
    return AccountSnapshot(read, "123456789012", "us-west-2", classes, offerings=offerings)


def write_chart(folder: Path, objects: Sequence[Content]) -> None:
    """Write the chart of the objects, anew if it is there."""
    chart = folder / UMBRELLA
    (chart / "templates").mkdir(parents=True, exist_ok=True)
    (chart / "Chart.yaml").write_text(yaml.safe_dump({"apiVersion": "v2", "name": UMBRELLA, "version": "0.0.1"}))
    (chart / "templates" / "objects.yaml").write_text(to_yaml(objects))


def to_yaml(objects: Sequence[Content]) -> str:
    return str(yaml.safe_dump_all(objects))


def node_class(name: str, alias: str = "al2023@latest", **spec: Any) -> Content:
    tags = [{"tags": {"karpenter.sh/discovery": "small"}}]
    basics = {
        "role": "small-node",
        "amiSelectorTerms": [{"alias": alias}],
        "subnetSelectorTerms": tags,
        "securityGroupSelectorTerms": tags,
    }
    return {
        "apiVersion": "karpenter.k8s.aws/v1",
        "kind": "EC2NodeClass",
        "metadata": {"name": name},
        "spec": {**basics, **spec},
    }


def node_pool(
    name: str,
    node_class_name: str,
    requirements: Mapping[str, Sequence[str]],
    *,
    taints: Sequence[str] = (),
    labels: Mapping[str, str] | None = None,
    **spec: Any,
) -> Content:
    reference = {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": node_class_name}
    wanted = [{"key": key, "operator": "In", "values": list(values)} for key, values in requirements.items()]
    template: Content = {
        "nodeClassRef": reference,
        "requirements": wanted,
        "taints": [{"key": key, "effect": "NoSchedule"} for key in taints],
    }
    return {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodePool",
        "metadata": {"name": name},
        "spec": {"template": {"metadata": {"labels": dict(labels or {})}, "spec": template}, **spec},
    }


RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""Security context of a container that the namespace of a release admits."""


@dataclass
class Pods:
    """The pod template of a workload."""

    resources: Mapping[str, str] = field(default_factory=lambda: {"cpu": "100m"})
    pool: str = ""
    tolerate: Sequence[str] = ()
    image: str = "example.com/app:1"
    selector: Mapping[str, str] = field(default_factory=dict)
    volumes: Sequence[Content] = ()
    mounts: Mapping[str, str] = field(default_factory=dict)
    security: Mapping[str, Any] = field(default_factory=lambda: RESTRICTED)
    restart: str = "Always"

    def spec(self) -> Content:
        extended = {name: value for name, value in self.resources.items() if "/" in name}
        container = {
            "name": "app",
            "image": self.image,
            "resources": {"requests": dict(self.resources), "limits": extended},
            "volumeMounts": [{"name": name, "mountPath": path} for name, path in self.mounts.items()],
            "securityContext": dict(self.security),
        }
        return {
            "nodeSelector": {**({"karpenter.sh/nodepool": self.pool} if self.pool else {}), **self.selector},
            "tolerations": [{"key": key, "operator": "Exists"} for key in self.tolerate],
            "containers": [container],
            "volumes": list(self.volumes),
            "restartPolicy": self.restart,
        }


def workload(kind: str, name: str, pods: Pods, **spec: Any) -> Content:
    """A Deployment, StatefulSet, DaemonSet or Job."""
    labels = {"app": name}
    body: Content = {"template": {"metadata": {"labels": labels}, "spec": pods.spec()}, **spec}
    if kind != "Job":
        body["selector"] = {"matchLabels": labels}
    group = "batch/v1" if kind == "Job" else "apps/v1"
    return {"apiVersion": group, "kind": kind, "metadata": {"name": name}, "spec": body}


def claim(name: str, storage_class: str | None, mode: str = "ReadWriteOnce", **spec: Any) -> Content:
    body = {"accessModes": [mode], "resources": {"requests": {"storage": "1Gi"}}, **spec}
    if storage_class is not None:
        body["storageClassName"] = storage_class
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": body}


def claimed(name: str) -> Content:
    """A pod's volume from the claim of the same name."""
    return {"name": name, "persistentVolumeClaim": {"claimName": name}}


def balanced(name: str, load_balancer_class: str) -> Content:
    """A Service of type LoadBalancer."""
    spec = {"type": "LoadBalancer", "loadBalancerClass": load_balancer_class, "ports": [{"port": 80}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def ingress(name: str, ingress_class: str) -> Content:
    backend = {"service": {"name": name, "port": {"number": 80}}}
    spec = {"ingressClassName": ingress_class, "defaultBackend": backend}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": name}, "spec": spec}


def device_plugin(name: str, pool: str) -> Content:
    """A stand-in for NVIDIA's: what makes it one is its image and the kubelet's folder."""
    volume = {"name": "plugins", "hostPath": {"path": PLUGIN_FOLDER}}
    pods = Pods(
        image="example.com/nvidia/device-plugin:1",
        selector={"karpenter.sh/nodepool": pool},
        tolerate=(GPU,),
        volumes=[volume],
        mounts={"plugins": PLUGIN_FOLDER},
    )
    plugin = workload("DaemonSet", name, pods)
    plugin["metadata"]["namespace"] = "kube-system"  # where the standard `restricted` does not hold
    return plugin
