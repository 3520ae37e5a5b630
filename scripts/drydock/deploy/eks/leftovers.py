"""What a cluster caused in its account outside of Terraform: found by tag and removed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import groupby
from typing import Any

from drydock.deploy.deployments import is_name
from drydock.deploy.eks.caller import AwsError, call, client
from drydock.errors import UsageError

CLUSTER_TAG = "drydock.dev/cluster"
EXPIRES_TAG = "drydock.dev/expires-at"
_NEVER = datetime.min.replace(tzinfo=UTC)
_BALANCER = ":loadbalancer/"
_TARGET_GROUP = ":targetgroup/"
_EKS_OWN = "aws:eks:cluster-name"
_AUTO_MODE_GROUPS = ["ingress.eks.amazonaws.com/resource", "service.eks.amazonaws.com/resource"]
_ENDED = ("terminated", "shutting-down")


@dataclass(frozen=True)
class Leftover:
    """Something that still costs money or is in the way.

    Attributes:
        kind: key of _REMOVERS, in EC2's words, such as `instance`.
        id: its identifier or ARN.
    """

    kind: str
    id: str


def find_leftovers(cluster: str, region: str, vpc: str = "", *, own: bool = False) -> tuple[Leftover, ...]:
    """What has the cluster's tags, in the order in which it can be removed.

    Args:
        cluster: its name.
        region: AWS Region.
        vpc: where the cluster was: what lies in another VPC is a namesake's. "" when that is not known.
        own: only what carries Drydock's own tag, for a cluster whose state is gone.

    Raises:
        AwsError: AWS refused.
    """
    ec2 = client("ec2", region)
    found: dict[Leftover, None] = {}
    tags = {CLUSTER_TAG: [cluster]} if own else _tags(cluster)
    within = _within(vpc)
    for name, values in tags.items():
        filters: list[Mapping[str, Any]] = [{"Name": f"tag:{name}", "Values": values}]
        found |= dict.fromkeys(_simple(ec2, "describe_volumes", "Volumes", "volume", "VolumeId", filters))
        filters = [*filters, *within]
        found |= dict.fromkeys(_instances(ec2, filters))
        found |= dict.fromkeys(
            _simple(ec2, "describe_network_interfaces", "NetworkInterfaces", "interface", "NetworkInterfaceId", filters)
        )
    found |= dict.fromkeys(_load_balancers(cluster, region, tags))
    found |= dict.fromkeys(_free(ec2, cluster, region))
    if not own:
        found |= dict.fromkeys((*_interfaces(ec2, cluster, within), *_security_groups(ec2, cluster, within)))
    order = list(_REMOVERS)
    return tuple(sorted(found, key=lambda each: order.index(each.kind)))


def is_there(cluster: str, region: str) -> bool:
    """Whether the cluster, or a VPC that was made for it, exists."""
    filters = [{"Name": f"tag:{CLUSTER_TAG}", "Values": [cluster]}]
    networks = call(lambda: client("ec2", region).describe_vpcs(Filters=filters))["Vpcs"]
    return bool(networks) or cluster_of(cluster, region) is not None


def check_ours(cluster: str, region: str) -> None:
    """Make sure that an EKS cluster of that name, if there is one, was made by Drydock.

    Raises:
        UsageError: it was not; what looks like its leftovers is in use.
        AwsError: AWS refused.
    """
    found = cluster_of(cluster, region)
    if found is not None and found.get("tags", {}).get(CLUSTER_TAG) != cluster:
        raise UsageError(
            f"there is an EKS cluster {cluster} in {region} that Drydock did not make: it has no tag {CLUSTER_TAG}",
            remedy="Give another --name; nothing of that cluster is touched.",
        )


def find_caused(cluster: str, region: str, vpc: str = "") -> tuple[Leftover, ...]:
    """What keeps Terraform's resources from going: instances, load balancers, interfaces, security groups."""
    ec2, within = client("ec2", region), _within(vpc)
    filters = [
        {"Name": f"tag:kubernetes.io/cluster/{cluster}", "Values": ["owned"]},
        {"Name": "tag-key", "Values": ["karpenter.sh/nodepool"]},
        *within,
    ]
    balancers = dict.fromkeys(_load_balancers(cluster, region, _tags(cluster)))
    left = (*_interfaces(ec2, cluster, within), *_security_groups(ec2, cluster, within))
    return *_instances(ec2, filters), *balancers, *left


def stop_karpenter(cluster: str, region: str) -> None:
    """Take the rights from Karpenter's role, or it replaces the instances that are ended; Terraform removes the role.

    Raises:
        AwsError: AWS refused.
    """
    iam = client("iam", region)
    try:
        call(lambda: iam.delete_role_policy(RoleName=f"{cluster}-karpenter", PolicyName="karpenter"))
    except AwsError as error:
        if "NoSuchEntity" not in error.message:
            raise


