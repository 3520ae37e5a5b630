"""What an environment asks of its cluster and the cluster lacks (data/targets.yaml), and facts of AWS against it."""

import datetime
from collections.abc import Iterator, Mapping
from typing import Any

from drydock.checks.findings import Finding, Severity
from drydock.checks.subject import Subject
from drydock.checks.termination import seconds_of
from drydock.suite.aws_facts import ami_release, kubernetes_support
from drydock.suite.cluster_description import ClusterDescription, describe
from drydock.suite.manifests import Manifest

STORAGE = "target-storage"
BALANCERS = "target-load-balancer"
GATES = "target-karpenter-gate"
AMI = "ami-release"
AUTO_MODE = "auto-mode"
SUPPORT = "kubernetes-support"

_NO_PROVISIONER = "kubernetes.io/no-provisioner"
_MIGRATED = {"kubernetes.io/aws-ebs": "ebs.csi.aws.com"}
_AUTO_MODE_GROUP = "eks.amazonaws.com"
_LONGEST = 21 * 24 * 3600
_DEFAULT_GRACE = "24h"
_FOREIGN = ("karpenter.k8s.aws/", "node.kubernetes.io/windows-build")
_RESERVED_TAGS = ("kubernetes.io/cluster/", "karpenter.sh/", "eks.amazonaws.com/", "eks:", "aws:")


def check(subject: Subject) -> Iterator[Finding]:
    """Every object against what the environment's target has."""
    target = describe(subject.rendered.environment)
    made = {
        rendered_object.name: rendered_object.content
        for rendered_object in subject.manifests
        if rendered_object.kind == "StorageClass"
    }
    volumes = {
        rendered_object.content["spec"].get("storageClassName", "")
        for rendered_object in subject.manifests
        if _is_volume(rendered_object)
    }
    for manifest in subject.manifests:
        for path, claim in _claims(manifest.content, ""):
            yield from _storage(subject, target, manifest, path, claim, made, volumes)
        yield from _balancer(subject, target, manifest)
        yield from _gate(subject, target, manifest)
        yield from _ami(subject, target, manifest)
        if target.auto_mode:
            yield from _auto_mode(subject, manifest)
    yield from _support(subject, target)


def _is_volume(manifest: Manifest) -> bool:
    return manifest.kind == "PersistentVolume"


