"""Puts an account into Moto's backends: whatever the selectors of its node classes select.

Everything has an identifier made from what it is, so that two rehearsals of an environment see the same account.
"""

import datetime
import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from drydock.errors import ClusterError
from drydock.rehearsal.aws.expected_account import Account
from drydock.rehearsal.credentials import SERVICE_ADDRESSES
from drydock.suite.aws_facts import ami_release

ACCOUNT_ID = "123456789012"
_IMAGES_MADE = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
_ARCHITECTURES = ("x86_64", "arm64")
_TRUST = '{"Version": "2012-10-17", "Statement": []}'
_SUBNETS_IN_NETWORK = 32
_ANY = "drydock"
"""Stands where a selector says `*`."""


def seed(account: Account, kubernetes_version: str) -> None:
    """Add to the account of this process what `account` holds and is not there yet.

    Args:
        account: what must be there.
        kubernetes_version: `1.36`, part of the names of EKS's images.

    Raises:
        ClusterError: Moto does not know the region or a zone.
    """
    from moto.ec2.models import ec2_backends
    from moto.ec2.models.availability_zones_and_regions import RegionsAndZonesBackend

    known = {zone.name for zone in RegionsAndZonesBackend.zones.get(account.region, [])}
    unknown = [zone for zone in account.zones if zone not in known]
    if unknown or not known:
        raise ClusterError(
            f"the stand-in for AWS knows no zone {', '.join(unknown) or '(any)'} in region {account.region}",
            remedy=f"Known there: {', '.join(sorted(known)) or 'none; check the name of the region'}.",
        )
    compute = ec2_backends[ACCOUNT_ID][account.region]
    _seed_cluster(account, kubernetes_version)
    for spec in account.node_classes:
        for term in spec.get("subnetSelectorTerms", []):
            _seed_subnets(compute, account, term)
        for term in spec.get("securityGroupSelectorTerms", []):
            _seed_security_group(compute, term)
        _seed_roles(spec)
        for image in _images(spec, kubernetes_version):
            _seed_image(compute, account, image)


def _digest(*parts: object) -> str:
    return hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()[:17]


def _tags(term: Mapping[str, Any]) -> dict[str, str]:
    return {key: _ANY if value == "*" else value for key, value in term.get("tags", {}).items()}


def _seed_cluster(account: Account, kubernetes_version: str) -> None:
    from moto.eks.models import eks_backends

    backend = eks_backends[ACCOUNT_ID][account.region]
    if account.cluster_name not in backend.clusters:
        backend.create_cluster(
            name=account.cluster_name,
            role_arn=f"arn:aws:iam::{ACCOUNT_ID}:role/{account.cluster_name}-cluster",
            resources_vpc_config={},
            version=kubernetes_version,
            kubernetes_network_config={"serviceIpv4Cidr": SERVICE_ADDRESSES, "ipFamily": "ipv4"},
        )


def _network(compute: Any, number: int = 0) -> Any:
    block = f"10.{number}.0.0/16"
    for network in compute.vpcs.values():
        if network.cidr_block == block:
            return network
    return compute.create_vpc(block)


def _seed_subnets(compute: Any, account: Account, term: Mapping[str, Any]) -> None:
    """One subnet in each zone for a selector by tags; one in all for a selector by identifier."""
    tags = _tags(term)
    if "id" in term:
        zone = account.zones[int(_digest(term["id"]), 16) % len(account.zones)]
        _seed_subnet(compute, term["id"], zone, tags)
        return
    for zone in account.zones:
        _seed_subnet(compute, f"subnet-{_digest(zone, sorted(tags.items()))}", zone, tags)


