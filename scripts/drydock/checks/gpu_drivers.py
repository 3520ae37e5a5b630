"""CUDA of images against the NVIDIA driver of the nodes that their pods may get."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from drydock.checks.findings import Finding, Severity
from drydock.checks.subject import Subject
from drydock.engines.nvidia_drivers import Obstacle, forward_compatible, obstacle
from drydock.scheduling.feasibility import PodVerdict, PoolVerdict
from drydock.scheduling.pods import container_requests
from drydock.suite.cluster_description import describe

CHECK = "gpu-driver"

_DEVICES = "nvidia.com/"


def check(subject: Subject) -> Iterator[Finding]:
    """Containers with GPUs whose CUDA the driver of a node that they may get does not run."""
    kubernetes = describe(subject.rendered.environment).kubernetes
    for verdict in subject.verdicts:
        shown: set[str] = set()
        for container, pool, family, found in obstacles(verdict, kubernetes):
            if found.reason in shown:
                continue
            shown.add(found.reason)
            yield subject.finding(
                CHECK,
                verdict.pod.manifest,
                f"{container['name']} finds no usable GPU on nodes of pool {pool.pool.name}: {found.reason}.",
                found.remedy,
                path=verdict.pod.path,
                keys=("image", "pool", "accelerator"),
                cause=f"{CHECK} {pool.pool.name} {family}" if found.of_family else "",
                severity=Severity.ERROR if found.certain else Severity.WARNING,
            )


def obstacles(verdict: PodVerdict, kubernetes: str) -> Iterator[tuple[Mapping[str, Any], PoolVerdict, str, Obstacle]]:
    """Of each container with GPUs of a pod, pool, and instance family that the pool may buy for it."""
    for container in verdict.pod.containers:
        if not any(name.startswith(_DEVICES) and count for name, count in container_requests(container).items()):
            continue
        image, forward = str(container.get("image", "")), forward_compatible(container)
        for pool in verdict.pools:
            alias = _alias(pool)
            for family in sorted({name.partition(".")[0] for name in pool.types}):
                found = obstacle(image, family, alias, kubernetes, forward=forward)
                if found:
                    yield container, pool, family, found


def _alias(verdict: PoolVerdict) -> str:
    """Of the AMI; empty where the node class names it in another way."""
    node_class = verdict.pool.node_class
    terms: Sequence[Mapping[str, Any]] = (node_class.spec.get("amiSelectorTerms") or ()) if node_class else ()
    return str(terms[0].get("alias", "")) if len(terms) == 1 else ""
