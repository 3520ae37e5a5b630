"""Warning events that a person would act on."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from drydock.clusters.objects import is_true, labels_of
from drydock.outcome.observe import Scene
from drydock.outcome.obstacles import NUDGE
from drydock.report.model import WarningReport

_POOL = "karpenter.sh/nodepool"
_OVERCOME = (
    "FailedScheduling",
    "FailedCreate",
    "FailedBinding",
    "ProvisioningFailed",
    "TerminationGracePeriodExpiring",
)
"""Reasons that controllers give while something is on its way; reported only if it never came."""
_WITHOUT_METRICS = (
    "FailedGetResourceMetric",
    "FailedGetContainerResourceMetric",
    "FailedGetPodsMetric",
    "FailedGetExternalMetric",
    "FailedGetObjectMetric",
    "FailedComputeMetricsReplicas",
)
"""Autoscalers miss their metrics: there is nothing here that measures. The report's limits say so."""
_ALREADY_EXISTS = re.compile(r'"([^"]+)" already exists')
_CONFLICT = "the object has been modified"
_REPAIRED = ("ClusterIPNotAllocated", "KubernetesDefaultServiceCIDRError")
"""The API server says them while it starts, of Services and of its own address range, and repairs what it says."""


def actionable_warnings(scene: Scene) -> tuple[WarningReport, ...]:
    """One entry for each object, reason and message, the most frequent first.

    Left out: what the end of the rehearsal has overcome (a pod that found its node, a workload that got its pods), what
    a controller tried once too often, and what only a cluster without metrics says.
    """
    counts: Counter[tuple[str, str, str]] = Counter()
    for event in scene.of("Event"):
        if event.get("type") != "Warning" or event.get("reason", "") in _WITHOUT_METRICS or _overcome(scene, event):
            continue
        about = event["involvedObject"]
        subject = "/".join(part for part in (about.get("kind"), about.get("namespace"), about.get("name")) if part)
        counts[subject, event.get("reason", ""), str(event.get("message", "")).strip()] += _times(event)
    return tuple(
        WarningReport(subject, reason, message, count)
        for (subject, reason, message), count in sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    )


def _times(event: Mapping[str, Any]) -> int:
    return int(event.get("count") or (event.get("series") or {}).get("count") or 1)


def _overcome(scene: Scene, event: Mapping[str, Any]) -> bool:
    about = event["involvedObject"]  # without a name where the event is about all of a kind
    kind = about.get("kind", "")
    if about.get("name") == NUDGE or event.get("reason") in _REPAIRED or _looked_too_early(scene, event):
        return True
    if event.get("reason") == "NoCompatibleInstanceTypes":  # also said of a pool whose reservation is full by now
        return any(labels_of(node_claim).get(_POOL) == about.get("name") for node_claim in scene.of("NodeClaim"))
    if event.get("reason", "") not in _OVERCOME:
        return False
    if kind == "Pod":  # the pod's own line in the report says it
        return True
    subject = scene.objects.get(kind, {}).get(about.get("uid", ""))
    return subject is None or any(_signs_of_success(kind, subject))


def _looked_too_early(scene: Scene, event: Mapping[str, Any]) -> bool:
    """Whether a controller, not yet knowing what was done a moment before, tried that again: it looks, and goes on."""
    message, uid = str(event.get("message", "")), event["involvedObject"].get("uid")
    made = _ALREADY_EXISTS.search(message)
    return _CONFLICT in message or (
        made is not None
        and any(
            content["metadata"]["name"] == made[1] and _is_owned_by(content, uid)
            for kind in scene.objects
            for content in scene.of(kind)
        )
    )


def _is_owned_by(content: Mapping[str, Any], uid: str | None) -> bool:
    return any(owner_reference["uid"] == uid for owner_reference in content["metadata"].get("ownerReferences") or ())


def _signs_of_success(kind: str, subject: Mapping[str, Any]) -> Iterator[bool]:
    status = subject.get("status") or {}
    if kind == "PersistentVolumeClaim":
        yield status.get("phase") == "Bound"
    elif kind == "DaemonSet":
        yield status.get("currentNumberScheduled") == status.get("desiredNumberScheduled")
    elif kind == "Job":
        yield is_true(subject, "Complete") or bool(status.get("active"))
    else:
        yield status.get("replicas", 0) >= subject["spec"].get("replicas", 1)
