"""The process of one container: its command, variables and folders, held as its pod says where this machine can."""

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from drydock.clusters.api import Api, collection
from drydock.clusters.objects import labels_of
from drydock.errors import ClusterError
from drydock.rehearsal.children import Child, Children
from drydock.rehearsal.kubelet import isolation
from drydock.rehearsal.kubelet.pod_addresses import Address
from drydock.rehearsal.kubelet.pod_volumes import Mounts, VolumeMaker, prefix_of_weights, write_kubeconfig
from drydock.rehearsal.kubelet.programs import Program
from drydock.rehearsal.kubelet.references import References, environment, expand
from drydock.rehearsal.kubelet.service_names import resolved
from drydock.rehearsal.kubelet.service_relays import Services

_SAID_CHARACTERS = 200
_INSIDE_SECONDS, _POLL_SECONDS = 20.0, 0.02
_NONE, _PIPE = subprocess.DEVNULL, subprocess.PIPE


@dataclass(frozen=True)
class Machine:
    """What pods share.

    Attributes:
        api: of the cluster, as its administrator.
        children: starts processes.
        server: address of the API server.
        folder: for the pods' files.
        programs: in place of images.
        services: that lead to pods.
    """

    api: Api
    children: Children
    server: str
    folder: Path
    programs: Sequence[Program]
    services: Services


