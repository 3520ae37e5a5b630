"""Shared memory for engines that run on several accelerators (pain 17)."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from drydock.checks.findings import Finding, Severity
from drydock.checks.subject import Subject
from drydock.scheduling.instance_types.quantity import amount, describe
from drydock.scheduling.instance_types.resources import NVIDIA_GPU
from drydock.scheduling.pods import PodUse, container_requests

MISSING = "shared-memory"
PAIN = 17
_DEV_SHM = "/dev/shm"  # noqa: S108 (where POSIX shared memory lies)
_PARALLEL = re.compile(r"(?:--(?:tensor|pipeline)-parallel-size|-tp|-pp)[= ]([0-9]+)")


def check(subject: Subject) -> Iterator[Finding]:
    """Containers that run in parallel over GPUs with the container runtime's 64 MiB of /dev/shm."""
    for pod in subject.pods:
        for container in pod.spec.get("containers") or ():
            if not pod.is_daemon and _is_parallel(container):
                yield from _shared_memory(subject, pod, container)


def _is_parallel(container: Mapping[str, Any]) -> bool:
    words = [str(argument) for argument in (*(container.get("command") or ()), *(container.get("args") or ()))]
    sizes = [int(size) for size in _PARALLEL.findall(" ".join(words))]
    return container_requests(container).get(NVIDIA_GPU, 0) > 1 or any(size > 1 for size in sizes)


def _shared_memory(subject: Subject, pod: PodUse, container: Mapping[str, Any]) -> Iterator[Finding]:
    mounts = {mount.get("mountPath"): mount.get("name") for mount in container.get("volumeMounts") or ()}
    mounted = mounts.get(_DEV_SHM)
    volume: Mapping[str, Any] = next(
        (pod_volume for pod_volume in pod.spec.get("volumes") or () if pod_volume["name"] == mounted), {}
    )
    directory = volume.get("emptyDir")
    where = f"{pod.path}.containers.{container['name']}"
    if directory is None or directory.get("medium") != "Memory":
        yield subject.finding(
            MISSING,
            pod.manifest,
            f"Container {container['name']} runs in parallel over several GPUs with 64 MiB of /dev/shm: NCCL fails "
            "at start.",
            "Mount an emptyDir with medium: Memory and a sizeLimit at /dev/shm.",
            path=f"{where}.volumeMounts",
            pain=PAIN,
        )
        return
    limit = ((container.get("resources") or {}).get("limits") or {}).get("memory")
    size = directory.get("sizeLimit")
    if limit and size and amount("memory", size) >= amount("memory", limit):
        yield subject.finding(
            MISSING,
            pod.manifest,
            f"What is written to /dev/shm (up to {describe('memory', amount('memory', size))}) counts against the "
            f"memory limit of container {container['name']} ({describe('memory', amount('memory', limit))}).",
            "Raise the memory limit above what the engine and /dev/shm take together.",
            path=f"{where}.resources.limits.memory",
            pain=PAIN,
            severity=Severity.WARNING,
        )
