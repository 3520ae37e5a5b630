"""NetworkPolicies between pods that run here: whose connection it is, and whether the policies let it through.

Tried where a Service passes connections on, on Linux, whose kernel says which process opened one. As the VPC CNI of
EKS does it, by namespaces, labels and ports of both pods, in both directions. What comes from elsewhere is let through.
"""

import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drydock.checks.network_reach import Endpoint, PolicedNetwork, Port
from drydock.clusters.api import Api, ApiError, collection
from drydock.clusters.objects import labels_of
from drydock.clusters.watching import follow, in_background
from drydock.rehearsal.kubelet.pod import Pod
from drydock.rehearsal.kubelet.pod_events import warn
from drydock.suite.manifests import Manifest

REASON = "NetworkPolicyDenied"
"""Of the Events of pods whose connections no policy lets through."""
_POLICIES = collection("networking.k8s.io/v1", "networkpolicies")
_NAMESPACES = collection("v1", "namespaces")
_SOCK_DIAG, _BY_FAMILY, _REQUEST, _ANY = 4, 20, 1, 0xFFFFFFFF
_INODE_AT, _RESPONSE_BYTES = 16 + 4 + 48 + 16, 4096
"""A header, four bytes, the socket's addresses, and four numbers precede it."""

Place = tuple[str, int]
"""An address and port of this machine."""


@dataclass
class Policies:
    """The NetworkPolicies of one cluster.

    Args:
        api: of the cluster, as its administrator.
        pods: gives those that run here.
    """

    api: Api
    pods: Callable[[], Iterable[Pod]]
    _objects: dict[str, Manifest] = field(default_factory=dict)
    _network: PolicedNetwork = field(default_factory=lambda: PolicedNetwork((), {}, ""))
    _told: set[tuple[str, str]] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> None:
        """Follow them until the cluster ends."""
        for path, kind in ((_POLICIES, "NetworkPolicy"), (_NAMESPACES, "Namespace")):
            in_background(self._follow, path, kind)

    def permit(self, source: Place, relay: Place, target: Place) -> bool:
        """Whether a connection from `source` to a `relay` may go on to `target`; a refused pod has an Event of it."""
        if not self._network.policies:
            return True
        pods = list(self.pods())
        there = next((pod for pod in pods if pod.address.host == target[0]), None)
        if there is None:
            return True
        port, end = _port(there.content, target[1]), _endpoint(there.content)
        refused = [
            pod for pod in pods if pod is not there and not self._network.connects(_endpoint(pod.content), end, port)
        ]
        here = _pod_of(source, relay, refused) if refused else None
        if here:
            self._tell(here, there, port)
        return here is None

    def _follow(self, path: str, kind: str) -> None:
        for change, content in follow(self.api, path):
            key = f"{kind}/{content['metadata'].get('namespace', '')}/{content['metadata']['name']}"
            with self._lock:
                self._objects.pop(key, None)
                if change != "DELETED":
                    self._objects[key] = Manifest("", {**content, "kind": kind}, "")
                self._network = PolicedNetwork.of(list(self._objects.values()), "default")

    def _tell(self, here: Pod, there: Pod, port: Port) -> None:
        if (here.full_name, there.full_name) not in self._told:
            self._told.add((here.full_name, there.full_name))
            try:
                warn(
                    self.api,
                    here.content,
                    REASON,
                    f"no NetworkPolicy lets it connect to port {port.number} of pod {there.full_name}",
                )
            except ApiError:
                return


def _endpoint(pod: Mapping[str, Any]) -> Endpoint:
    return Endpoint(
        pod["metadata"]["namespace"],
        labels_of(pod),
        on_host=bool(pod["spec"].get("hostNetwork")),
        policed=bool(pod["metadata"].get("ownerReferences")),
    )


def _port(pod: Mapping[str, Any], number: int) -> Port:
    ports = (port for container in pod["spec"]["containers"] for port in container.get("ports") or ())
    return Port(number, next((port.get("name", "") for port in ports if port["containerPort"] == number), ""))


def _pod_of(source: Place, relay: Place, pods: Iterable[Pod]) -> Pod | None:
    """The pod one of whose processes opened a connection; None for others' and where the kernel does not say it."""
    if not (inode := _inode(source, relay)):
        return None
    wanted = f"socket:[{inode}]"
    return next((pod for pod in pods if any(_holds(process, wanted) for process in _processes(pod))), None)


def _inode(source: Place, target: Place) -> int:
    """Of the socket that was connected from one place to the other; 0 for none. See sock_diag(7)."""
    if sys.platform != "linux":
        return 0
    ports = struct.pack(">HH", source[1], target[1])
    addresses = b"".join(socket.inet_aton(host) + bytes(12) for host, _ in (source, target))
    wanted = struct.pack("=BBBBI", socket.AF_INET, socket.IPPROTO_TCP, 0, 0, _ANY) + ports + addresses
    body = wanted + struct.pack("=III", 0, _ANY, _ANY)
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG) as kernel:
            kernel.send(struct.pack("=IHHII", 16 + len(body), _BY_FAMILY, _REQUEST, 0, 0) + body)
            response = kernel.recv(_RESPONSE_BYTES)
    except OSError:
        return 0
    found = struct.unpack_from("=H", response, 4)[0] == _BY_FAMILY
    return int(struct.unpack_from("=I", response, _INODE_AT)[0]) if found else 0


def _processes(pod: Pod) -> list[int]:
    """Of its containers, with all that they started; without a look at the machine's other processes."""
    found = [container.pid for container in pod.containers if container.pid]
    for process in found:
        for children in Path(f"/proc/{process}/task").glob("*/children"):
            try:
                found += map(int, children.read_text().split())
            except OSError:
                continue
    return found


def _holds(process: int, wanted: str) -> bool:
    try:
        return any(_link(entry) == wanted for entry in Path(f"/proc/{process}/fd").iterdir())
    except OSError:
        return False


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""
