"""What an environment depends on in its AWS account and cluster, as `drydock account` read it."""

import datetime
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from drydock.documents import load_yaml
from drydock.errors import UsageError
from drydock.suite.typed_content import typed

OLD = datetime.timedelta(days=7)
_SELECTORS = (
    "amiSelectorTerms",
    "capacityReservationSelectorTerms",
    "instanceProfile",
    "role",
    "securityGroupSelectorTerms",
    "subnetSelectorTerms",
)
_SKEW = datetime.timedelta(hours=1)
_LAST_MINUTES = datetime.timedelta(minutes=40)
"""Before a Capacity Block's end, in which Karpenter takes it as expiring and buys nothing in it (karpenter-provider-aws
v1.14, pkg/apis/v1/ec2nodeclass_status.go)."""
NODE_ADDRESSES = 16
"""Free addresses that a subnet must have for one more node: with prefix delegation the VPC CNI takes blocks of 16 (EKS
Best Practices Guide, "Prefix Mode for Linux"), and without it a whole interface's at once."""


@dataclass(frozen=True)
class Subnet:
    """A subnet that a node class selects: its zone, free addresses and tags."""

    zone: str
    free_addresses: int
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reservation:
    """A capacity reservation or Capacity Block: as EC2 has it, with the instances that are left and ISO dates.

    `owner` is the account that pays for it and whose quota it counts against. `state` is that of the day on which it
    was read; see `state_now`.
    """

    instance_type: str
    zone: str
    total: int
    available: int
    kind: str
    state: str
    owner: str = ""
    start: str = ""
    end: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse dates without their zone.

        Raises:
            ValueError: `start` or `end` has no time zone.
        """
        for name, text in (("start", self.start), ("end", self.end)):
            if text:
                _moment(name, text)

    @property
    def state_now(self) -> str:
        """`state`, or `expired` since its end has come."""
        last = _LAST_MINUTES if self.kind == "capacity-block" else datetime.timedelta()
        over = self.end and datetime.datetime.now(datetime.UTC) > _moment("end", self.end) - last
        return "expired" if over and self.state == "active" else self.state


@dataclass(frozen=True)
class QuotaUse:
    """vCPUs that a quota allows, and what instances of other clusters and the account's reservations use of it."""

    limit: int
    used: int


@dataclass(frozen=True)
class ControlPlane:
    """The EKS cluster of the environment's name: Kubernetes minor, status, and versions of add-ons by name."""

    kubernetes: str
    status: str
    addons: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """See `_check_minor`."""
        _check_minor(self.kubernetes)


@dataclass(frozen=True)
class ClassOfVolumes:
    """A StorageClass of a cluster: its driver, whether claims without a class get it, and `volumeBindingMode`."""

    provisioner: str
    default: bool
    binding: str


