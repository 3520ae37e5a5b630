"""One pod that runs: its volumes, its containers, and what the API is told of them."""

import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drydock.clusters.api import Api, ApiError, collection
from drydock.clusters.objects import labels_of
from drydock.clusters.watching import in_background
from drydock.errors import ClusterError
from drydock.rehearsal.children import Child, Children
from drydock.rehearsal.kubelet.container import Container
from drydock.rehearsal.kubelet.endpoint import RunningContainer
from drydock.rehearsal.kubelet.pod_addresses import Address
from drydock.rehearsal.kubelet.pod_volumes import Mounts, VolumeMaker, write_kubeconfig
from drydock.rehearsal.kubelet.probes import Probe
from drydock.rehearsal.kubelet.programs import Program, program_for
from drydock.rehearsal.kubelet.references import References, environment, expand
from drydock.rehearsal.kubelet.service_names import REACHABLE, resolved
from drydock.rehearsal.kubelet.status import status

_GRACE_SECONDS = 30


@dataclass(frozen=True)
class Machine:
    """What pods share.

    Attributes:
        api: of the cluster, as its administrator.
        children: starts processes.
        server: address of the API server.
        folder: for the pods' files.
        programs: in place of images.
    """

    api: Api
    children: Children
    server: str
    folder: Path
    programs: Sequence[Program]


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
    _changed: threading.Event = field(default_factory=threading.Event)
    _grace: float | None = None
    _began: float = field(default_factory=time.time)

    def start(self) -> None:
        """Start its containers; everything else happens in the background."""
        for spec in self.content["spec"]["containers"]:
            program = program_for(spec, self.machine.programs)
            if program:
                policy = self.content["spec"].get("restartPolicy", "Always")
                made = Container(spec, policy, self._starter(program), self._probe, self._changed.set)
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
        return Probe(spec[name], _ports(spec), self.address, self._folder, self._basic_variables())

    def _starter(self, program: Program) -> Callable[[Mapping[str, Any], Callable[[Child], None]], Child]:
        def start(spec: Mapping[str, Any], on_end: Callable[[Child], None]) -> Child:
            references = References(self.machine.api, self.content, self.address)
            maker = VolumeMaker(self._folder, self.machine.folder / "claims", references)
            maker.make()
            mounts = maker.mounts(spec)
            variables = self._variables(program, spec, references, mounts)
            name = self._process_name(spec)
            arguments = self._arguments(program, spec, variables, mounts)
            return self.machine.children.start_apart(
                name, [*program.command, *arguments], env=variables, folder=self._folder, on_end=on_end
            )

        return start

    def _variables(
        self, program: Program, spec: Mapping[str, Any], references: References, mounts: Mounts
    ) -> dict[str, str]:
        given = environment(spec, references)
        temporary = mounts.find("/tmp") or self._folder / "tmp"  # noqa: S108 (the container's)
        temporary.mkdir(parents=True, exist_ok=True)
        _, _, address = self.machine.server.partition("://")
        host, _, port = address.rpartition(":")
        variables = {
            **self._basic_variables(),
            "TMPDIR": str(temporary),
            "KUBERNETES_SERVICE_HOST": host,
            "KUBERNETES_SERVICE_PORT": port,
            **{name: mounts.translate(self.address.listening(value)) for name, value in given.items()},
            **{name: self._filled(value, spec) for name, value in program.environment.items()},
        }
        kubeconfig = self._folder / "kubeconfig"
        if write_kubeconfig(kubeconfig, self.machine.server, mounts, self.content["metadata"]["namespace"]):
            variables["KUBECONFIG"] = str(kubeconfig)
        return variables

    def _basic_variables(self) -> dict[str, str]:
        """Of this machine's, a container gets no more than this."""
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self._folder),
            "HOSTNAME": self.content["metadata"]["name"],
        }

    def _arguments(
        self, program: Program, spec: Mapping[str, Any], variables: Mapping[str, str], mounts: Mounts
    ) -> list[str]:
        own = [*(spec.get("command") or ())[len(program.entrypoint) :], *(spec.get("args") or ())]
        given = [*program.defaults, *own]
        named = [resolved(self.machine.api, expand(each, variables)) for each in given]
        rendered = [mounts.translate(self.address.listening(each)) for each in named]
        return [*rendered, *(self._filled(each, spec) for each in program.arguments)]

    def _filled(self, text: str, spec: Mapping[str, Any]) -> str:
        """`{address}`, `{namespace}`, `{port NAME}` and `{node LABEL}` of data/runnable-images.yaml."""
        before, found, rest = text.partition("{")
        if not found:
            return text
        word, _, after = rest.partition("}")
        kind, _, name = word.partition(" ")
        if kind == "address":
            value = self.address.host
        elif kind == "namespace":
            value = str(self.content["metadata"]["namespace"])
        elif kind == "port":
            if name not in _ports(spec):
                raise ClusterError(f"container {spec['name']} has no port of the name {name}")
            value = str(self.address.port(_ports(spec)[name]))
        else:
            node = self.machine.api.get(f"{collection('v1', 'nodes')}/{self.content['spec']['nodeName']}")
            value = labels_of(node).get(name, "")
        return before + value + after


def _ports(spec: Mapping[str, Any]) -> dict[str, int]:
    return {port["name"]: port["containerPort"] for port in spec.get("ports") or () if port.get("name")}
