"""Disks: space for images and weights (pain 13), and volumes that exist in one zone only (pain 14)."""

from collections.abc import Iterator

from drydock.checks.findings import Finding, Severity
from drydock.checks.subject import Subject
from drydock.engines.image_facts import load_image_facts
from drydock.scheduling.instance_types.labels import ZONE
from drydock.scheduling.instance_types.quantity import GIB, amount, describe
from drydock.scheduling.instance_types.resources import EPHEMERAL_DEVICES
from drydock.scheduling.node_classes import NodeClass
from drydock.scheduling.pods import PodUse
from drydock.scheduling.pools import Pool

SPACE = "ephemeral-storage"
DEVICE = "block-device-name"
ZONAL = "zonal-volume"
SNAPSHOT = "snapshot-initialization"

EBS_PROVISIONERS = ("ebs.csi.aws.com", "ebs.csi.eks.amazonaws.com", "kubernetes.io/aws-ebs")


def check(subject: Subject) -> Iterator[Finding]:
    """Nodes too small for what their pods write, devices of the wrong name, and volumes that tie a pod to a zone."""
    for verdict in subject.verdicts:
        for pool_verdict in verdict.pools:
            if pool_verdict.hosts:
                yield from _space(subject, verdict.pod, pool_verdict.pool, pool_verdict.types)
    for node_class in {id(pool.node_class): pool.node_class for pool in subject.pools}.values():
        if node_class is not None and node_class.manifest is not None and not node_class.is_auto_mode:
            yield from _device_name(subject, node_class)
            yield from _snapshot(subject, node_class)
    yield from _zonal(subject)


def written_by(pod: PodUse) -> int:
    """Bytes that a pod may take of its node's disk: large images, and emptyDir volumes up to their size limits."""
    facts = load_image_facts()
    images = {str(container.get("image", "")) for container in pod.containers}
    known = [found.unpacked for found in map(facts.of, sorted(images)) if found]
    volumes = [volume.get("emptyDir") or {} for volume in pod.spec.get("volumes") or ()]
    sizes = [volume["sizeLimit"] for volume in volumes if volume.get("medium") != "Memory" and volume.get("sizeLimit")]
    return round(sum(known) * GIB) + sum(amount("ephemeral-storage", size) for size in sizes)


def _space(subject: Subject, pod: PodUse, pool: Pool, types: frozenset[str]) -> Iterator[Finding]:
    needed = written_by(pod)
    small = [name for name in types if pool.allocatable(name)["ephemeral-storage"] < needed]
    if not small or not needed:
        return
    smallest = min(sorted(small), key=lambda name: pool.allocatable(name)["ephemeral-storage"])
    room = pool.allocatable(smallest)["ephemeral-storage"]
    some = "" if len(small) == len(types) else f" of {len(small)} of the {len(types)} instance types that may host it"
    yield subject.finding(
        SPACE,
        pod.manifest,
        f"Images and emptyDir volumes of the pod take up to {describe('ephemeral-storage', needed)}, and nodes of pool "
        f"{pool.name}{some} (such as {smallest}) have {describe('ephemeral-storage', room)}: they would run into "
        "DiskPressure and evict it.",
        f"Enlarge the volume of node class {pool.node_class.name if pool.node_class else ''}, or move the weights to a "
        "volume of their own.",
        path=pod.path,
        pain=13,
    )


def _device_name(subject: Subject, node_class: NodeClass) -> Iterator[Finding]:
    family = node_class.settings.ami_family
    expected = EPHEMERAL_DEVICES.get(family)
    devices = node_class.settings.block_devices
    if expected is None or not devices or any(device.get("rootVolume") for device in devices):
        return
    names = [str(device.get("deviceName")) for device in devices]
    if expected not in names and node_class.manifest is not None:
        yield subject.finding(
            DEVICE,
            node_class.manifest,
            f"{family} keeps images and emptyDir volumes on {expected}, and blockDeviceMappings sizes "
            f"{', '.join(names)}: that volume stays at its default of 20 GiB.",
            f"Name the device {expected}.",
            path="spec.blockDeviceMappings",
            pain=13,
        )


def _snapshot(subject: Subject, node_class: NodeClass) -> Iterator[Finding]:
    for position, device in enumerate(node_class.settings.block_devices):
        ebs = device.get("ebs") or {}
        if ebs.get("snapshotID") and not ebs.get("volumeInitializationRate") and node_class.manifest is not None:
            yield subject.finding(
                SNAPSHOT,
                node_class.manifest,
                "The volume is filled from a snapshot as blocks are first read, so images preloaded in it start slower "
                "than pulled ones.",
                "Set volumeInitializationRate (100 to 300 MiB/s) beside snapshotID.",
                path=f"spec.blockDeviceMappings.{position}.ebs",
                pain=12,
                severity=Severity.WARNING,
            )


def _zonal(subject: Subject) -> Iterator[Finding]:
    storage = subject.scheduling.storage
    for pod in subject.pods:
        zones = _zones(subject, pod)
        for name, claim in storage.claims_of(pod):
            modes = claim.get("accessModes") or ()
            storage_class = storage.storage_class(claim)
            if not modes or not {"ReadWriteOnce", "ReadWriteOncePod"}.issuperset(modes):
                continue
            content = storage_class.content if storage_class else {}
            if storage_class and content.get("provisioner") not in EBS_PROVISIONERS:
                continue
            if storage_class and content.get("volumeBindingMode", "Immediate") == "Immediate":
                yield subject.finding(
                    ZONAL,
                    storage_class,
                    f"Volumes of this class are made before their pod is placed, in any zone; {pod.name} then may "
                    "not find its nodes there.",
                    "Set volumeBindingMode: WaitForFirstConsumer.",
                    path="volumeBindingMode",
                    pain=14,
                )
            elif pod.replicas > 1 and pod.manifest.kind != "StatefulSet":
                yield _shared(subject, pod, name)
            elif len(zones) > 1:
                yield _tied(subject, pod, name, zones)


def _zones(subject: Subject, pod: PodUse) -> frozenset[str]:
    verdicts = next((verdict.pools for verdict in subject.verdicts if verdict.pod is pod), ())
    found = frozenset[str]().union(*(verdict.pool.zones for verdict in verdicts if verdict.hosts))
    selected = (pod.spec.get("nodeSelector") or {}).get(ZONE)
    return found & {selected} if selected else found


def _shared(subject: Subject, pod: PodUse, claim: str) -> Finding:
    return subject.finding(
        ZONAL,
        pod.manifest,
        f"{pod.replicas} pods share the claim {claim}, which only one node at a time can mount (ReadWriteOnce).",
        "Use a ReadWriteMany volume (EFS, FSx, S3), or a StatefulSet with a volume for each pod.",
        path=pod.path,
        pain=14,
    )


def _tied(subject: Subject, pod: PodUse, claim: str, zones: frozenset[str]) -> Finding:
    return subject.finding(
        ZONAL,
        pod.manifest,
        f"The claim {claim} ties the pod to the zone of its first node, and its pools span "
        f"{', '.join(sorted(zones))}: when that zone has no capacity, the pod cannot move.",
        f"Pin the pod to one zone with {ZONE}, or keep what it holds in a volume that every zone reaches.",
        path=pod.path,
        pain=14,
        severity=Severity.WARNING,
    )
