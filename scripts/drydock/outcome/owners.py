"""To which workload a pod belongs."""

from collections.abc import Mapping
from typing import Any

from drydock.outcome.observe import Scene


def workload_of(scene: Scene, content: Mapping[str, Any]) -> str:
    """`Kind/name` of the topmost controller of an object; of itself when it has none."""
    seen = content
    kind, name = str(seen.get("kind") or "Pod"), seen["metadata"]["name"]
    while owner := _controller(seen):
        kind, name = owner["kind"], owner["name"]
        above = scene.objects.get(kind, {}).get(owner["uid"])
        if above is None:
            break
        seen = above
    return f"{kind}/{name}"


def _controller(content: Mapping[str, Any]) -> Mapping[str, Any] | None:
    owners = content["metadata"].get("ownerReferences") or []
    return next((owner for owner in owners if owner.get("controller")), None)
