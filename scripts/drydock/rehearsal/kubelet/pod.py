"""One pod that runs: its volumes, its containers, and its status in the API."""

import contextlib
import shutil
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drydock.clusters.api import ApiError, collection
from drydock.clusters.watching import in_background
from drydock.rehearsal.kubelet.container import Container
from drydock.rehearsal.kubelet.container_process import ContainerProcess, Machine, ports_of
from drydock.rehearsal.kubelet.endpoint import RunningContainer
from drydock.rehearsal.kubelet.pod_addresses import Address
from drydock.rehearsal.kubelet.pod_events import warn
from drydock.rehearsal.kubelet.probes import Handler
from drydock.rehearsal.kubelet.programs import program_for
from drydock.rehearsal.kubelet.service_names import REACHABLE
from drydock.rehearsal.kubelet.status import is_sidecar, status

_GRACE_SECONDS = 30.0


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
        spec = self.content["spec"]
        policy = spec.get("restartPolicy", "Always")
        for container in spec.get("initContainers") or ():
            once = "Never" if policy == "Never" else "OnFailure"
            self._add(container, "Always" if is_sidecar(container) else once)
        for container in spec["containers"]:
            self._add(container, policy)
        self._changed.set()
        in_background(self._live)

    def _add(self, spec: Mapping[str, Any], policy: str) -> None:
        program = program_for(spec, self.machine.programs)
        if program:
            process = ContainerProcess(
                self.machine, program, lambda: self.content, self.address, self._folder, self._process_name(spec)
            )
            self._processes[spec["name"]] = process
            made = Container(spec, policy, self._own_grace, process.start, self._handler, self._changed.set, self._warn)
            self._containers[spec["name"]] = made

    def see(self, content: Mapping[str, Any]) -> None:
        """Take note of a change, of the deletion above all."""
        self.content = content
        if "deletionTimestamp" in content["metadata"] and self._grace is None:
            self._grace = float(content["metadata"].get("deletionGracePeriodSeconds", _GRACE_SECONDS))
            self._changed.set()

    def gone(self) -> None:
        """End at once, whatever its grace period: the API has forgotten it."""
        self._grace = 0.0
        self._changed.set()
        for container in self._containers.values():
            container.kill()

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
        beside = self._processes[container.spec["name"]].start_beside
        return RunningContainer(container.pid, log, self._folder, self._reach, beside)

    def _warn(self, reason: str, message: str) -> None:
        with contextlib.suppress(ApiError):
            warn(self.machine.api, self.content, reason, message)

    def _reach(self, port: int) -> tuple[str, int]:
        return self.address.host, self.address.port(port)

    def _process_name(self, spec: Mapping[str, Any]) -> str:
        return f"pods/{self.full_name.replace('/', '_')}_{spec['name']}"

    @property
    def _folder(self) -> Path:
        return self.machine.folder / "pods" / str(self.content["metadata"]["uid"])

    def _live(self) -> None:
        try:
            self.machine.api.merge(self.path, {"metadata": {"annotations": {REACHABLE: self._reachable()}}})
            in_background(self._begin)
            self._tell_until_deleted()
            self._end()
        except ApiError as error:
            if error.status:  # else the cluster is ending
                print(f"{self.path}: {error.message}", file=sys.stderr, flush=True)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)
            self.on_over(self)

    def _begin(self) -> None:
        """Start the init containers one after the other, then the rest at once; nothing follows one that failed."""
        failed = False
        for spec in self.content["spec"].get("initContainers") or ():
            container = self._containers.get(spec["name"])
            if container and (failed or self._grace is not None):
                container.give_up()
            elif container:
                in_background(container.run)
                if is_sidecar(spec):
                    container.await_started()
                else:
                    failed = bool((end := container.await_over()) and end.status)
        for container in self._main:
            if failed or self._grace is not None:
                container.give_up()
            else:
                in_background(container.run)
        if failed:
            self._end_sidecars(self._own_grace)

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
            if self._main and all(container.state.ended for container in self._main):
                in_background(self._end_sidecars, self._own_grace)

    def _end(self) -> None:
        """End its containers, sidecars last, all within the grace period."""
        grace, began = self._grace or 0.0, time.monotonic()
        others = [self._containers[name] for name in self._containers if name not in self._sidecar_names]
        _end_all(others, grace)
        self._end_sidecars(max(0.0, grace - (time.monotonic() - began)))
        self.machine.api.forget(self.path, self.content["metadata"]["uid"])

    def _end_sidecars(self, grace: float) -> None:
        _end_all([self._containers[name] for name in self._sidecar_names if name in self._containers], grace)

    @property
    def _own_grace(self) -> float:
        return float(self.content["spec"].get("terminationGracePeriodSeconds", _GRACE_SECONDS))

    @property
    def _sidecar_names(self) -> list[str]:
        return [spec["name"] for spec in self.content["spec"].get("initContainers") or () if is_sidecar(spec)]

    @property
    def _main(self) -> list[Container]:
        names = [spec["name"] for spec in self.content["spec"]["containers"]]
        return [self._containers[name] for name in names if name in self._containers]

    def _reachable(self) -> str:
        ports = (port for each in self._containers.values() for port in each.spec.get("ports") or ())
        named = (port for port in ports if port.get("name"))
        return ",".join(f"{p['name']}={self.address.host}:{self.address.port(p['containerPort'])}" for p in named)

    def _handler(self, spec: Mapping[str, Any], content: Mapping[str, Any]) -> Handler:
        return Handler(content, ports_of(spec), self.address, self._processes[spec["name"]].execute)


def _end_all(containers: Sequence[Container], grace: float) -> None:
    enders = [in_background(container.end, grace) for container in containers]
    for ender in enders:
        ender.join()
