"""The process that owns one rehearsal cluster: `python -m drydock.rehearsal.supervisor RUN_FOLDER`.

It is tied to the command that started it by its standard input. When that closes without a word, by Ctrl-C or because
the command was killed, it ends every program and removes the cluster. After `keep` it lives on until `drydock down`.

Lines on standard input: `{"do": "seed", "seed": ...}`, `{"do": "hold", "number": ...}`, `{"do": "release"}`,
`{"do": "take crds"}`, `{"do": "keep"}`, `{"do": "stop"}`.
Lines on standard output: events, see `drydock.rehearsal.events`.
"""

import os
import queue
import resource
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from drydock.errors import DrydockError
from drydock.rehearsal import events
from drydock.rehearsal.bringup import BringUp
from drydock.rehearsal.children import Child, Children, describe_end, own_record, write_records
from drydock.rehearsal.runs import Order, RunFolder
from drydock.rehearsal.seeding import Seed
from drydock.rehearsal.state import RunState, change

_OPEN_FILES = 8192


class Supervisor:
    """Runs the cluster of one folder until it is asked to end it."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._outlet = events.Outlet(sys.stdout)
        self._children = Children(folder.cluster, folder.logs, folder.processes, on_exit=self._on_child_exit)
        self._bring_up = BringUp(folder, Order.read(folder.order), self._children, self._outlet, self._on_failure)
        self._ended = False

    def run(self) -> None:
        """Live until the command, `down` or a failure ends it."""
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda received, _: self._inbox.put(lambda: self._end_asked(received)))
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        threading.excepthook = self._on_crash
        write_records(self._folder.processes, [own_record("supervisor")])
        threading.Thread(target=self._listen, daemon=True).start()
        threading.Thread(target=self._work, daemon=True).start()
        while not self._ended:
            self._inbox.get()()
        self._children.end_all()
        shutil.rmtree(self._folder.cluster, ignore_errors=True)

    def _end(self) -> None:
        self._ended = True

    def _end_asked(self, number: int) -> None:
        """By a signal: say who sent it, for commands that use the cluster."""
        state = RunState.read(self._folder.path)
        by = f"removed by {state.ended_by}" if state and state.ended_by else f"ended by {signal.Signals(number).name}"
        print(by, file=sys.stderr, flush=True)
        self._end()

    def _end_unwatched(self) -> None:
        print("ended with the command that started it", file=sys.stderr, flush=True)
        self._end()

    def _listen(self) -> None:
        """Take the command's lines; the end of them means that it is gone."""
        for line in sys.stdin:
            message = events.read_message(line)
            if message["do"] == "seed":
                self._bring_up.seed(Seed.from_json(message["seed"]))
            elif message["do"] == "hold":
                self._bring_up.hold(message["number"])
            elif message["do"] == "release":
                self._bring_up.release()
            elif message["do"] == "take crds":
                self._bring_up.take_crds()
            elif message["do"] == "keep":
                self._keep()
            else:
                break
        if not self._folder.kept.exists():
            self._inbox.put(self._end_unwatched)

    def _keep(self) -> None:
        self._folder.kept.touch()
        state = RunState.read(self._folder.path)
        if state and state.kind != "deployment":  # that says itself what it does
            change(self._folder.path, doing="kept")
        self._outlet.tell(events.Kept())

    def _work(self) -> None:
        try:
            self._bring_up.run()
        except DrydockError as error:
            self._fail(error.message, error.remedy)
        except OSError as error:
            self._fail(f"the rehearsal cluster could not start: {error}", _disk_remedy(error))

    def _on_crash(self, crash: threading.ExceptHookArgs) -> None:
        """A fault of Drydock's own must not leave a cluster that never becomes ready."""
        sys.excepthook(crash.exc_type, crash.exc_value or crash.exc_type(), crash.exc_traceback)
        log = self._folder.logs / "supervisor.log"
        self._fail(f"the cluster's supervisor failed: {crash.exc_value!r}", f"Please report it with {log}.")

    def _on_failure(self, error: Exception) -> None:
        if isinstance(error, DrydockError):
            self._fail(error.message, error.remedy)
        else:
            threading.excepthook(threading.ExceptHookArgs((type(error), error, error.__traceback__, None)))

    def _on_child_exit(self, child: Child) -> None:
        if not self._bring_up.may_end(child):
            self._fail(*describe_end(child))

    def _fail(self, message: str, remedy: str) -> None:
        if self._ended:  # what fails now does so because the cluster goes
            return
        print(message, file=sys.stderr, flush=True)
        change(self._folder.path, doing="failed", failure=message, remedy=remedy)
        self._outlet.tell(events.Failed(message, remedy))
        if not self._folder.kept.exists():
            self._inbox.put(self._end)


def _disk_remedy(error: OSError) -> str:
    import errno

    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return "The disk is full. `drydock doctor` lists how large Drydock's caches are." if full else ""


def _raise_open_files() -> None:
    """As many open files as this user may have, up to what a cluster can need; macOS starts with 256."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def main() -> None:
    """Supervise the cluster of the folder named on the command line, then end without waiting for any thread."""
    _raise_open_files()
    os.umask(0o077)  # its programs' sockets and files are this user's alone
    folder = RunFolder(Path(sys.argv[1]).resolve())
    os.chdir(folder.cluster)  # its programs' sockets have relative names there
    Supervisor(folder).run()
    os._exit(0)


if __name__ == "__main__":
    main()