@dataclass
class ContainerProcess:
    """Starts the process of one container, and further commands beside it.

    Args:
        machine: what pods share.
        program: in place of the container's image.
        pod: gives the pod as it is now.
        address: of the pod.
        folder: of the pod on this machine.
        name: of the process, and of its log.
    """

    machine: Machine
    program: Program
    pod: Callable[[], Mapping[str, Any]]
    address: Address
    folder: Path
    name: str
    _child: Child | None = None
    _variables: dict[str, str] = field(default_factory=dict)
    _working: str = "/"

    @property
    def isolated(self) -> bool:
        """Whether it is held as a container is."""
        return self.program.isolated and not isolation.unavailable()

    def start(self, spec: Mapping[str, Any], on_end: Callable[[Child], None]) -> Child:
        """Start it.

        Raises:
            MissingReferenceError: its pod names something that is not there yet.
            RefusedUserError: it asks not to be root, and is.
            ClusterError: it could not be started, or the supervisor is ending.
        """
        references = References(self.machine.api, self.pod(), self.address)
        maker = VolumeMaker(self.folder, self.machine.folder / "claims", references)
        maker.make()
        mounts = Mounts({}) if self.isolated else maker.mounts(spec)
        variables = self._environment(spec, references, mounts)
        command = [*self.program.command, *self._arguments(spec, variables, mounts)]
        if self.isolated:
            plan = isolation.plan(
                self.pod(), spec, command, variables, maker.binds(spec), self.program.needs, self.folder
            )
            own = f"127.0.0.1 localhost\n{self.address.host} {plan.hostname}\n"
            namespace = self.pod()["metadata"]["namespace"]
            self.machine.services.name_in(Path(plan.files["/etc/hosts"]), namespace, own)
            self._variables, self._working = dict(plan.variables), plan.folder
            command, variables = plan.as_command(self.folder / "containers" / str(spec["name"]) / "plan.json"), {}
        else:
            self._variables, self._working = variables, str(self.folder)
        self._child = self.machine.children.start_apart(
            self.name, command, env=variables, folder=self.folder, on_end=on_end
        )
        return self._child

    def execute(self, command: Sequence[str], seconds: float) -> str:
        """Run a command beside the process, within so many seconds: why it failed, empty when it did not."""
        try:
            with self.start_beside(command, stdin=_NONE, stdout=_PIPE, stderr=_PIPE) as running:
                try:
                    output, errors = running.communicate(timeout=seconds)
                except subprocess.TimeoutExpired:
                    running.kill()
                    return f"{command[0]} took longer than {seconds:g} s"
        except OSError:
            return f"{command[0]} could not be started"
        said = (errors or output).decode(errors="replace").strip()[-_SAID_CHARACTERS:]
        return "" if running.returncode == 0 else ": ".join(filter(None, (f"exit status {running.returncode}", said)))

    def start_beside(
        self, command: Sequence[str], *, stdin: int, stdout: int, stderr: int, terminal: bool = False
    ) -> "subprocess.Popen[bytes]":
        """Start a command where the process runs; with `terminal` its input is one that it controls.

        Raises:
            OSError: it could not be started.
        """
        if not self.isolated:
            return subprocess.Popen(
                list(command),
                cwd=self._working,
                env=self._variables,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        inside = self._inside()
        asked = {
            "command": list(command),
            "variables": self._variables,
            "folder": self._working,
            "terminal": terminal,
        }
        reading, writing = os.pipe()
        try:
            running = subprocess.Popen(
                [*isolation.entering(inside), str(reading)],
                env={},
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
                pass_fds=(reading,),
            )
        except OSError:
            os.close(writing)
            raise
        finally:
            os.close(reading)
        with contextlib.suppress(BrokenPipeError), os.fdopen(writing, "wb") as request:
            request.write(json.dumps(asked).encode())
        return running

    def _inside(self) -> int:
        """The container's first process, once its root is its own.

        Raises:
            ProcessLookupError: it does not run, or does not get that far in time.
        """
        late = time.monotonic() + _INSIDE_SECONDS
        while time.monotonic() < late:
            try:
                children = psutil.Process(self._child.process.pid if self._child else 0).children()
                if children and not isolation.is_init(children[0].cmdline()):
                    return children[0].pid
            except psutil.NoSuchProcess:
                break
            time.sleep(_POLL_SECONDS)
        raise ProcessLookupError("the container does not run")

    def _environment(self, spec: Mapping[str, Any], references: References, mounts: Mounts) -> dict[str, str]:
        """The pod's variables; of this machine's, where nothing isolates it, no more than its search path."""
        given = environment(spec, references)
        _, _, server = self.machine.server.partition("://")
        host, _, port = server.rpartition(":")
        return {
            **({} if self.isolated else self._outside(mounts)),
            "KUBERNETES_SERVICE_HOST": host,
            "KUBERNETES_SERVICE_PORT": port,
            **{name: mounts.translate(self.address.listening(value)) for name, value in given.items()},
            **{name: self._filled(value, spec) for name, value in self.program.environment.items()},
        }

    def _outside(self, mounts: Mounts) -> dict[str, str]:
        """In place of the root that it does not have: folders of this machine."""
        metadata = self.pod()["metadata"]
        temporary = mounts.find("/tmp") or self.folder / "tmp"  # noqa: S108 (the container's)
        temporary.mkdir(parents=True, exist_ok=True)
        variables = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.folder),
            "HOSTNAME": str(metadata["name"]),
            "TMPDIR": str(temporary),
        }
        kubeconfig = self.folder / "kubeconfig"
        if write_kubeconfig(kubeconfig, self.machine.server, mounts, metadata["namespace"]):
            variables["KUBECONFIG"] = str(kubeconfig)
        return variables

    def _arguments(self, spec: Mapping[str, Any], variables: Mapping[str, str], mounts: Mounts) -> list[str]:
        program = self.program
        own = [*(spec.get("command") or ())[len(program.entrypoint) :], *(spec.get("args") or ())]
        given = [*program.defaults, *own]
        named = [resolved(self.machine.api, expand(each, variables)) for each in given]
        rendered = [mounts.translate(self.address.listening(each)) for each in named]
        return [*rendered, *(self._filled(each, spec) for each in program.arguments)]

    def _filled(self, text: str, spec: Mapping[str, Any]) -> str:
        """`{address}`, `{namespace}`, `{weights}`, `{port NAME}` and `{node LABEL}` of data/runnable-images.yaml."""
        before, found, rest = text.partition("{")
        if not found:
            return text
        word, _, after = rest.partition("}")
        kind, _, name = word.partition(" ")
        if kind == "address":
            value = self.address.host
        elif kind == "namespace":
            value = str(self.pod()["metadata"]["namespace"])
        elif kind == "weights":
            value = prefix_of_weights(self.machine.api, self.pod(), spec)
        elif kind == "port":
            if name not in ports_of(spec):
                raise ClusterError(f"container {spec['name']} has no port of the name {name}")
            value = str(self.address.port(ports_of(spec)[name]))
        else:
            node = self.machine.api.get(f"{collection('v1', 'nodes')}/{self.pod()['spec']['nodeName']}")
            value = labels_of(node).get(name, "")
        return before + value + after


def ports_of(spec: Mapping[str, Any]) -> dict[str, int]:
    """Numbers of a container's ports by name."""
    return {port["name"]: port["containerPort"] for port in spec.get("ports") or () if port.get("name")}
