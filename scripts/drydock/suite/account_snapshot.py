"""What an environment depends on in its AWS account and cluster, as `drydock account` read it."""

import datetime
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from drydock.documents import load_yaml
from drydock.errors import UsageError

OLD = datetime.timedelta(days=7)


@dataclass(frozen=True)
class Subnet:
    """A subnet that a node class selects: its zone, free addresses and tags."""

    zone: str
    free_addresses: int
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reservation:
    """A capacity reservation or Capacity Block: as EC2 has it, with the instances that are left and ISO dates."""

    instance_type: str
    zone: str
    total: int
    available: int
    kind: str
    state: str
    start: str = ""
    end: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class QuotaUse:
    """vCPUs that a quota allows, and what instances outside of the environment's cluster use of it."""

    limit: int
    used: int


@dataclass(frozen=True)
class ControlPlane:
    """The EKS cluster of the environment's name: Kubernetes minor, status, and versions of add-ons by name."""

    kubernetes: str
    status: str
    addons: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ClusterContents:
    """What the API server of the cluster has.

    Attributes:
        kubernetes: minor version.
        karpenter: version; empty where none runs as a Deployment.
        feature_gates: of Karpenter, by their names in its chart.
        storage_classes: `provisioner`, `default`, `binding` by name.
        drivers: CSI drivers.
        ingress_classes: by name.
        node_pools: that are there already.
        secrets: keys by name of the Secrets that the environment expects and that are there.
    """

    kubernetes: str
    karpenter: str = ""
    feature_gates: Mapping[str, bool] = field(default_factory=dict)
    storage_classes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    drivers: tuple[str, ...] = ()
    ingress_classes: tuple[str, ...] = ()
    node_pools: tuple[str, ...] = ()
    secrets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class AccountSnapshot:
    """An account, and perhaps the cluster in it, on a day.

    Attributes:
        read: ISO time at which it was read.
        account, region: where.
        node_classes: what each selects, by its name.
        reservations: by identifier.
        offerings: zones that offer an instance type, by type, of those that node pools may buy.
        quotas: by code.
        spot_prices: dollars an hour by type and zone, the lowest first.
        control_plane: None when there is no EKS cluster of the name.
        cluster: None without a kubeconfig.
    """

    read: str
    account: str
    region: str
    node_classes: "Mapping[str, NodeClassState]" = field(default_factory=dict)
    reservations: Mapping[str, Reservation] = field(default_factory=dict)
    offerings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    quotas: Mapping[str, QuotaUse] = field(default_factory=dict)
    spot_prices: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    control_plane: ControlPlane | None = None
    cluster: ClusterContents | None = None

    def age(self, now: datetime.datetime) -> datetime.timedelta:
        """How long ago it was read."""
        return now - datetime.datetime.fromisoformat(self.read)

    @property
    def day(self) -> str:
        """Of `read`, for people."""
        return self.read[:10]

    def free_quotas(self) -> dict[str, int]:
        """VCPUs that are left for the environment's nodes, by code."""
        return {code: max(0, each.limit - each.used) for code, each in self.quotas.items()}

    def zones(self) -> tuple[str, ...]:
        """Zones in which node classes have a subnet with free addresses."""
        subnets = (one for each in self.node_classes.values() for one in each.subnets.values())
        return tuple(sorted({each.zone for each in subnets if each.free_addresses > 0}))


@dataclass(frozen=True)
class NodeClassState:
    """What the selectors of a node class find.

    Attributes:
        images: AMI by alias, SSM parameter, name or identifier of a selector; empty where there is none.
        subnets: by identifier.
        security_groups: names by identifier.
        role: ARN of the role that it names; empty where there is none.
        instance_profile: likewise.
        names: the role and profile that it names.
    """

    images: Mapping[str, str] = field(default_factory=dict)
    subnets: Mapping[str, Subnet] = field(default_factory=dict)
    security_groups: Mapping[str, str] = field(default_factory=dict)
    role: str = ""
    instance_profile: str = ""
    names: Mapping[str, str] = field(default_factory=dict)


def write_snapshot(file: Path, snapshot: AccountSnapshot) -> None:
    """Write it as YAML."""
    file.parent.mkdir(parents=True, exist_ok=True)
    head = "# Written by `drydock account`; do not edit, run it again. It holds no secrets.\n"
    partial = file.with_name(f"{file.name}.partial")
    partial.write_text(head + yaml.safe_dump(_plain(asdict(snapshot)), sort_keys=False, width=120))
    partial.replace(file)


def read_snapshot(file: Path) -> AccountSnapshot | None:
    """The snapshot of a file; None when there is none.

    Raises:
        UsageError: the file does not hold one.
    """
    if not file.is_file():
        return None
    try:
        content = load_yaml(file.read_text())
        control_plane, cluster = content.pop("control_plane"), content.pop("cluster")
        nested: dict[str, Any] = {
            "node_classes": {name: _node_class(each) for name, each in content.pop("node_classes").items()},
            "reservations": {name: Reservation(**each) for name, each in content.pop("reservations").items()},
            "offerings": {name: tuple(each) for name, each in content.pop("offerings").items()},
            "quotas": {code: QuotaUse(**each) for code, each in content.pop("quotas").items()},
        }
        snapshot = AccountSnapshot(
            **content,
            **nested,
            control_plane=ControlPlane(**control_plane) if control_plane else None,
            cluster=_contents(cluster) if cluster else None,
        )
        _check(snapshot)
    except (yaml.YAMLError, TypeError, AttributeError, KeyError, ValueError) as error:
        raise UsageError(
            f"{file}: not a snapshot of an account: {' '.join(str(error).split())}",
            remedy=f"Run `drydock account {file.stem}` again, or delete the file.",
        ) from error
    return snapshot


def _check(snapshot: AccountSnapshot) -> None:
    """Use what later code computes with, so that a file edited by hand fails here.

    Raises:
        TypeError, ValueError: a number or a time is something else.
    """
    snapshot.age(datetime.datetime.now(datetime.UTC))
    snapshot.free_quotas()
    snapshot.zones()


def _node_class(content: Mapping[str, Any]) -> NodeClassState:
    subnets = {name: Subnet(**each) for name, each in content["subnets"].items()}
    return NodeClassState(**{**content, "subnets": subnets})


def _contents(content: Mapping[str, Any]) -> ClusterContents:
    changed: dict[str, Any] = {key: tuple(content[key]) for key in ("drivers", "ingress_classes", "node_pools")}
    changed["secrets"] = {name: tuple(keys) for name, keys in content["secrets"].items()}
    return ClusterContents(**{**content, **changed})


def _plain(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {key: _plain(value) for key, value in node.items()}
    return [_plain(each) for each in node] if isinstance(node, tuple | list) else node