def _seed_subnet(compute: Any, identifier: str, zone: str, tags: Mapping[str, str]) -> None:
    subnets = compute.subnets[zone]
    if identifier in subnets:
        return
    number = sum(subnet.cidr_block.startswith("10.") for zonal in compute.subnets.values() for subnet in zonal.values())
    network = _network(compute, number // _SUBNETS_IN_NETWORK)
    block = f"10.{number // _SUBNETS_IN_NETWORK}.{number % _SUBNETS_IN_NETWORK * 8}.0/21"
    subnet = compute.create_subnet(network.id, block, availability_zone=zone)
    del subnets[subnet.id]
    subnet.id = identifier
    subnet.add_tags(dict(tags))
    subnets[identifier] = subnet


def _seed_security_group(compute: Any, term: Mapping[str, Any]) -> None:
    network = _network(compute)
    tags = _tags(term)
    identifier = term.get("id") or f"sg-{_digest(term.get('name'), sorted(tags.items()))}"
    groups = compute.groups[network.id]
    if identifier in groups:
        return
    name = term.get("name") or f"nodes-{identifier}"
    group = compute.create_security_group(name.replace("*", _ANY), "nodes", vpc_id=network.id)
    del groups[group.id]
    group.id = group.group_id = identifier
    group.add_tags(tags)
    groups[identifier] = group


def _seed_roles(spec: Mapping[str, Any]) -> None:
    from moto.iam.models import iam_backends

    backend = iam_backends[ACCOUNT_ID]["aws"]
    profile = spec.get("instanceProfile")
    role = str(spec.get("role") or f"{profile}-role").rsplit("/", maxsplit=1)[-1]
    if role not in {iam_role.name for iam_role in backend.get_roles()}:
        backend.create_role(role, _TRUST, "/", None, "nodes", [], None)
    if profile and profile not in backend.instance_profiles:
        backend.create_instance_profile(profile, "/", [role])


def _images(spec: Mapping[str, Any], kubernetes_version: str) -> Iterator[dict[str, Any]]:
    """The images that a node class selects: id, name, architecture, tags and, where one leads there, SSM parameter."""
    for term in spec.get("amiSelectorTerms", []):
        if "alias" in term:
            yield from _alias_images(term["alias"], kubernetes_version)
        elif "id" in term:
            yield {"id": term["id"], "name": term["id"], "architecture": "x86_64"}
        elif "ssmParameter" in term:
            parameter = term["ssmParameter"]
            yield _image(parameter.strip("/").replace("/", "-"), _architecture(parameter) or "x86_64", parameter)
        else:
            yield from _described_images(term)


def _alias_images(alias: str, kubernetes_version: str) -> Iterator[dict[str, Any]]:
    """SSM paths of EKS's and Bottlerocket's images, as their user guides give them."""
    family, _, version = alias.partition("@")
    if family == "al2023" and version != "latest" and ami_release(version, kubernetes_version).missing:
        return
    for architecture in _ARCHITECTURES:
        if family == "al2023":
            for variant in ("standard", "nvidia", "neuron"):
                if (architecture, variant) == ("arm64", "neuron"):
                    continue
                name = f"amazon-eks-node-al2023-{architecture}-{variant}-{kubernetes_version}-{version}"
                last = "recommended" if version == "latest" else name
                folder = f"/aws/service/eks/optimized-ami/{kubernetes_version}/amazon-linux-2023"
                yield _image(name, architecture, f"{folder}/{architecture}/{variant}/{last}/image_id")
        elif family == "bottlerocket":
            for variant in ("", "-nvidia"):
                flavour = f"aws-k8s-{kubernetes_version}{variant}"
                path = f"/aws/service/bottlerocket/{flavour}/{architecture}/{version.lstrip('v')}/image_id"
                yield _image(f"bottlerocket-{flavour}-{architecture}-{version}", architecture, path)


def _described_images(term: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    named = str(term.get("name") or f"image-{_digest(sorted(term.get('tags', {}).items()))}")
    certain = _architecture(named)
    for architecture in [certain] if certain else _ARCHITECTURES:
        name = named.replace("*", architecture if not certain else _ANY)
        yield {**_image(name, architecture, None), "tags": _tags(term), "owner": term.get("owner")}


def _architecture(name: str) -> str | None:
    if re.search(r"arm64|aarch64", name):
        return "arm64"
    return "x86_64" if re.search(r"x86_64|amd64", name) else None


def _image(name: str, architecture: str, parameter: str | None) -> dict[str, Any]:
    return {
        "id": f"ami-{_digest(name, architecture)}",
        "name": name,
        "architecture": architecture,
        "parameter": parameter,
    }


def _seed_image(compute: Any, account: Account, image: Mapping[str, Any]) -> None:
    from moto.ec2.models.amis import Ami

    if image["id"] not in compute.amis:
        owner = image.get("owner")
        compute.amis[image["id"]] = Ami(
            compute,
            image["id"],
            name=image["name"],
            architecture=image["architecture"],
            owner_id=owner if owner and owner.isdigit() else None,
            owner_alias="amazon" if owner in (None, "amazon") else None,
            public=True,
            virtualization_type="hvm",
            creation_date=_IMAGES_MADE,
            region_name=account.zones[0],
            tags=image.get("tags"),
        )
    if image.get("parameter"):
        _seed_parameter(account.region, image["parameter"], image["id"])


def _seed_parameter(region: str, name: str, value: str) -> None:
    """On the backend's own object: its API refuses names under /aws/service."""
    from moto.ssm.models import Parameter, ssm_backends

    parameters = ssm_backends[ACCOUNT_ID][region]._parameters
    if not parameters[name]:
        parameters[name].append(
            Parameter(
                account_id=ACCOUNT_ID,
                name=name,
                value=value,
                parameter_type="String",
                description=None,
                allowed_pattern=None,
                keyid=None,
                last_modified_date=_IMAGES_MADE,
                version=1,
                data_type="text",
            )
        )
