"""Programs that a supervisor owns: started, recorded, watched, and ended all at once."""

import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

import psutil

from drydock.errors import ClusterError

_LAST_LINES = 15
_SEARCHED_LINES = 300
_TOLD_LINES = 4
_LINE_WIDTH = 600
_TELLING = re.compile(r'^panic: |^fatal error: |"level":"(?:panic|fatal)"|^[EF]\d{4} ')
_CLOCK_SECONDS = 1.0
"""A correction of the system clock moves the creation times that Linux reports, by less than this."""
_REMEDIES = {
    "no space left on device": "The disk is full. `drydock doctor` lists how large Drydock's caches are.",
    "too many open files": "Raise the limit of open files (`ulimit -n 4096`) and try again.",
    "cannot allocate memory": "The machine is out of memory; a rehearsal needs about 2 GB.",
    "address already in use": "Another program took the port meanwhile; try again.",
}


@dataclass(frozen=True)
class ProcessRecord:
    """One process, distinguished from a later one with the same pid by its creation time."""

    name: str
    pid: int
    created: float

    def find(self) -> psutil.Process | None:
        """The process, if it still runs."""
        try:
            process = psutil.Process(self.pid)
            same = (
                abs(process.create_time() - self.created) < _CLOCK_SECONDS and process.status() != psutil.STATUS_ZOMBIE
            )
        except psutil.NoSuchProcess:
            return None
        return process if same else None


def own_record(name: str) -> ProcessRecord:
    """The record of this process."""
    return ProcessRecord(name, os.getpid(), psutil.Process().create_time())


def read_records(file: Path) -> tuple[ProcessRecord, ...]:
    """The processes that a supervisor recorded; none when it came to nothing."""
    try:
        return tuple(ProcessRecord(**load) for load in json.loads(file.read_text()))
    except (OSError, ValueError, TypeError):
        return ()


def write_records(file: Path, records: Sequence[ProcessRecord]) -> None:
    """Replace the file in one step, so that no reader sees half of it."""
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps([asdict(record) for record in records]))
    partial.replace(file)


@dataclass
class Child:
    """A running program.

    Attributes:
        name: the program's.
        process: its handle.
        log: file with all that it wrote.
        expected_end: set before it is ended on purpose.
        on_end: called, from another thread, when it has ended, if its end is another's business than the supervisor's.
    """

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    expected_end: bool = False
    on_end: "Callable[[Child], None] | None" = None

    def end(self) -> None:
        """Kill it and wait until it is gone; what it kept is thrown away with the cluster."""
        self.expected_end = True
        self.kill()
        self.process.wait()

    def kill(self) -> None:
        """Kill it, and what it started if it leads a group of its own."""
        if self.process.poll() is None:
            _kill(self.process.pid)


