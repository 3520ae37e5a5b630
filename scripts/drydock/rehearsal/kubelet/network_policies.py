"""NetworkPolicies between pods that run here: whose connection it is, and whether the policies let it through.

Tried where a Service passes connections on, on Linux: /proc says which process opened one. As the VPC CNI of EKS does
it, by namespaces, labels and ports of both pods, in both directions. What comes from outside of pods is let through.
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

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
_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")

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

    def permit(self, source: Place, target: Place) -> bool:
        """Whether a connection that was opened at `source` may reach `target`; a refused pod has an Event of it."""
        if not self._network.policies:
            return True
        pods = list(self.pods())
        there = next((pod for pod in pods if pod.address.host == target[0]), None)
        here = _pod_of(source, pods) if there else None
        if there is None or here is None or here is there:
            return True
        port = _port(there.content, target[1])
        if self._network.connects(_endpoint(here.content), _endpoint(there.content), port):
            return True
        self._tell(here, there, port)
        return False

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


def _pod_of(source: Place, pods: Iterable[Pod]) -> Pod | None:
    """The pod one of whose processes opened a connection; None for others' and where /proc does not say it."""
    if not (inode := _inode(source)):
        return None
    wanted = f"socket:[{inode}]"
    return next((pod for pod in pods if any(_holds(process, wanted) for process in _processes(pod))), None)


def _inode(source: Place) -> str:
    """Of the socket whose own end is there."""
    end = f":{source[1]:04X}"
    for table in _TABLES:
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            return ""
        for line in lines:
            words = line.split()
            if words[1].endswith(end) and _host(words[1]) == source[0]:
                return words[9]
    return ""


def _host(text: str) -> str:
    """An IPv4 address of the table, where its bytes are in the reverse order."""
    digits = text.partition(":")[0][-8:]
    return ".".join(str(int(digits[place : place + 2], 16)) for place in (6, 4, 2, 0))


def _processes(pod: Pod) -> list[int]:
    found: list[int] = []
    for container in pod.containers:
        if container.pid:
            try:
                process = psutil.Process(container.pid)
                found += [container.pid, *(child.pid for child in process.children(recursive=True))]
            except psutil.Error:
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