def remove_leftovers(leftovers: Sequence[Leftover], region: str) -> tuple[str, ...]:
    """Remove them, instances first, side by side and to their end; gives what could not be removed, and why."""
    ec2 = client("ec2", region)
    kept: list[str] = []

    def tried(what: str, remove: Callable[[], Any]) -> bool:
        try:
            call(remove)
        except AwsError as error:
            if "NotFound" not in error.message:  # it went with what it belonged to
                kept.append(f"{what}: {error.message}")
            return False
        return True

    for kind, of_kind in groupby(leftovers, key=lambda each: each.kind):
        remover = _REMOVERS[kind]
        asked = [
            resource.id for resource in of_kind if tried(f"{kind} {resource.id}", partial(remover, region, resource.id))
        ]
        if kind == "instance" and asked:
            ended = ec2.get_waiter("instance_terminated")
            tried(f"instances {', '.join(asked)}", partial(ended.wait, InstanceIds=asked))
    return tuple(kept)


def dated_clusters(region: str) -> tuple[Mapping[str, str], ...]:
    """Tags of each cluster of which there is anything, with the latest time in the tags of its resources.

    The cluster and its VPC carry a time, which each deployment renews. Where both are gone what they left has none, and
    the time is "". AWS shows tags of some resources for a while after those are gone.

    Raises:
        AwsError: AWS refused.
    """
    api = client("resourcegroupstaggingapi", region)
    clusters: dict[str, Mapping[str, str]] = {}
    for resource in _tagged(api, TagFilters=[{"Key": CLUSTER_TAG}]):
        tags = {tag["Key"]: tag["Value"] for tag in resource["Tags"]}
        known = clusters.get(tags[CLUSTER_TAG], {})
        if ":kms:" not in resource["ResourceARN"]:  # keys are only ever scheduled
            times = (tags.get(EXPIRES_TAG, ""), known.get(EXPIRES_TAG, ""))
            latest = max(times, key=lambda text: expiry(text) or _NEVER)
            clusters[tags[CLUSTER_TAG]] = {**known, **tags, EXPIRES_TAG: latest or max(times)}
    return tuple(
        tags
        for name, tags in clusters.items()
        if not is_name(name) or is_there(name, region) or find_leftovers(name, region)
    )


def expiry(text: str) -> datetime | None:
    """The time in a tag; none when it cannot be read."""
    try:
        expires = datetime.fromisoformat(text)
    except ValueError:
        return None
    return expires if expires.tzinfo else expires.replace(tzinfo=UTC)


def cluster_of(cluster: str, region: str) -> Mapping[str, Any] | None:
    """What EKS says of a cluster; None when no cluster has that name.

    Raises:
        AwsError: AWS refused.
    """
    eks = client("eks", region)
    try:
        found: Mapping[str, Any] = call(lambda: eks.describe_cluster(name=cluster))["cluster"]
    except AwsError as error:
        if "ResourceNotFoundException" in error.message:
            return None
        raise
    return found


def _tags(cluster: str) -> Mapping[str, list[str]]:
    return {
        CLUSTER_TAG: [cluster],
        f"kubernetes.io/cluster/{cluster}": ["owned"],
        "karpenter.sh/discovery": [cluster],
        "eks:eks-cluster-name": [cluster],
    }


def _instances(ec2: Any, filters: Sequence[Mapping[str, Any]]) -> Iterator[Leftover]:
    pages = _pages(ec2, "describe_instances", Filters=filters)
    for listed in (one for page in pages for group in page["Reservations"] for one in group["Instances"]):
        if listed["State"]["Name"] not in _ENDED:
            yield Leftover("instance", listed["InstanceId"])


def _simple(
    ec2: Any, verb: str, listed: str, kind: str, key: str, filters: Sequence[Mapping[str, Any]]
) -> Iterator[Leftover]:
    pages = _pages(ec2, verb, Filters=filters)
    yield from (Leftover(kind, entry[key]) for page in pages for entry in page[listed])


def _load_balancers(cluster: str, region: str, tags: Mapping[str, Sequence[str]]) -> Iterator[Leftover]:
    """Of every generation: AWS's own controller makes classic ones for a Service of type LoadBalancer."""
    if len(tags) > 1:
        tags = {**tags, "elbv2.k8s.aws/cluster": [cluster]}
    api = client("resourcegroupstaggingapi", region)
    for name, values in tags.items():
        for resource in _tagged(api, TagFilters=[{"Key": name, "Values": values}]):
            if _BALANCER in resource["ResourceARN"]:
                yield Leftover("load balancer", resource["ResourceARN"])


