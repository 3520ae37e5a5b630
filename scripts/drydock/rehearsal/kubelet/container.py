"""One container of a pod that runs: its process, started again as the pod says, and its probes."""

import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from drydock.clusters.objects import BACK_OFF
from drydock.errors import DrydockError
from drydock.rehearsal.children import Child, last_lines
from drydock.rehearsal.kubelet.isolation import RefusedUserError
from drydock.rehearsal.kubelet.probes import Probe
from drydock.rehearsal.kubelet.references import MissingReferenceError

_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0
_TOLD_LINES = 5

_KILLED = 137
OOM_KILLED = "OOMKilled"
_REFUSED_WRITE = (
    re.compile(r"Read-only file system: '?(/[^\s':]+)"),
    re.compile(r"(/[^\s':]+)'?: [Rr]ead-only file system"),
)
"""As Python writes it; and C, Go and shells."""


@dataclass(frozen=True)
class End:
    """How a process ended; `last` has the end of its log, `reason` is empty where the status says it all."""

    status: int
    began: float
    ended: float
    last: str
    reason: str = ""


@dataclass
class State:
    """What the pod's status says of a container; times are Unix time."""

    running: float | None = None
    waiting: tuple[str, str] = ("ContainerCreating", "")
    ended: End | None = None
    last: End | None = None
    restarts: int = 0
    ready: bool = False
    started: bool = False


@dataclass
class Container:
    """Runs one container until it is told to end or has nothing left to do.

    Args:
        spec: as in the pod.
        policy: the pod's restart policy.
        start: starts the process; called anew for each start, and with what to call when it ends.
        probe: makes a probe of the pod; None where the container has none of that name.
        execute: runs a command beside the process, within so many seconds.
        changed: told after every change of `state`.
    """

    spec: Mapping[str, Any]
    policy: str
    start: Callable[[Mapping[str, Any], Callable[[Child], None]], Child]
    probe: Callable[[Mapping[str, Any], str], Probe | None]
    execute: Callable[[Sequence[str], float], bool]
    changed: Callable[[], None]
    state: State = field(default_factory=State)
    _child: Child | None = None
    _out_of_memory: bool = False
    _ending: threading.Event = field(default_factory=threading.Event)
    _exited: threading.Event = field(default_factory=threading.Event)
    _over: threading.Event = field(default_factory=threading.Event)

    @property
    def pid(self) -> int:
        """Of its process; 0 while there is none."""
        return self._child.process.pid if self._child and not self._exited.is_set() else 0

    def run(self) -> None:
        """Until it is over; the body of a thread."""
        pause = _FIRST_PAUSE_SECONDS
        while not self._ending.is_set():
            end = self._once()
            if end and (self.policy == "Never" or (self.policy == "OnFailure" and not end.status)):
                self._tell(running=None, ended=end, ready=False, started=False)
                break
            if end and not self._ending.is_set():
                why = f"{end.reason}; " if end.reason else ""
                reason = (BACK_OFF, f"back-off {pause:.0f}s; {why}its last words: {end.last}")
                restarts = self.state.restarts + 1
                self._tell(running=None, waiting=reason, last=end, ready=False, started=False, restarts=restarts)
            self._ending.wait(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS) if end else _FIRST_PAUSE_SECONDS
        self._over.set()

    def kill_for_memory(self) -> None:
        """Kill the process, which takes more memory than its limit."""
        if self.pid and self._child:
            self._out_of_memory = True
            self._child.kill()

    def end(self, seconds: float) -> None:
        """Run the hook before the stop, ask the process to end, and kill it when `seconds` are over for both."""
        self._ending.set()
        if self._child and not self._exited.is_set():
            began = time.monotonic()
            self._before_stop(seconds)
            self._child.process.terminate()
            if not self._exited.wait(max(0.0, seconds - (time.monotonic() - began))):
                self._child.kill()
        self._over.wait()

    def _before_stop(self, seconds: float) -> None:
        hook = (self.spec.get("lifecycle") or {}).get("preStop") or {}
        if seconds and "sleep" in hook:
            self._exited.wait(min(float(hook["sleep"]["seconds"]), seconds))
        elif seconds and "exec" in hook:
            self.execute(hook["exec"]["command"], seconds)

    def _once(self) -> End | None:
        """One life of the process; None when it could not be started yet."""
        began = time.time()
        self._exited.clear()
        try:
            self._child = child = self.start(self.spec, lambda _: self._exited.set())
        except (MissingReferenceError, RefusedUserError) as error:
            self._tell(waiting=("CreateContainerConfigError", error.message))
            return None
        except DrydockError as error:
            self._tell(waiting=("RunContainerError", error.message))
            return None
        if self._ending.is_set():  # deleted while it was being started
            child.kill()
        self._tell(running=began, started=not self.spec.get("startupProbe"))
        for name in ("startupProbe", "readinessProbe"):
            probe = self.probe(self.spec, name)
            if probe and not self._follow(probe, name):
                break
            if name == "startupProbe":
                self._tell(started=True)
            elif probe is None:
                self._tell(ready=True)
        self._exited.wait()
        return self._end_of(child, began)

    def _end_of(self, child: Child, began: float) -> End:
        last = last_lines(child.log, _TOLD_LINES)
        killed, self._out_of_memory = self._out_of_memory, False
        if killed:
            return End(_KILLED, began, time.time(), last, OOM_KILLED)
        return End(child.process.returncode, began, time.time(), last, refused_write(last))

    def _follow(self, probe: Probe, name: str) -> bool:
        """Ask until a startup probe succeeds (True), or for as long as the process lives (False)."""
        since, succeeded, failures = time.monotonic(), False, 0
        while not self._exited.wait(probe.pause(succeeded=succeeded)):
            succeeded = probe.ask()
            failures = 0 if succeeded else failures + 1
            if name == "startupProbe":
                if succeeded:
                    return True
                if time.monotonic() - since > probe.patience and self._child:
                    self._child.kill()
                continue
            ready = succeeded or (self.state.ready and failures < probe.threshold)
            if ready != self.state.ready:
                self._tell(ready=ready)
        return False

    def _tell(self, **changes: Any) -> None:
        for name, value in changes.items():
            setattr(self.state, name, value)
        self.changed()


def refused_write(log: str) -> str:
    """Which file a program could not write, by the end of its log; empty where that names none."""
    found = next((match for pattern in _REFUSED_WRITE for match in pattern.finditer(log)), None)
    return (
        f"{found[1]} cannot be written: the root is read-only, and no writable volume is mounted there" if found else ""
    )
