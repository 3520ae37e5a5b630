"""Probes must leave an engine time to load its model (pain 2)."""

from collections.abc import Iterator, Mapping
from typing import Any

from drydock.checks.findings import Finding
from drydock.checks.subject import Subject
from drydock.engines.cold_start import cold_start, seconds_allowed
from drydock.scheduling.pods import PodUse, container_requests, is_extended

STARTUP = "startup-probe"
DEADLINE = "progress-deadline"
PAIN = 2

_LEAST_SECONDS = 300
"""Loading weights and compiling takes an engine on an accelerator minutes; less than this is certainly too little."""


def check(subject: Subject) -> Iterator[Finding]:
    """Containers with accelerators that a liveness probe kills while they load, or that a Deployment gives up on."""
    for pod in subject.pods:
        for container in pod.spec.get("containers") or ():
            if not pod.is_daemon and any(is_extended(name) for name in container_requests(container)):
                yield from _startup(subject, pod, container)
                yield from _deadline(subject, pod, container)


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
    if pod.manifest.kind != "Deployment" or not container.get("startupProbe"):
        return
    start = cold_start(container)
    allowed = int((pod.manifest.content.get("spec") or {}).get("progressDeadlineSeconds") or 600)
    if allowed < start.seconds:
        yield subject.finding(
            DEADLINE,
            pod.manifest,
            f"The Deployment counts as failed after {allowed} s, but a new node (about {start.node} s), the "
            f"image (about {start.pull or 0} s) and the startup probe ({start.startup} s) may take {start.seconds} s.",
            f"Set progressDeadlineSeconds to {start.seconds} or more.",
            path="spec.progressDeadlineSeconds",
            pain=12,
        )
