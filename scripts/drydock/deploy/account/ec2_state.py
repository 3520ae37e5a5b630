"""EC2's part of a snapshot: images, subnets, security groups, reservations, instances."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from drydock.deploy.eks.caller import AwsError, call, client
from drydock.suite.account_snapshot import Reservation, Subnet

Terms = Sequence[Mapping[str, Any]]


def images(region: str, terms: Terms, kubernetes: str) -> dict[str, str]:
    """AMIs by the words of each term of `amiSelectorTerms`; empty where there is none.

    Of an alias it is the standard image for x86_64, by the parameters of SSM that Karpenter reads
    (karpenter-provider-aws v1.14, pkg/providers/amifamily/al2023.go and bottlerocket.go).
    """
    found = {}
    for term in terms:
        if "alias" in term:
            found[str(term["alias"])] = _parameter(region, alias_parameter(str(term["alias"]), kubernetes))
        elif "ssmParameter" in term:
            found[str(term["ssmParameter"])] = _parameter(region, str(term["ssmParameter"]))
        else:
            label = str(term.get("id") or term.get("name") or sorted((term.get("tags") or {}).items()))
            found[label] = _described_image(region, term)
    return found


def alias_parameter(alias: str, kubernetes: str) -> str:
    """The parameter of SSM behind an alias; empty for a family of which it is not known."""
    family, _, version = alias.partition("@")
    if family == "al2023":
        folder = f"/aws/service/eks/optimized-ami/{kubernetes}/amazon-linux-2023/x86_64/standard"
        name = f"amazon-eks-node-al2023-x86_64-standard-{kubernetes}-{version}"
        return f"{folder}/{'recommended' if version == 'latest' else name}/image_id"
    if family == "bottlerocket":
        return f"/aws/service/bottlerocket/aws-k8s-{kubernetes}/x86_64/{version.lstrip('v')}/image_id"
    return ""


def _parameter(region: str, name: str) -> str:
    if not name:
        return ""
    ssm = client("ssm", region)
    try:
        return str(call(lambda: ssm.get_parameter(Name=name))["Parameter"]["Value"])
    except AwsError as error:
        if "ParameterNotFound" in error.message:
            return ""
        raise


def _described_image(region: str, term: Mapping[str, Any]) -> str:
    """The newest image that is available; of a stranger only by owner or identifier.

    Source: karpenter-provider-aws v1.14, pkg/providers/amifamily/ami.go and types.go.
    """
    query: dict[str, Any] = {"Filters": _tag_filters(term), "Owners": ["self", "amazon"]}
    if term.get("id"):
        query = {"ImageIds": [term["id"]], "Filters": []}
    elif term.get("name"):
        query["Filters"].append({"Name": "name", "Values": [term["name"]]})
    if term.get("owner"):
        query["Owners"] = [str(term["owner"])]
    query["Filters"].append({"Name": "state", "Values": ["available"]})
    ec2 = client("ec2", region)
    try:
        found = call(lambda: ec2.describe_images(**query))["Images"]
    except AwsError as error:
        if "NotFound" in error.message:
            return ""
        raise
    newest = max(found, key=lambda image: str(image.get("CreationDate", "")), default=None)
    return str(newest["ImageId"]) if newest else ""


def subnets(region: str, terms: Terms) -> dict[str, Subnet]:
    """What `subnetSelectorTerms` select, by identifier."""
    return {
        subnet["SubnetId"]: Subnet(subnet["AvailabilityZone"], int(subnet["AvailableIpAddressCount"]), _tags(subnet))
        for subnet in _selected(region, terms, "describe_subnets", "Subnets", "subnet-id")
    }


def security_groups(region: str, terms: Terms) -> dict[str, str]:
    """Names by identifier of what `securityGroupSelectorTerms` select."""
    return {
        group["GroupId"]: str(group["GroupName"])
        for group in _selected(region, terms, "describe_security_groups", "SecurityGroups", "group-id")
    }


def _selected(region: str, terms: Terms, verb: str, listed: str, identifier: str) -> Iterator[Mapping[str, Any]]:
    ec2 = client("ec2", region)
    for term in terms:
        filters = _tag_filters(term)
        if term.get("id"):
            filters.append({"Name": identifier, "Values": [term["id"]]})
        if term.get("name"):
            filters.append({"Name": "group-name", "Values": [term["name"]]})
        yield from (item for page in _pages(ec2, verb, Filters=filters) for item in page[listed])


def offerings(region: str, zones: Sequence[str]) -> dict[str, dict[str, tuple[str, ...]]]:
    """Sizes by family of the instance types that each zone offers."""
    ec2 = client("ec2", region)
    filters = [{"Name": "location", "Values": list(zones)}]
    pages = _pages(ec2, "describe_instance_type_offerings", LocationType="availability-zone", Filters=filters)
    found: dict[str, dict[str, list[str]]] = {zone: {} for zone in sorted(zones)}
    for offering in (offering for page in pages for offering in page["InstanceTypeOfferings"]):
        family, _, size = str(offering["InstanceType"]).partition(".")
        found[offering["Location"]].setdefault(family, []).append(size)
    return {
        zone: {family: tuple(sorted(sizes)) for family, sizes in sorted(families.items())}
        for zone, families in found.items()
    }


def reservations(region: str) -> dict[str, Reservation]:
    """Capacity reservations and Capacity Blocks that the account owns or is given, gone ones apart."""
    ec2 = client("ec2", region)
    found = _pages(ec2, "describe_capacity_reservations")
    return {
        reservation["CapacityReservationId"]: Reservation(
            instance_type=reservation["InstanceType"],
            zone=reservation["AvailabilityZone"],
            total=int(reservation["TotalInstanceCount"]),
            available=int(reservation["AvailableInstanceCount"]),
            kind=reservation.get("ReservationType", "default"),
            state=reservation["State"],
            owner=str(reservation.get("OwnerId", "")),
            start=_time(reservation.get("StartDate")),
            end=_time(reservation.get("EndDate")),
            tags=_tags(reservation),
        )
        for page in found
        for reservation in page["CapacityReservations"]
        if reservation["State"] not in ("cancelled", "failed")
    }


def running(region: str) -> Iterator[tuple[str, str, Mapping[str, str]]]:
    """Instance type, capacity type (`on-demand`, `spot` or `reserved`) and tags of every instance that runs."""
    ec2 = client("ec2", region)
    filters = [{"Name": "instance-state-name", "Values": ["pending", "running"]}]
    pages = _pages(ec2, "describe_instances", Filters=filters)
    for instance in (instance for page in pages for group in page["Reservations"] for instance in group["Instances"]):
        market = "reserved" if instance.get("CapacityReservationId") else instance.get("InstanceLifecycle", "on-demand")
        yield instance["InstanceType"], str(market), _tags(instance)


def _pages(api: Any, verb: str, **query: Any) -> Sequence[Mapping[str, Any]]:
    return call(lambda: list(api.get_paginator(verb).paginate(**query)))


def _tag_filters(term: Mapping[str, Any]) -> list[dict[str, Any]]:
    tags = (term.get("tags") or {}).items()
    return [
        {"Name": "tag-key", "Values": [key]} if value == "*" else {"Name": f"tag:{key}", "Values": [value]}
        for key, value in tags
    ]


def _tags(content: Mapping[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in content.get("Tags") or ()}


def _time(value: Any) -> str:
    return value.isoformat() if value else ""
