"""NodeOverlays: extended resources that users declare to Karpenter, which instance types do not show."""

from collections.abc import Sequence
from dataclasses import dataclass

from drydock.scheduling.instance_types.quantity import Resources, amounts
from drydock.scheduling.requirements import Requirements, from_expressions, merged
from drydock.suite.manifests import Manifest


@dataclass(frozen=True)
class Overlay:
    """A NodeOverlay that adds capacity.

    Attributes:
        requirements: which nodes it is about.
        capacity: what each of them has besides.
    """

    requirements: Requirements
    capacity: Resources


def find_overlays(manifests: Sequence[Manifest]) -> tuple[Overlay, ...]:
    """Every NodeOverlay with a capacity, the one that wins first (weight falling, then name)."""
    found = []
    for manifest in manifests:
        if manifest.kind == "NodeOverlay" and manifest.api_version.startswith("karpenter.sh/"):
            spec = manifest.content.get("spec") or {}
            overlay = Overlay(merged(from_expressions(spec.get("requirements"))), amounts(spec.get("capacity")))
            found.append((-(spec.get("weight") or 0), manifest.name, overlay))
    return tuple(overlay for *_, overlay in sorted(found, key=lambda each: each[:2]))