def _claims(node: Any, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Specs of volume claims anywhere in an object, with their path: claims, templates of claims, ephemeral volumes."""
    if isinstance(node, Mapping):
        spec = node.get("spec")
        if isinstance(spec, Mapping) and "accessModes" in spec and "capacity" not in spec:
            yield f"{path}.spec".lstrip("."), spec
        for key, value in node.items():
            yield from _claims(value, f"{path}.{key}")
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from _claims(value, f"{path}[{number}]")


def _storage(
    subject: Subject,
    target: ClusterDescription,
    manifest: Manifest,
    path: str,
    claim: Mapping[str, Any],
    made: Mapping[str, Any],
    volumes: set[str],
) -> Iterator[Finding]:
    name = claim.get("storageClassName")
    if claim.get("volumeName") or name == "" or (name or "") in volumes:
        return
    classes = {class_.name: class_ for class_ in target.storage_classes}
    where = "" if name is None else f"{path}.storageClassName"
    if name is None:
        if target.default_class is None:
            reason = f"The claim names no StorageClass, and {_named(target)} has no default one: it stays Pending."
            yield subject.finding(STORAGE, manifest, reason, _storage_remedy(target, "global.storageClass"), path=path)
        return
    if name in made:
        driver = str(made[name].get("provisioner", ""))
    elif name in classes:
        driver = classes[name].provisioner
    else:
        reason = (
            f"The claim asks for StorageClass {name}, and {_named(target)} has none of that name: it stays Pending."
        )
        yield subject.finding(STORAGE, manifest, reason, _storage_remedy(target, name), path=where, value=name)
        return
    if driver != _NO_PROVISIONER and _MIGRATED.get(driver, driver) not in target.drivers:
        reason = f"Volumes of StorageClass {name} are made by {driver}, a driver that {_named(target)} lacks."
        remedy = f"Add {driver} to cluster.drivers of {subject.rendered.environment.file} once it is installed."
        yield subject.finding(STORAGE, manifest, reason, remedy, path=where, value=name)


def _storage_remedy(target: ClusterDescription, name: str) -> str:
    known = ", ".join(class_.name for class_ in target.storage_classes)
    have = f"Name one of {known}" if known else "Say under cluster.storageClasses what your cluster has"
    if name == "efs" and target.target != "existing":
        return (
            "Set cluster.efs to true in the environment's file: Terraform installs the driver and makes a file system."
        )
    return f"{have}, or add it to cluster.storageClasses in the environment's file."


def _balancer(subject: Subject, target: ClusterDescription, manifest: Manifest) -> Iterator[Finding]:
    spec = manifest.content.get("spec") or {}
    if manifest.kind == "Service" and spec.get("type") == "LoadBalancer":
        key, named, served = "loadBalancerClass", spec.get("loadBalancerClass", ""), target.load_balancer_classes
    elif manifest.kind == "Ingress":
        key, named, served = "ingressClassName", spec.get("ingressClassName", ""), target.ingress_classes
    else:
        return
    if named not in served:
        asked = f"{key} {named}" if named else f"no {key}"
        known = ", ".join(kind or "(none)" for kind in served) or "none"
        reason = f"The {manifest.kind} has {asked}, which nothing on {_named(target)} serves: it gets no address."
        more = "loadBalancerClasses" if manifest.kind == "Service" else "ingressClasses"
        remedy = f"Served there: {known}. Install a controller for it, and name the class under cluster.{more}."
        yield subject.finding(BALANCERS, manifest, reason, remedy, path=f"spec.{key}", value=named or None)


def _gate(subject: Subject, target: ClusterDescription, manifest: Manifest) -> Iterator[Finding]:
    static = manifest.kind == "NodePool" and "replicas" in (manifest.content.get("spec") or {})
    gate = "staticCapacity" if static else "nodeOverlay" if manifest.kind == "NodeOverlay" else ""
    if gate and not target.feature_gates.get(gate):
        title = f"{gate[0].upper()}{gate[1:]}"
        does = "makes no nodes for a pool with replicas" if static else "does not read NodeOverlays"
        yield subject.finding(
            GATES,
            manifest,
            f"Karpenter on {_named(target)} {does}: its feature gate {title} is off.",
            f"Turn settings.featureGates.{gate} of its chart on, and set cluster.featureGates.{gate} to true.",
            path="spec.replicas" if static else "",
        )


def _ami(subject: Subject, target: ClusterDescription, manifest: Manifest) -> Iterator[Finding]:
    if manifest.kind != "EC2NodeClass":
        return
    for number, term in enumerate((manifest.content.get("spec") or {}).get("amiSelectorTerms") or ()):
        family, _, release = str(term.get("alias", "")).partition("@")
        if family != "al2023" or release == "latest":
            continue
        known = ami_release(release, target.kubernetes)
        path = f"spec.amiSelectorTerms[{number}].alias"
        if known.missing:
            reason = f"No node starts: {known.missing}."
            remedy = "Set amiVersion to a release that exists for the cluster's Kubernetes."
            yield subject.finding(AMI, manifest, reason, remedy, path=path, value=release)
        elif known.note:
            remedy = "See that it exists: aws ssm get-parameters-by-path --path /aws/service/eks/optimized-ami."
            reason = f"Whether the AMI exists is not known: {known.note}."
            yield subject.finding(AMI, manifest, reason, remedy, path=path, value=release, severity=Severity.NOTE)


def _auto_mode(subject: Subject, manifest: Manifest) -> Iterator[Finding]:
    """The rules of EKS Auto Mode, as data/auto-mode-admission.yaml has them for an API server."""
    spec = manifest.content.get("spec") or {}
    if manifest.kind == "NodePool":
        found = _pool_in_auto_mode(spec)
    elif manifest.api_version.startswith(f"{_AUTO_MODE_GROUP}/") and manifest.kind == "NodeClass":
        found = _class_in_auto_mode(manifest.name, spec)
    else:
        return
    for path, reason, remedy in found:
        yield subject.finding(AUTO_MODE, manifest, reason, remedy, path=path)


def _pool_in_auto_mode(spec: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    template = (spec.get("template") or {}).get("spec") or {}
    age, grace = (
        str(template.get("expireAfter") or "336h"),
        str(template.get("terminationGracePeriod") or _DEFAULT_GRACE),
    )
    lives, drains = seconds_of(age), seconds_of(grace) or 0
    if lives is None or lives + drains > _LONGEST:
        reason = (
            f"A node lives 21 days (504h) at most in Auto Mode: expireAfter is {age}, terminationGracePeriod {grace}."
        )
        yield "spec.template.spec.expireAfter", reason, "Set expireAfter to 336h, or lower one of them."
    if (template.get("nodeClassRef") or {}).get("group") != _AUTO_MODE_GROUP:
        reason = "Auto Mode knows no node class of Karpenter's AWS provider."
        yield "spec.template.spec.nodeClassRef", reason, "Refer to a NodeClass of eks.amazonaws.com."
    for number, each in enumerate(template.get("requirements") or ()):
        if str(each.get("key", "")).startswith(_FOREIGN):
            path = f"spec.template.spec.requirements[{number}].key"
            yield (
                path,
                f"Auto Mode's nodes have no label {each['key']}.",
                "Use the label eks.amazonaws.com/ of that name.",
            )


def _class_in_auto_mode(name: str, spec: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    if name == "default":
        yield "metadata.name", "Auto Mode has a NodeClass of the name default itself.", "Choose another name."
    for tag in spec.get("tags") or {}:
        if str(tag).startswith(_RESERVED_TAGS):
            yield f"spec.tags.{tag}", f"Auto Mode gives the tag {tag} itself, and refuses it here.", "Leave it out."
    for number, term in enumerate(spec.get("capacityReservationSelectorTerms") or ()):
        if "instanceMatchCriteria" in term:
            path = f"spec.capacityReservationSelectorTerms[{number}].instanceMatchCriteria"
            yield path, "Auto Mode picks reservations by id, or by tags and owner.", "Leave it out."


def _support(subject: Subject, target: ClusterDescription) -> Iterator[Finding]:
    """One finding for the environment, at its first object."""
    if target.target == "existing" or not subject.manifests:
        return
    support = kubernetes_support(target.kubernetes)
    if support is None:
        reason, severity = (
            f"Kubernetes {target.kubernetes} is not among the versions of EKS that are known",
            Severity.NOTE,
        )
    else:
        reason, severity = support.warning(datetime.datetime.now(datetime.UTC).date()), Severity.WARNING
    if reason:
        environment = subject.rendered.environment
        yield Finding(
            environment=environment.name,
            check=SUPPORT,
            reason=f"{reason[0].upper()}{reason[1:]}.",
            remedy="Set cluster.kubernetes in the environment's file to a later version.",
            severity=severity,
            path="cluster.kubernetes",
            file=str(environment.file),
        )


def _named(target: ClusterDescription) -> str:
    return "the cluster" if target.target == "existing" else f"target {target.target}"
