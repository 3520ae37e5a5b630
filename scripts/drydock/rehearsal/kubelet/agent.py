"""The kubelet itself: finds the pods that this machine can run, and runs them."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drydock.clusters.api import Api, collection
from drydock.clusters.watching import follow, in_background
from drydock.rehearsal.children import Children
from drydock.rehearsal.kubelet.container import Container
from drydock.rehearsal.kubelet.container_process import Machine
from drydock.rehearsal.kubelet.endpoint import RunningContainer
from drydock.rehearsal.kubelet.memory import watch_memory
from drydock.rehearsal.kubelet.network_policies import Policies
from drydock.rehearsal.kubelet.pod import Pod
from drydock.rehearsal.kubelet.pod_addresses import Addresses
from drydock.rehearsal.kubelet.programs import Program, program_for
from drydock.rehearsal.kubelet.service_relays import Services

PODS = collection("v1", "pods")
_FINISHED = ("Succeeded", "Failed")


@dataclass
class Kubelet:
    """Runs the pods of all nodes of a cluster whose images are among its programs.

    Args:
        api: of the cluster, as its administrator.
        children: starts processes.
        server: address of the API server.
        folder: for the pods' files.
        addresses: of its pods.
        services: that lead to its pods.
    """

    api: Api
    children: Children
    server: str
    folder: Path
    addresses: Addresses
    services: Services
    programs: tuple[Program, ...] = ()
    _pods: dict[str, Pod] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def allow(self, programs: Sequence[Program]) -> bool:
        """Run these too; False when all were known. Its watch begins with the first."""
        new = [each for each in programs if each.image not in {known.image for known in self.programs}]
        if new and not self.programs:
            in_background(self._follow)
            in_background(watch_memory, self._containers)
            policies = Policies(self.api, self._running)
            policies.start()
            self.services.permit = policies.permit
            self.services.start()
        self.programs = (*self.programs, *new)
        return bool(new)

    def find(self, pod: str, container: str) -> RunningContainer | None:
        """The container of a pod, named `namespace/name`, whose program runs here; None for any other."""
        with self._lock:
            running = [each for each in self._pods.values() if each.full_name == pod]
        return running[0].running(container) if running else None

    def _containers(self) -> list[Container]:
        return [container for pod in self._running() for container in pod.containers]

    def _running(self) -> list[Pod]:
        with self._lock:
            return list(self._pods.values())

    def _follow(self) -> None:
        for kind, pod in follow(self.api, PODS):
            running = self._pods.get(pod["metadata"]["uid"])
            if running and kind == "DELETED":
                running.gone()
            elif running:
                running.see(pod)
            elif kind != "DELETED" and self._is_ours(pod):
                self._take(pod)

    def _is_ours(self, pod: Mapping[str, Any]) -> bool:
        bound = pod["spec"].get("nodeName") and pod["status"].get("phase") not in _FINISHED
        return bool(bound) and any(program_for(each, self.programs) for each in pod["spec"]["containers"])

    def _take(self, pod: Mapping[str, Any]) -> None:
        address = self.addresses.take()
        if address is None:
            return
        machine = Machine(self.api, self.children, self.server, self.folder, self.programs, self.services)
        with self._lock:
            self._pods[pod["metadata"]["uid"]] = made = Pod(machine, address, pod, self._over)
        made.start()
        made.see(pod)

    def _over(self, pod: Pod) -> None:
        with self._lock:
            self._pods.pop(str(pod.content["metadata"]["uid"]), None)
        self.addresses.give_back(pod.address)