@dataclass
class Children:
    """The programs of one supervisor.

    Args:
        folder: working directory of them all.
        logs: folder for their logs.
        record: file that lists for `drydock down` what to end should the supervisor itself be killed.
        on_exit: called, from another thread, when one ends by itself.
    """

    folder: Path
    logs: Path
    record: Path
    on_exit: Callable[[Child], None]
    _running: list[Child] = field(default_factory=list)
    _records: list[ProcessRecord] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _closed: bool = False

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> Child:
        """Start a program; its output goes to `logs/NAME.log` and, line by line, to `on_line`.

        Raises:
            ClusterError: it could not be started, or the supervisor is ending.
        """
        log = self.logs / f"{name}.log"
        whole = {**os.environ, **(env or {})}
        with self._adding():
            child = Child(name, _spawn(command, log, self.folder, whole, piped=on_line is not None), log)
            self._add(child)
        threading.Thread(target=self._watch, args=(child, on_line), daemon=True).start()
        return child

    def start_apart(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str],
        folder: Path,
        on_end: Callable[[Child], None],
    ) -> Child:
        """Start a program that gets nothing of this process's environment, and whose end is the caller's business.

        It leads a group of processes, which ends with it.

        Raises:
            ClusterError: it could not be started, or the supervisor is ending.
        """
        log = self.logs / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with self._adding():
            process = _spawn(command, log, folder, env, piped=False, leads=True)
            child = Child(name, process, log, on_end=on_end)
            self._add(child)
        threading.Thread(target=self._watch, args=(child, None), daemon=True).start()
        return child

    def end_all(self) -> None:
        """End every program; none can be started afterwards."""
        with self._lock:
            self._closed = True
            for child in self._running:
                child.expected_end = True
                child.kill()
            for child in self._running:
                child.process.wait()

    @contextmanager
    def _adding(self) -> Iterator[None]:
        with self._lock:
            if self._closed:
                raise ClusterError("the rehearsal cluster is being removed")
            yield

    def _add(self, child: Child) -> None:
        """Record it; what ended by itself is forgotten."""
        created = psutil.Process(child.process.pid).create_time()
        self._running = [item for item in self._running if item.process.returncode is None]
        alive = {item.process.pid for item in self._running}
        self._records = [record for record in self._records if record.pid in alive]
        self._running.append(child)
        self._records.append(ProcessRecord(child.name, child.process.pid, created))
        write_records(self.record, [own_record("supervisor"), *self._records])

    def _watch(self, child: Child, on_line: Callable[[str], None] | None) -> None:
        if on_line and child.process.stdout:
            _copy_lines(child.process.stdout, child.log, on_line)
        child.process.wait()
        if child.on_end:
            with suppress(OSError):  # what it started ends with it, as in a container
                os.killpg(child.process.pid, signal.SIGKILL)
            child.on_end(child)
        elif not child.expected_end:
            self.on_exit(child)


def _spawn(
    command: Sequence[str | Path], log: Path, folder: Path, env: Mapping[str, str], *, piped: bool, leads: bool = False
) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        try:
            return subprocess.Popen(
                [str(part) for part in command],
                cwd=folder,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if piped else output,
                stderr=subprocess.STDOUT,
                start_new_session=leads,
            )
        except OSError as error:
            raise ClusterError(f"cannot start {command[0]}: {error.strerror}") from error


def _kill(pid: int) -> None:
    """Kill a process, or the group that it leads."""
    with suppress(ProcessLookupError, PermissionError):  # it has ended meanwhile
        if os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGKILL)


def _copy_lines(source: IO[bytes], log: Path, on_line: Callable[[str], None]) -> None:
    with log.open("ab", buffering=0) as output:
        for line in source:
            output.write(line)
            on_line(line.decode(errors="replace"))


def last_lines(log: Path, count: int = _LAST_LINES) -> str:
    """The end of a log."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-count:])
    except OSError as error:
        return f"({error.strerror})"


def describe_end(child: Child) -> tuple[str, str]:
    """What to report about a program that ended by itself: (message, remedy)."""
    status = child.process.returncode
    how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
    text = last_lines(child.log, _SEARCHED_LINES)
    return f"{child.name} {how}; its last words ({child.log}):\n{_last_words(text)}", remedy(text)


def _last_words(text: str) -> str:
    """The lines in which a Go program says why it ends, without the stacks around them; else its last lines."""
    lines = text.splitlines()
    telling = [line.partition(',"stacktrace"')[0][:_LINE_WIDTH] for line in lines if _TELLING.search(line)]
    return "\n".join(telling[-_TOLD_LINES:] or lines[-_LAST_LINES:])


def remedy(text: str) -> str:
    """The remedy for a failure that a program reported in its own words; empty when unknown."""
    lowered = text.lower()
    return next((way for sign, way in _REMEDIES.items() if sign in lowered), "")


def end_recorded(records: Sequence[ProcessRecord], *, seconds: float = 10) -> Iterator[ProcessRecord]:
    """Kill the recorded processes that still run, and yield each that did."""
    running = [(record, process) for record in records if (process := record.find())]
    for _, process in running:
        _kill(process.pid)
    psutil.wait_procs([process for _, process in running], timeout=seconds)
    yield from (record for record, _ in running)
