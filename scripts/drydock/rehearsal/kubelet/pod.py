"""One pod that runs: its volumes, its containers, and its status in the API."""

import shutil
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drydock.clusters.api import ApiError, collection
from drydock.clusters.watching import in_background
from drydock.rehearsal.kubelet.container import Container
from drydock.rehearsal.kubelet.container_process import ContainerProcess, Machine, ports_of
from drydock.rehearsal.kubelet.endpoint import RunningContainer
from drydock.rehearsal.kubelet.pod_addresses import Address
from drydock.rehearsal.kubelet.probes import Probe
from drydock.rehearsal.kubelet.programs import program_for
from drydock.rehearsal.kubelet.service_names import REACHABLE
from drydock.rehearsal.kubelet.status import status

_GRACE_SECONDS = 30


@dataclass
class Pod:
    """Runs one pod from its binding to its deletion.

    Args:
        machine: what pods share.
        address: the pod's own.
        content: as it is now.
        on_over: called when nothing of it is left.
    """

    machine: Machine
    address: Address
    content: Mapping[str, Any]
    on_over: Callable[["Pod"], None]
    _containers: dict[str, Container] = field(default_factory=dict)
    _processes: dict[str, ContainerProcess] = field(default_factory=dict)
    _changed: threading.Event = field(default_factory=threading.Event)
    _grace: float | None = None
    _began: float = field(default_factory=time.time)

    def start(self) -> None:
        """Start its containers; everything else happens in the background."""
        for spec in self.content["spec"]["containers"]:
            program = program_for(spec, self.machine.programs)
            if program:
                policy = self.content["spec"].get("restartPolicy", "Always")
                process = ContainerProcess(
                    self.machine, program, lambda: self.content, self.address, self._folder, self._process_name(spec)
                )
                self._processes[spec["name"]] = process
                made = Container(spec, policy, process.start, self._probe, process.succeeds, self._changed.set)
                self._containers[spec["name"]] = made
        self._changed.set()
        in_background(self._live)

    def see(self, content: Mapping[str, Any]) -> None:
        """Take note of a change, of the deletion above all."""
        self.content = content
        if "deletionTimestamp" in content["metadata"] and self._grace is None:
            self._grace = float(content["metadata"].get("deletionGracePeriodSeconds", _GRACE_SECONDS))
            self._changed.set()

    def gone(self) -> None:
        """End at once: the API has forgotten it."""
        self._grace = 0.0
        self._changed.set()

    @property
    def path(self) -> str:
        """In the API."""
        metadata = self.content["metadata"]
        return f"{collection('v1', 'pods', metadata['namespace'])}/{metadata['name']}"

    @property
    def full_name(self) -> str:
        """As `namespace/name`."""
        metadata = self.content["metadata"]
        return f"{metadata['namespace']}/{metadata['name']}"

    @property
    def containers(self) -> tuple[Container, ...]:
        """Those whose programs run here."""
        return tuple(self._containers.values())

    def running(self, name: str) -> RunningContainer | None:
        """A container whose program runs here, the first when it has no name."""
        container = self._containers.get(name) if name else next(iter(self._containers.values()), None)
        if container is None:
            return None
        log = self.machine.children.logs / f"{self._process_name(container.spec)}.log"
        return RunningContainer(container.pid, log, self._folder, self._reachable())

    def _process_name(self, spec: Mapping[str, Any]) -> str:
        return f"pods/{self.full_name.replace('/', '_')}_{spec['name']}"

    @property
    def _folder(self) -> Path:
        return self.machine.folder / "pods" / str(self.content["metadata"]["uid"])

    def _live(self) -> None:
        try:
            self.machine.api.merge(self.path, {"metadata": {"annotations": {REACHABLE: self._reachable()}}})
            for container in self._containers.values():
                in_background(container.run)
            self._tell_until_deleted()
            self._end()
        except ApiError as error:
            if error.status:  # else the cluster is ending
                print(f"{self.path}: {error.message}", file=sys.stderr, flush=True)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)
            self.on_over(self)

    def _tell_until_deleted(self) -> None:
        told: Mapping[str, Any] = {}
        while self._grace is None:
            self._changed.wait()
            self._changed.clear()
            states = {name: each.state for name, each in self._containers.items()}
            current = status(self.content, self.address.pod, states, self._began)
            if current != told:
                told = current
                self.machine.api.merge(f"{self.path}/status", {"status": current}, strategic=True)

    def _end(self) -> None:
        grace = self._grace or 0.0
        enders = [threading.Thread(target=each.end, args=(grace,), daemon=True) for each in self._containers.values()]
        for ender in enders:
            ender.start()
        for ender in enders:
            ender.join()
        self.machine.api.forget(self.path, self.content["metadata"]["uid"])

    def _reachable(self) -> str:
        ports = (port for each in self._containers.values() for port in each.spec.get("ports") or ())
        named = (port for port in ports if port.get("name"))
        return ",".join(f"{p['name']}={self.address.host}:{self.address.port(p['containerPort'])}" for p in named)

    def _probe(self, spec: Mapping[str, Any], name: str) -> Probe | None:
        if not spec.get(name):
            return None
        return Probe(spec[name], ports_of(spec), self.address, self._processes[spec["name"]].succeeds)
