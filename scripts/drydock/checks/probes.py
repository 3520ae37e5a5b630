"""Probes must leave an engine time to load its model (pain 2)."""

from collections.abc import Iterator, Mapping
from typing import Any

from drydock.checks.scheduling.pods import PodUse, container_requests, is_extended
from drydock.checks.subject import Subject
from drydock.findings import Finding

STARTUP = "startup-probe"
DEADLINE = "progress-deadline"
PAIN = 2

_LEAST_SECONDS = 300
"""Loading weights and compiling takes an engine on an accelerator minutes; less than this is certainly too little."""
NODE_SECONDS = 180
"""From nothing to a node that pulls: EC2's launch, boot and joining the cluster (an assumption on the safe side)."""
PULL_BYTES_PER_SECOND = 125 * 1024**2
"""Pulling and unpacking on a gp3 volume at its default 125 MiB/s of throughput."""


def check(subject: Subject) -> Iterator[Finding]:
    """Containers with accelerators that a liveness probe kills while they load, or that a Deployment gives up on."""
    for pod in subject.pods:
        for container in pod.spec.get("containers") or ():
            if not pod.is_daemon and any(is_extended(name) for name in container_requests(container)):
                yield from _startup(subject, pod, container)
                yield from _deadline(subject, pod, container)


def seconds_allowed(container: Mapping[str, Any]) -> int | None:
    """Seconds until the first probe that can kill the container does; None when none can."""
    probe = container.get("startupProbe") or container.get("livenessProbe")
    if not probe:
        return None
    period, threshold = int(probe.get("periodSeconds") or 10), int(probe.get("failureThreshold") or 3)
    return int(probe.get("initialDelaySeconds") or 0) + period * threshold


def _startup(subject: Subject, pod: PodUse, container: Mapping[str, Any]) -> Iterator[Finding]:
    allowed = seconds_allowed(container)
    if allowed is None or allowed >= _LEAST_SECONDS:
        return
    probe = "startupProbe" if container.get("startupProbe") else "livenessProbe"
    yield subject.finding(
        STARTUP,
        pod.manifest,
        f"The {probe} of container {container['name']} kills it {allowed} s after its start, while the model still "
        "loads.",
        "Give it a startupProbe with failureThreshold x periodSeconds for download, load and compilation.",
        path=f"{pod.path}.containers.{container['name']}.{probe}",
        pain=PAIN,
    )


def _deadline(subject: Subject, pod: PodUse, container: Mapping[str, Any]) -> Iterator[Finding]:
    """A Deployment that is declared failed before its pods can be ready, which `helm --wait` and Argo CD believe."""
    from drydock.checks.images import load_image_facts
    from drydock.instance_types.quantity import GIB

    probe = container.get("startupProbe")
    if pod.manifest.kind != "Deployment" or not probe:
        return
    facts = load_image_facts().of(str(container.get("image", "")))
    pull = round(facts.unpacked * GIB / PULL_BYTES_PER_SECOND) if facts else 0
    needed = (seconds_allowed(container) or 0) + pull + NODE_SECONDS
    allowed = int((pod.manifest.content.get("spec") or {}).get("progressDeadlineSeconds") or 600)
    if allowed < needed:
        yield subject.finding(
            DEADLINE,
            pod.manifest,
            f"The Deployment counts as failed after {allowed} s, but a new node (about {NODE_SECONDS} s), the "
            f"image (about {pull} s) and the startup probe ({seconds_allowed(container)} s) may take {needed} s.",
            f"Set progressDeadlineSeconds to {needed} or more.",
            path="spec.progressDeadlineSeconds",
            pain=12,
        )
