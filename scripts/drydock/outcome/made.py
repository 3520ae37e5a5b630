"""Whether the pods of an install are there: what Karpenter is to buy for."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from drydock.clusters.objects import condition, driver_of, full_name, is_true
from drydock.outcome.observe import WORKLOADS, Scene
from drydock.outcome.owners import workload_of

_SCHEDULER = "default-scheduler"


def unmade(scene: Scene, generations: Mapping[str, int]) -> Iterator[str]:
    """Workloads whose pods their controller has yet to make, and pods that the scheduler has yet to look at.

    What a controller cannot make is not waited for, nor are pods that others of the same workload have to go before.

    Args:
        scene: every object.
        generations: the generation that each workload must have been seen in, by `Kind/namespace/name`.
    """
    seen = {f"{kind}/{full_name(content)}": content for kind in WORKLOADS for content in scene.of(kind)}
    failed = {
        event["involvedObject"].get("uid") for event in scene.of("Event") if event.get("reason") == "FailedCreate"
    }
    pods = Counter(f"{pod['metadata']['namespace']}/{workload_of(scene, pod)}" for pod in scene.of("Pod"))
    for name, generation in generations.items():
        workload = seen.get(name)
        if workload is None or workload["metadata"].get("generation", 0) < generation:
            yield name
            continue
        kind, own = name.partition("/")[0], workload["metadata"]
        if own["uid"] not in failed and not _is_made(kind, workload, pods[f"{own['namespace']}/{kind}/{own['name']}"]):
            yield name
    yield from (f"Pod/{full_name(pod)}" for pod in scene.of("Pod") if _is_new(pod))


def unbound(scene: Scene) -> Iterator[str]:
    """Claims whose volume comes without a pod on a node: Karpenter leaves their pods out of its rounds until then.

    Args:
        scene: every object.
    """
    classes, drivers = scene.named("StorageClass"), scene.named("CSIDriver")
    for claim in scene.of("PersistentVolumeClaim"):
        storage_class = classes.get(claim["spec"].get("storageClassName") or "")
        if (
            storage_class
            and storage_class.get("volumeBindingMode", "Immediate") == "Immediate"
            and driver_of(storage_class["provisioner"]) in drivers
            and (claim.get("status") or {}).get("phase") == "Pending"
            and not claim["spec"].get("volumeName")
            and "deletionTimestamp" not in claim["metadata"]
        ):
            yield f"PersistentVolumeClaim/{full_name(claim)}"


def _is_made(kind: str, workload: Mapping[str, Any], pods: int) -> bool:
    spec, status = workload["spec"], workload.get("status") or {}
    if kind == "DaemonSet" or spec.get("paused") or spec.get("suspend") or is_true(workload, "ReplicaFailure"):
        return True
    if kind == "Job":
        return bool(pods or status.get("succeeded") or status.get("failed") or status.get("conditions"))
    if status.get("observedGeneration", 0) < workload["metadata"].get("generation", 0):
        return False
    wanted = spec.get("replicas", 1)
    if kind == "StatefulSet" and spec.get("podManagementPolicy") != "Parallel":
        wanted = min(wanted, 1)
    return bool(min(pods, status.get("replicas", 0)) >= wanted)


def _is_new(pod: Mapping[str, Any]) -> bool:
    waits = pod["status"].get("phase") == "Pending" and not pod["spec"].get("nodeName")
    ours = pod["spec"].get("schedulerName", _SCHEDULER) == _SCHEDULER
    return bool(waits and ours and "deletionTimestamp" not in pod["metadata"] and not condition(pod, "PodScheduled"))
