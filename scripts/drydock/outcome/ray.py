"""What the custom resources of Ray still lack, where their operator runs in the rehearsal."""

from collections.abc import Iterator
from typing import Any

from drydock.clusters.objects import full_name
from drydock.outcome.observe import Scene

OPERATOR = "kuberay/operator"


def unfinished_ray(scene: Scene) -> Iterator[str]:
    """RayClusters that are not ready, and RayServices that have no RayCluster yet, as `Kind/namespace/name`.

    Whether applications run on a cluster is Ray's own business: no Ray runs here.
    """
    for cluster in scene.of("RayCluster"):
        status = cluster.get("status") or {}
        seen = status.get("observedGeneration", 0) >= cluster["metadata"].get("generation", 0)
        wanted = "suspended" if cluster["spec"].get("suspend") else "ready"
        if not seen or status.get("state") != wanted:
            yield f"RayCluster/{full_name(cluster)}"
    for service in scene.of("RayService"):
        if not _has_cluster(service.get("status") or {}):
            yield f"RayService/{full_name(service)}"


def _has_cluster(status: dict[str, Any]) -> bool:
    parts = (status.get("activeServiceStatus") or {}, status.get("pendingServiceStatus") or {})
    return any(part.get("rayClusterName") for part in parts)
