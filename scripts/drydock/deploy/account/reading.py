"""A whole snapshot: each source is asked for what the environment's objects name."""

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from drydock.deploy.account import ec2_state, eks_state, iam_state, quota_state
from drydock.deploy.account.cluster_state import cluster_contents
from drydock.deploy.eks.caller import call, client
from drydock.progress import Progress
from drydock.scheduling.account import account_of, selected_reservations
from drydock.scheduling.instance_types.region import Catalogue, load_catalogue
from drydock.suite.account_snapshot import AccountSnapshot, NodeClassState, Reservation, selectors
from drydock.suite.cluster_description import describe
from drydock.suite.environments import CapacityReservation, Environment
from drydock.suite.manifests import Manifest

_CLASSES = ("EC2NodeClass", "NodeClass")


def read_account(
    environment: Environment,
    manifests: Sequence[Manifest],
    *,
    cluster: str,
    cache_dir: Path,
    progress: Progress,
    kubeconfig: Path | None = None,
) -> AccountSnapshot:
    """Read what an environment depends on; nothing is changed.

    Args:
        environment: names the reservations and Secrets that it expects.
        manifests: its rendered objects.
        cluster: name of its EKS cluster.
        cache_dir: holds the catalogue of instance types.
        progress: shows the steps.
        kubeconfig: of the cluster; without one nothing inside it is read.

    Raises:
        AwsError: AWS refused, or does not answer.
        ClusterError: the API server refused, or does not answer.
    """
    account = account_of(environment, manifests)
    region, catalogue = account.region, load_catalogue(cache_dir, account.region)
    with progress.step("Account"):
        owner = str(call(lambda: client("sts", region).get_caller_identity())["Account"])
        plane = eks_state.control_plane(region, cluster)
    kubernetes = plane.kubernetes if plane else describe(environment).kubernetes
    classes = {manifest.name: manifest.content.get("spec") or {} for manifest in manifests if manifest.kind in _CLASSES}
    with progress.step("EC2, IAM and Service Quotas"):
        states = {name: _node_class(region, spec, kubernetes) for name, spec in sorted(classes.items())}
        zones = sorted({subnet.zone for state in states.values() for subnet in state.subnets.values()})
        offerings = ec2_state.offerings(region, zones) if zones else {}
        held = ec2_state.reservations(region)
        own = [reservation for reservation in held.values() if reservation.owner == owner]
        quotas = quota_state.quotas(region, cluster, ec2_state.running(region), own, _vcpus(catalogue))
    contents = None
    if kubeconfig:
        with progress.step("Cluster"):
            contents = cluster_contents(kubeconfig, environment.namespace, environment.secrets)
    return AccountSnapshot(
        read=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        account=owner,
        region=region,
        node_classes=states,
        reservations=_relevant(held, environment, classes),
        quotas=quotas,
        offerings=offerings,
        control_plane=plane,
        cluster=contents,
    )


def _node_class(region: str, spec: Mapping[str, Any], kubernetes: str) -> NodeClassState:
    role, profile = str(spec.get("role") or ""), str(spec.get("instanceProfile") or "")
    return NodeClassState(
        images=ec2_state.images(region, spec.get("amiSelectorTerms") or (), kubernetes),
        subnets=ec2_state.subnets(region, spec.get("subnetSelectorTerms") or ()),
        security_groups=ec2_state.security_groups(region, spec.get("securityGroupSelectorTerms") or ()),
        role=iam_state.role_arn(region, role),
        instance_profile=iam_state.profile_arn(region, profile),
        names={key: name for key, name in (("role", role), ("instanceProfile", profile)) if name},
        asked=selectors(spec),
    )


def _relevant(
    found: Mapping[str, Reservation], environment: Environment, classes: Mapping[str, Mapping[str, Any]]
) -> dict[str, Reservation]:
    """Those that a node class selects, or that the environment's file names."""
    plain = [
        CapacityReservation(
            name, reservation.instance_type, reservation.zone, reservation.available, reservation.kind, reservation.tags
        )
        for name, reservation in found.items()
    ]
    stated = {reservation.id for reservation in environment.capacity_reservations}
    selected = {
        reservation.id
        for spec in classes.values()
        for term in spec.get("capacityReservationSelectorTerms") or ()
        for reservation in selected_reservations([term], plain)
        if term.get("ownerID", found[reservation.id].owner) == found[reservation.id].owner
    }
    return {name: reservation for name, reservation in sorted(found.items()) if name in stated | selected}


def _vcpus(catalogue: Catalogue) -> dict[str, int]:
    return {name: facts.vcpus for name, facts in catalogue.types.items()}