@dataclass(frozen=True)
class ClusterContents:
    """What the API server of the cluster has.

    Attributes:
        kubernetes: minor version.
        karpenter: version; empty where none runs as a Deployment.
        feature_gates: of Karpenter, by their names in its chart.
        storage_classes: by name.
        drivers: CSI drivers.
        ingress_classes: by name.
        node_pools: that are there already.
        secrets: keys by name of the Secrets that the environment expects and that are there.
    """

    kubernetes: str
    karpenter: str = ""
    feature_gates: Mapping[str, bool] = field(default_factory=dict)
    storage_classes: Mapping[str, ClassOfVolumes] = field(default_factory=dict)
    drivers: tuple[str, ...] = ()
    ingress_classes: tuple[str, ...] = ()
    node_pools: tuple[str, ...] = ()
    secrets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """See `_check_minor`."""
        _check_minor(self.kubernetes)


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
        asked: its selectors as they were when they were asked for; see `selectors`.
    """

    images: Mapping[str, str] = field(default_factory=dict)
    subnets: Mapping[str, Subnet] = field(default_factory=dict)
    security_groups: Mapping[str, str] = field(default_factory=dict)
    role: str = ""
    instance_profile: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    asked: Mapping[str, str] = field(default_factory=dict)

    def zones(self) -> frozenset[str]:
        """Zones in which it has a subnet with addresses for a node."""
        return frozenset(subnet.zone for subnet in self.subnets.values() if subnet.free_addresses >= NODE_ADDRESSES)


@dataclass(frozen=True)
class AccountSnapshot:
    """An account, and perhaps the cluster in it, on a day.

    Attributes:
        read: ISO time at which it was read.
        account, region: where.
        node_classes: what each selects, by its name.
        reservations: by identifier.
        quotas: by code.
        offerings: instance types by the zone that offers them: the sizes of each family.
        control_plane: None when there is no EKS cluster of the name.
        cluster: None without a kubeconfig.
    """

    read: str
    account: str
    region: str
    node_classes: Mapping[str, NodeClassState] = field(default_factory=dict)
    reservations: Mapping[str, Reservation] = field(default_factory=dict)
    quotas: Mapping[str, QuotaUse] = field(default_factory=dict)
    offerings: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    control_plane: ControlPlane | None = None
    cluster: ClusterContents | None = None

    def __post_init__(self) -> None:
        """Refuse a time without its zone.

        Raises:
            ValueError: `read` has no time zone.
        """
        _moment("read", self.read)

    @property
    def is_old(self) -> bool:
        """Whether it was read so long ago that much may have changed."""
        return datetime.datetime.now(datetime.UTC) - _moment("read", self.read) > OLD

    @property
    def is_ahead(self) -> bool:
        """Whether it claims to have been read at a time that is still to come, so that it would not get old."""
        return _moment("read", self.read) - datetime.datetime.now(datetime.UTC) > _SKEW

    @property
    def day(self) -> str:
        """Of `read`, for people."""
        return self.read[:10]

    def free_quotas(self) -> dict[str, int]:
        """VCPUs that are left for the environment's nodes, by code."""
        return {code: max(0, quota.limit - quota.used) for code, quota in self.quotas.items()}

    def free_addresses(self) -> dict[str, int]:
        """Free addresses by zone, of all subnets that node classes select."""
        subnets = {name: subnet for state in self.node_classes.values() for name, subnet in state.subnets.items()}
        free: dict[str, int] = {}
        for subnet in subnets.values():
            free[subnet.zone] = free.get(subnet.zone, 0) + subnet.free_addresses
        return free

    def offered_types(self) -> dict[str, frozenset[str]]:
        """Instance types by the zone that offers them."""
        return {
            zone: frozenset(f"{family}.{size}" for family, sizes in families.items() for size in sizes)
            for zone, families in self.offerings.items()
        }

    def zones(self) -> tuple[str, ...]:
        """Zones in which node classes have a subnet with addresses for a node."""
        return tuple(sorted({zone for state in self.node_classes.values() for zone in state.zones()}))


def selectors(spec: Mapping[str, Any]) -> dict[str, str]:
    """What of a node class's spec a snapshot answers, each part as JSON."""
    return {key: json.dumps(spec[key], sort_keys=True) for key in _SELECTORS if spec.get(key)}


def write_snapshot(file: Path, snapshot: AccountSnapshot) -> None:
    """Write it as YAML."""
    file.parent.mkdir(parents=True, exist_ok=True)
    head = "# Written by `drydock account`; do not edit, run it again. It holds no secrets.\n"
    partial = file.with_name(f"{file.name}.partial")
    partial.write_text(head + yaml.safe_dump(to_plain(snapshot), default_flow_style=None, sort_keys=False, width=120))
    partial.replace(file)


def read_snapshot(file: Path) -> AccountSnapshot | None:
    """The snapshot of a file; None when there is none.

    Raises:
        UsageError: the file does not hold one.
    """
    if not file.is_file():
        return None
    try:
        snapshot: AccountSnapshot = typed(AccountSnapshot, load_yaml(file.read_text()))
    except (OSError, yaml.YAMLError, ValueError) as error:
        raise UsageError(
            f"{file}: not a snapshot of an account: {' '.join(str(error).split())}",
            remedy=f"Run `drydock account {file.stem}` again, or delete the file.",
        ) from error
    return snapshot


def _moment(name: str, text: str) -> datetime.datetime:
    """An ISO time with its zone.

    Raises:
        ValueError: it has another form, or no time zone: then the message begins with the name.
    """
    moment = datetime.datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{name}: {text!r} has no time zone")
    return moment


def _check_minor(kubernetes: str) -> None:
    """Refuse text that is not the minor version of a Kubernetes release.

    Raises:
        ValueError: it has another form.
    """
    if not re.fullmatch(r"1\.[0-9]+", kubernetes):
        raise ValueError(f"kubernetes: {kubernetes!r} is not a minor version such as 1.36")


def to_plain(snapshot: AccountSnapshot) -> dict[str, Any]:
    """The snapshot as YAML and JSON have it."""
    return {name: _plain(value) for name, value in asdict(snapshot).items()}


def _plain(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {key: _plain(value) for key, value in node.items()}
    return [_plain(item) for item in node] if isinstance(node, tuple | list) else node
