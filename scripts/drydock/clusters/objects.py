"""What is read off Kubernetes objects in many places."""

from collections.abc import Mapping
from typing import Any

Content = Mapping[str, Any]

BACK_OFF = "CrashLoopBackOff"
_MIGRATED = {"kubernetes.io/aws-ebs": "ebs.csi.aws.com"}
"""Provisioners that Kubernetes once had built in, with the driver that does their work."""


def condition(content: Content, kind: str) -> Content:
    """The status condition of a kind; empty when the object has none such."""
    found = (content.get("status") or {}).get("conditions") or []
    return next((each for each in found if each["type"] == kind), {})


def is_true(content: Content, kind: str) -> bool:
    """Whether a status condition is True."""
    return condition(content, kind).get("status") == "True"


def labels_of(content: Content) -> Mapping[str, str]:
    """Labels of an object, which may have none."""
    return content["metadata"].get("labels") or {}


def full_name(content: Content) -> str:
    """`namespace/name`, or the name of an object without a namespace."""
    metadata = content["metadata"]
    return "/".join(part for part in (metadata.get("namespace"), metadata["name"]) if part)


def is_daemon(pod: Content) -> bool:
    """Whether a DaemonSet controls the pod."""
    owners = pod["metadata"].get("ownerReferences") or ()
    return any(owner["kind"] == "DaemonSet" and owner.get("controller") for owner in owners)


def is_served(content: Mapping[str, Any]) -> bool:
    """Whether a Service or Ingress has an address, or asks for none."""
    if content["kind"] == "Service" and content["spec"].get("type") != "LoadBalancer":
        return True
    return bool(((content.get("status") or {}).get("loadBalancer") or {}).get("ingress"))


def is_done(kind: str, workload: Mapping[str, Any]) -> bool:
    """Whether every replica that a workload asks for is ready in its latest form, or a Job is over."""
    spec, status = workload["spec"], workload.get("status") or {}
    if kind == "Job":
        return is_true(workload, "Complete") or bool(spec.get("suspend"))
    if status.get("observedGeneration", 0) < workload["metadata"].get("generation", 0):
        return False
    if kind == "DaemonSet":
        wanted = status.get("desiredNumberScheduled", 0)
        return bool(wanted == status.get("numberReady", 0) == status.get("updatedNumberScheduled", 0))
    wanted = spec.get("replicas", 1)
    ready = status.get("availableReplicas" if kind == "Deployment" else "readyReplicas", 0)
    return bool(wanted == ready == status.get("updatedReplicas", 0) == status.get("replicas", 0))


def driver_of(provisioner: str) -> str:
    """The CSI driver that makes volumes for a provisioner."""
    return _MIGRATED.get(provisioner, provisioner)
