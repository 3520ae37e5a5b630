"""What a cluster caused in its account outside of Terraform: found by tag and removed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from drydock.deploy.eks.account import AwsError, call, client

CLUSTER_TAG = "drydock.dev/cluster"
EXPIRES_TAG = "drydock.dev/expires-at"
_ENDED = ("terminated", "shutting-down")


@dataclass(frozen=True)
class Leftover:
    """Something that still costs money or is in the way.

    Attributes:
        kind: in EC2's words, such as `instance`.
        id: its identifier or ARN.
    """

    kind: str
    id: str


def find_leftovers(cluster: str, region: str) -> tuple[Leftover, ...]:
    """Instances, load balancers, volumes and network interfaces with the cluster's tags, in the order of removal.

    Raises:
        AwsError: AWS refused.
    """
    ec2 = client("ec2", region)
    found: dict[Leftover, None] = {}
    for name, values in _tags(cluster).items():
        filters = [{"Name": f"tag:{name}", "Values": values}]
        found |= dict.fromkeys(_instances(ec2, filters))
        found |= dict.fromkeys(_simple(ec2, "describe_volumes", "Volumes", "volume", "VolumeId", filters))
        found |= dict.fromkeys(
            _simple(ec2, "describe_network_interfaces", "NetworkInterfaces", "interface", "NetworkInterfaceId", filters)
        )
    found |= dict.fromkeys(_load_balancers(cluster, region))
    order = list(_REMOVERS)
    return tuple(sorted(found, key=lambda each: order.index(each.kind)))


def is_there(cluster: str, region: str) -> bool:
    """Whether the cluster, or a VPC that was made for it, exists."""
    clusters = call(lambda: client("eks", region).list_clusters())["clusters"]
    filters = [{"Name": f"tag:{CLUSTER_TAG}", "Values": [cluster]}]
    networks = call(lambda: client("ec2", region).describe_vpcs(Filters=filters))["Vpcs"]
    return cluster in clusters or bool(networks)


def find_caused(cluster: str, region: str) -> tuple[Leftover, ...]:
    """What runs beside Terraform's resources and keeps them from going: Karpenter's instances, and load balancers."""
    filters = [
        {"Name": f"tag:kubernetes.io/cluster/{cluster}", "Values": ["owned"]},
        {"Name": "tag-key", "Values": ["karpenter.sh/nodepool"]},
    ]
    return *_instances(client("ec2", region), filters), *dict.fromkeys(_load_balancers(cluster, region))


def remove_leftovers(leftovers: Sequence[Leftover], region: str) -> tuple[str, ...]:
    """Remove them, instances first and to their end; gives what could not be removed, and why."""
    ec2, balancers = client("ec2", region), client("elbv2", region)
    kept = []
    for each in leftovers:
        remover = _REMOVERS[each.kind]

        def remove(identity: str = each.id, remover: Callable[[Any, Any, str], None] = remover) -> None:
            remover(ec2, balancers, identity)

        try:
            call(remove)
        except AwsError as error:
            if "NotFound" not in error.message:  # it went with what it belonged to
                kept.append(f"{each.kind} {each.id}: {error.message}")
    return tuple(kept)


def expired_clusters(region: str, when: datetime) -> tuple[Mapping[str, str], ...]:
    """Tags of each cluster that is past the time in its tag, and of which there is anything.

    AWS tells tags of some resources for a while after those are gone.

    Raises:
        AwsError: AWS refused.
    """
    api = client("resourcegroupstaggingapi", region)
    clusters: dict[str, Mapping[str, str]] = {}
    for each in _tagged(api, TagFilters=[{"Key": EXPIRES_TAG}, {"Key": CLUSTER_TAG}]):
        tags = {tag["Key"]: tag["Value"] for tag in each["Tags"]}
        if ":kms:" not in each["ResourceARN"] and _is_past(tags[EXPIRES_TAG], when):  # keys are only ever scheduled
            clusters[tags[CLUSTER_TAG]] = {**clusters.get(tags[CLUSTER_TAG], {}), **tags}
    return tuple(tags for name, tags in clusters.items() if is_there(name, region) or find_leftovers(name, region))


def _is_past(text: str, when: datetime) -> bool:
    try:
        expires = datetime.fromisoformat(text)
    except ValueError:
        return False
    return (expires if expires.tzinfo else expires.replace(tzinfo=UTC)) < when


def _tags(cluster: str) -> Mapping[str, list[str]]:
    return {
        CLUSTER_TAG: [cluster],
        f"kubernetes.io/cluster/{cluster}": ["owned"],
        "karpenter.sh/discovery": [cluster],
    }


def _instances(ec2: Any, filters: Sequence[Mapping[str, Any]]) -> Iterator[Leftover]:
    pages = call(lambda: list(ec2.get_paginator("describe_instances").paginate(Filters=filters)))
    for each in (one for page in pages for group in page["Reservations"] for one in group["Instances"]):
        if each["State"]["Name"] not in _ENDED:
            yield Leftover("instance", each["InstanceId"])


def _simple(
    ec2: Any, verb: str, listed: str, kind: str, key: str, filters: Sequence[Mapping[str, Any]]
) -> Iterator[Leftover]:
    pages = call(lambda: list(ec2.get_paginator(verb).paginate(Filters=filters)))
    yield from (Leftover(kind, each[key]) for page in pages for each in page[listed])


def _load_balancers(cluster: str, region: str) -> Iterator[Leftover]:
    tags = {**_tags(cluster), "elbv2.k8s.aws/cluster": [cluster], "eks:eks-cluster-name": [cluster]}
    api = client("resourcegroupstaggingapi", region)
    for name, values in tags.items():
        filters = [{"Key": name, "Values": values}]
        for each in _tagged(api, TagFilters=filters, ResourceTypeFilters=["elasticloadbalancing:loadbalancer"]):
            yield Leftover("load balancer", each["ResourceARN"])


def _tagged(api: Any, **query: Any) -> Iterator[Mapping[str, Any]]:
    pages = call(lambda: list(api.get_paginator("get_resources").paginate(**query)))
    yield from (each for page in pages for each in page["ResourceTagMappingList"])


def _end_instance(ec2: Any, _balancers: Any, identity: str) -> None:
    ec2.terminate_instances(InstanceIds=[identity])
    ec2.get_waiter("instance_terminated").wait(InstanceIds=[identity])


_REMOVERS: Mapping[str, Callable[[Any, Any, str], None]] = {
    "instance": _end_instance,
    "load balancer": lambda _ec2, balancers, arn: balancers.delete_load_balancer(LoadBalancerArn=arn),
    "volume": lambda ec2, _balancers, identity: ec2.delete_volume(VolumeId=identity),
    "interface": lambda ec2, _balancers, identity: ec2.delete_network_interface(NetworkInterfaceId=identity),
}
