"""How long a container with an accelerator takes on EC2 from nothing to readiness: node, image, and its own start."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

NODE_SECONDS = 180
"""From nothing to a node that pulls: EC2's launch, boot and joining the cluster (an assumption on the safe side)."""
PULL_BYTES_PER_SECOND = 125 * 1024**2
"""Pulling and unpacking on a gp3 volume at its default 125 MiB/s of throughput."""


@dataclass(frozen=True)
class ColdStart:
    """Seconds of each part.

    Attributes:
        node: until the node pulls.
        pull: until the image is there, None for an image whose size is not known (data/images.yaml).
        startup: the longest that its probes allow, None where none can end it.
    """

    node: int
    pull: int | None
    startup: int | None

    @property
    def seconds(self) -> int:
        """The parts that are known, together."""
        return self.node + (self.pull or 0) + (self.startup or 0)


def cold_start(container: Mapping[str, Any]) -> ColdStart:
    """Of a container of a pod's spec."""
    from drydock.engines.image_facts import load_image_facts
    from drydock.scheduling.instance_types.quantity import GIB

    facts = load_image_facts().of(str(container.get("image", "")))
    pull = round(facts.unpacked * GIB / PULL_BYTES_PER_SECOND) if facts else None
    return ColdStart(NODE_SECONDS, pull, seconds_allowed(container))


def seconds_allowed(container: Mapping[str, Any]) -> int | None:
    """Seconds until the first probe that can kill the container does; None when none can."""
    probe = container.get("startupProbe") or container.get("livenessProbe")
    if not probe:
        return None
    period, threshold = int(probe.get("periodSeconds") or 10), int(probe.get("failureThreshold") or 3)
    return int(probe.get("initialDelaySeconds") or 0) + period * threshold
