"""DaemonSets beside a pod: where they run, and what they leave of a node.

Source: karpenter v1.14, pkg/controllers/provisioning/scheduling/scheduler.go, buildDaemonOverheadGroups and
isDaemonPodCompatible.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from drydock.scheduling.instance_types.quantity import Resources, add
from drydock.scheduling.pods import PodUse
from drydock.scheduling.pools import Pool
from drydock.scheduling.relaxation import required_terms, untolerated
from drydock.scheduling.requirements import conflicts

HostPort = tuple[str, int, str]
"""Address, number and protocol."""


@dataclass(frozen=True)
class Daemon:
    """A DaemonSet's pod, and the instance types of a pool that it runs on."""

    pod: PodUse
    types: frozenset[str]


def daemons_on(pool: Pool, pods: Sequence[PodUse]) -> list[Daemon]:
    """DaemonSets among the pods that run on a pool's nodes."""
    found = (Daemon(pod, daemon_types(pod, pool)) for pod in pods if pod.is_daemon)
    return [daemon for daemon in found if daemon.types]


def daemon_types(daemon: PodUse, pool: Pool) -> frozenset[str]:
    """Instance types of a pool on whose nodes a DaemonSet runs."""
    if untolerated(daemon, pool):
        return frozenset()
    allowed = (
        pool.matching(pool.types, term)
        for term in required_terms(daemon)
        if not conflicts(pool.requirements, term, pool.well_known)
    )
    return frozenset[str]().union(*allowed)


def admits(daemon: PodUse, pool: Pool) -> bool:
    """Whether a DaemonSet would run on a pool's nodes, if it had any."""
    terms = required_terms(daemon)
    return not untolerated(daemon, pool) and any(
        not conflicts(pool.requirements, term, pool.well_known) for term in terms
    )


@dataclass(frozen=True)
class NodeGroup:
    """Instance types on whose nodes the same DaemonSets run, and what those request together."""

    types: frozenset[str]
    overhead: Resources


def groups_beside(pod: PodUse, types: frozenset[str], daemons: Sequence[Daemon]) -> list[NodeGroup]:
    """The types by what runs on them already, without those where a DaemonSet holds a host port of the pod."""
    parts: list[tuple[frozenset[str], list[PodUse]]] = [(types, [])]
    for daemon in daemons:
        split = [
            (part & daemon.types, [*beside, daemon.pod]) if inside else (part - daemon.types, beside)
            for part, beside in parts
            for inside in (True, False)
        ]
        parts = [(part, beside) for part, beside in split if part]
    ports = host_ports(pod)
    return [
        NodeGroup(part, add(*(item.requests for item in beside)))
        for part, beside in parts
        if not any(_collide(one, other) for item in beside for other in host_ports(item) for one in ports)
    ]


def host_ports(pod: PodUse) -> list[HostPort]:
    """Ports of its node that a pod takes: address, number, protocol."""
    ports = [port for container in pod.spec.get("containers") or () for port in container.get("ports") or ()]
    on_host = bool(pod.spec.get("hostNetwork"))
    numbered = ((port, port.get("hostPort") or (port.get("containerPort") if on_host else None)) for port in ports)
    return [
        (port.get("hostIP") or "0.0.0.0", int(number), port.get("protocol") or "TCP")  # noqa: S104 (Kubernetes' own default)
        for port, number in numbered
        if number
    ]


def _collide(one: HostPort, other: HostPort) -> bool:
    anywhere = {"0.0.0.0", "::"}  # noqa: S104
    return one[1:] == other[1:] and (one[0] == other[0] or not anywhere.isdisjoint((one[0], other[0])))
