"""One container of a pod that runs: its process, restarted as the pod says, its probes and its hooks."""

import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from drydock.clusters.objects import BACK_OFF
from drydock.clusters.watching import in_background
from drydock.errors import DrydockError
from drydock.rehearsal.children import Child, last_lines
from drydock.rehearsal.kubelet.isolation import RefusedUserError
from drydock.rehearsal.kubelet.probes import Handler, Probe
from drydock.rehearsal.kubelet.references import MissingReferenceError

_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0
_FORGIVEN_SECONDS = 60.0
"""A tenth of the kubelet's back-off: 10 s, doubled up to 300 s, and forgotten after a run of 10 minutes."""
_HOOK_SECONDS = 60.0
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
    """Runs one container until it must end or has nothing left to do.

    Args:
        spec: as in the pod.
        policy: `Always`, `OnFailure` or `Never`: when its process is restarted.
        grace: seconds that the pod has to end.
        start: starts the process; called for each start, with what to call when it ends.
        handler: makes what a probe or a hook does.
        changed: called after every change of `state`.
        warn: called with the reason and the message of what goes wrong.
    """

    spec: Mapping[str, Any]
    policy: str
    grace: float
    start: Callable[[Mapping[str, Any], Callable[[Child], None]], Child]
    handler: Callable[[Mapping[str, Any], Mapping[str, Any]], Handler]
    changed: Callable[[], None]
    warn: Callable[[str, str], None]
    state: State = field(default_factory=State)
    _child: Child | None = None
    _killed_for: str = ""
    _begun: bool = False
    _ending: threading.Event = field(default_factory=threading.Event)
    _exited: threading.Event = field(default_factory=threading.Event)
    _settled: threading.Event = field(default_factory=threading.Event)
    _over: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def pid(self) -> int:
        """Of its process; 0 while there is none."""
        return self._child.process.pid if self._child and not self._exited.is_set() else 0

    def run(self) -> None:
        """Until it is over; the body of a thread."""
        self._begun, pause = True, 0.0
        while not self._ending.is_set():
            end = self._once()
            last = self._ending.is_set() or self.policy == "Never"
            if end and (last or (self.policy == "OnFailure" and not end.status)):
                self._tell(running=None, ended=end, ready=False, started=False)
                break
            if end:
                pause = 0.0 if end.ended - end.began > _FORGIVEN_SECONDS else pause
                why = f"{end.reason}; " if end.reason else ""
                reason = (BACK_OFF, f"back-off {pause:.0f}s; {why}its last words: {end.last}")
                restarts = self.state.restarts + 1
                self._tell(running=None, waiting=reason, last=end, ready=False, started=False, restarts=restarts)
            self._ending.wait(pause if end else _FIRST_PAUSE_SECONDS)
            if end:
                pause = min(max(pause * 2, _FIRST_PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS)
        self.give_up()

    def give_up(self) -> None:
        """Never start it again."""
        self._ending.set()
        self._over.set()
        self._settled.set()

    def await_started(self) -> None:
        """Return once its startup probe has succeeded, or it is over."""
        self._settled.wait()

    def await_over(self) -> End | None:
        """How it ended, once it is not started again."""
        self._over.wait()
        return self.state.ended

    def kill_for_memory(self) -> None:
        """Kill the process, which takes more memory than its limit."""
        if self.pid and self._child:
            self._killed_for = OOM_KILLED
            self._child.kill()

    def kill(self) -> None:
        """Kill the process without further ado, and never start it again."""
        self._ending.set()
        if self.pid and self._child:
            self._child.kill()

    def end(self, seconds: float) -> None:
        """Run the hook before the stop, ask the process to end, and kill it when `seconds` are over for both."""
        self._ending.set()
        if not self._begun:
            self.give_up()
        self._stop(seconds)
        self._over.wait()

    def _stop(self, seconds: float) -> None:
        child = self._child
        if child is None or self._exited.is_set():
            return
        exited, began = self._exited, time.monotonic()
        hook = (self.spec.get("lifecycle") or {}).get("preStop")
        if hook and seconds:
            self._run_hook(hook, seconds, exited)
        child.process.terminate()
        if not exited.wait(max(0.0, seconds - (time.monotonic() - began))):
            child.kill()

    def _run_hook(self, hook: Mapping[str, Any], seconds: float, exited: threading.Event) -> str:
        if "sleep" in hook:
            exited.wait(min(float(hook["sleep"]["seconds"]), seconds))
            return ""
        return self.handler(self.spec, hook).run(seconds)

    def _once(self) -> End | None:
        """One life of the process; None when it could not be started yet."""
        began = time.time()
        self._exited = exited = threading.Event()
        self._killed_for = ""
        try:
            self._child = child = self.start(self.spec, lambda _: exited.set())
        except (MissingReferenceError, RefusedUserError) as error:
            self._tell(waiting=("CreateContainerConfigError", error.message))
            return None
        except DrydockError as error:
            self._tell(waiting=("RunContainerError", error.message))
            return None
        if self._ending.is_set():  # deleted while it was being started
            child.kill()
        in_background(self._attend, exited, began)
        exited.wait()
        return self._end_of(child, began)

    def _attend(self, exited: threading.Event, began: float) -> None:
        """The hook after the start, then the probes of one life of the process."""
        hook = (self.spec.get("lifecycle") or {}).get("postStart")
        if hook and (why := self._run_hook(hook, _HOOK_SECONDS, exited)):
            self._kill(f"postStart hook failed: {why}", self.grace, exited)
            return
        self._tell_of(exited, running=began)
        startup, readiness, liveness = (self._probe(f"{name}Probe") for name in ("startup", "readiness", "liveness"))
        if startup and (why := startup.await_success(exited)):
            self._kill(why, startup.grace(self.grace), exited)
            return
        self._tell_of(exited, started=True, ready=readiness is None)
        if not exited.is_set():
            self._settled.set()
        if readiness:
            in_background(readiness.follow, exited, lambda ready: self._tell_of(exited, ready=ready))
        if liveness and (why := liveness.await_failure(exited)):
            self._kill(why, liveness.grace(self.grace), exited)

    def _probe(self, name: str) -> Probe | None:
        content = self.spec.get(name)
        return Probe(content, self.handler(self.spec, content)) if content else None

    def _kill(self, why: str, grace: float, exited: threading.Event) -> None:
        """End this life of the process; the next begins as the policy says."""
        if not exited.is_set() and not self._ending.is_set():
            self._killed_for = why
            self.warn("Unhealthy", f"container {self.spec['name']}: {why}")
            self._stop(grace)

    def _end_of(self, child: Child, began: float) -> End:
        last = last_lines(child.log, _TOLD_LINES)
        if self._killed_for == OOM_KILLED:
            return End(_KILLED, began, time.time(), last, OOM_KILLED)
        return End(child.process.returncode, began, time.time(), last, self._killed_for or refused_write(last))

    def _tell_of(self, exited: threading.Event, **changes: Any) -> None:
        """Report what holds for one life of the process, unless that is over."""
        with self._lock:
            if not exited.is_set():
                self._change(changes)

    def _tell(self, **changes: Any) -> None:
        with self._lock:
            self._change(changes)

    def _change(self, changes: Mapping[str, Any]) -> None:
        for name, value in changes.items():
            setattr(self.state, name, value)
        self.changed()


def refused_write(log: str) -> str:
    """Which file a program could not write, by the end of its log; empty where that names none."""
    found = next((match for pattern in _REFUSED_WRITE for match in pattern.finditer(log)), None)
    return (
        f"{found[1]} cannot be written: the root is read-only, and no writable volume is mounted there" if found else ""
    )