def _free(ec2: Any, cluster: str, region: str) -> Iterator[Leftover]:
    """What costs nothing and counts towards quotas, where the release was never uninstalled.

    The AWS Load Balancer Controller and Karpenter remove it by finalizers. Only with Drydock's own tag: a self-managed
    cluster of the same name has such things too.
    """
    api = client("resourcegroupstaggingapi", region)
    ours = {"Key": CLUSTER_TAG, "Value": cluster}
    for item in _tagged(api, TagFilters=[{"Key": CLUSTER_TAG, "Values": [cluster]}]):
        if _TARGET_GROUP in item["ResourceARN"]:
            yield Leftover("target group", item["ResourceARN"])
    filters = [
        {"Name": f"tag:{CLUSTER_TAG}", "Values": [cluster]},
        {"Name": "tag:karpenter.k8s.aws/cluster", "Values": [cluster]},
    ]
    yield from _simple(
        ec2, "describe_launch_templates", "LaunchTemplates", "launch template", "LaunchTemplateId", filters
    )
    iam = client("iam", region)
    for page in _pages(iam, "list_instance_profiles", PathPrefix=f"/karpenter/{region}/{cluster}/"):
        for profile in page["InstanceProfiles"]:
            name = profile["InstanceProfileName"]
            known = call(partial(iam.get_instance_profile, InstanceProfileName=name))["InstanceProfile"]
            if ours in known.get("Tags", ()):
                yield Leftover("instance profile", name)


def _within(vpc: str) -> list[Mapping[str, Any]]:
    return [{"Name": "vpc-id", "Values": [vpc]}] if vpc else []


def _interfaces(ec2: Any, cluster: str, within: Sequence[Mapping[str, Any]]) -> Iterator[Leftover]:
    """Interfaces of pods whose node has ended before the VPC CNI could remove them, by the CNI's own tag."""
    filters = [
        {"Name": "tag:cluster.k8s.amazonaws.com/name", "Values": [cluster]},
        {"Name": "status", "Values": ["available"]},
        *within,
    ]
    yield from _simple(
        ec2, "describe_network_interfaces", "NetworkInterfaces", "interface", "NetworkInterfaceId", filters
    )


def _security_groups(ec2: Any, cluster: str, within: Sequence[Mapping[str, Any]]) -> Iterator[Leftover]:
    """Those of load balancers, of Auto Mode's too; that of the cluster goes with it."""
    owned = [
        [{"Name": f"tag:kubernetes.io/cluster/{cluster}", "Values": ["owned"]}],
        [{"Name": "tag:elbv2.k8s.aws/cluster", "Values": [cluster]}],
        [{"Name": "tag:eks:eks-cluster-name", "Values": [cluster]}, {"Name": "tag-key", "Values": _AUTO_MODE_GROUPS}],
    ]
    for filters in owned:
        for page in _pages(ec2, "describe_security_groups", Filters=[*filters, *within]):
            for group in page["SecurityGroups"]:
                if _EKS_OWN not in {tag["Key"] for tag in group["Tags"]}:
                    yield Leftover("security group", group["GroupId"])


def _tagged(api: Any, **query: Any) -> Iterator[Mapping[str, Any]]:
    yield from (mapping for page in _pages(api, "get_resources", **query) for mapping in page["ResourceTagMappingList"])


def _pages(api: Any, verb: str, **query: Any) -> Sequence[Mapping[str, Any]]:
    return call(lambda: list(api.get_paginator(verb).paginate(**query)))


def _remove_balancer(region: str, arn: str) -> None:
    name = arn.partition(_BALANCER)[2]
    if "/" in name:
        client("elbv2", region).delete_load_balancer(LoadBalancerArn=arn)
    else:
        client("elb", region).delete_load_balancer(LoadBalancerName=name)


def _remove_profile(region: str, name: str) -> None:
    iam = client("iam", region)
    for role in iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]["Roles"]:
        iam.remove_role_from_instance_profile(InstanceProfileName=name, RoleName=role["RoleName"])
    iam.delete_instance_profile(InstanceProfileName=name)


_REMOVERS: Mapping[str, Callable[[str, str], Any]] = {
    "instance": lambda region, identity: client("ec2", region).terminate_instances(InstanceIds=[identity]),
    "load balancer": _remove_balancer,
    "target group": lambda region, arn: client("elbv2", region).delete_target_group(TargetGroupArn=arn),
    "launch template": lambda region, identity: client("ec2", region).delete_launch_template(LaunchTemplateId=identity),
    "instance profile": _remove_profile,
    "volume": lambda region, identity: client("ec2", region).delete_volume(VolumeId=identity),
    "interface": lambda region, identity: client("ec2", region).delete_network_interface(NetworkInterfaceId=identity),
    "security group": lambda region, identity: client("ec2", region).delete_security_group(GroupId=identity),
}
