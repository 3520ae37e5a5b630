"""Whose a run is, what it is doing, and which commands use it: what `down` goes by.

`run.json` in the run's folder is written by the command that started it, and outlives the cluster. `cluster/users/`
has a file for each command that uses the cluster at the moment; one that was killed is recognised by its pid and
creation time.
"""

import getpass
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import psutil

from drydock.rehearsal.children import ProcessRecord

Kind = Literal["rehearsal", "deployment", "test"]
Doing = Literal[
    "starting", "installing", "kept", "deploying", "deployed", "failed", "ending", "left by a killed command"
]
_LONGEST_LINE = 200


@dataclass(frozen=True)
class Command:
    """A command that runs or ran on this machine.

    Attributes:
        user: who called it.
        line: how it was called, shortened.
        pid, created: its process; `created` is Unix time.
    """

    user: str
    line: str
    pid: int
    created: float

    @classmethod
    def current(cls) -> "Command":
        """This process."""
        program = Path(sys.argv[0])
        name = program.parent.name if program.name == "__main__.py" else program.name
        line = " ".join([name, *sys.argv[1:]])[:_LONGEST_LINE]
        return cls(_user(), line, os.getpid(), psutil.Process().create_time())

    @property
    def runs(self) -> bool:
        """Whether it still runs."""
        return ProcessRecord("command", self.pid, self.created).find() is not None

    def __str__(self) -> str:
        return f"`{self.line}` (user {self.user}, pid {self.pid})"


@dataclass(frozen=True)
class RunState:
    """What `run.json` says.

    Attributes:
        kind: what the cluster is for.
        owner: the command that started it.
        doing: as that command said last.
        deployment: name of the deployment that it belongs to; else empty.
        ended_by: the command that asked it to end, if one did.
        failure, remedy: why the cluster is lost, and what to do; else empty.
    """

    kind: Kind
    owner: Command
    doing: Doing
    deployment: str = ""
    ended_by: Command | None = None
    failure: str = ""
    remedy: str = ""

    def write(self, folder: Path) -> None:
        """Replace the file of a run's folder in one step."""
        partial = folder / f"run.{os.getpid()}.partial"
        partial.write_text(json.dumps({**asdict(self), "written": time.time()}, indent=1))
        partial.replace(folder / "run.json")

    @classmethod
    def read(cls, folder: Path) -> "RunState | None":
        """What was written; None for a run that another version of Drydock started."""
        try:
            content = json.loads((folder / "run.json").read_text())
            return cls(
                kind=content["kind"],
                owner=Command(**content["owner"]),
                doing=content["doing"],
                deployment=content["deployment"],
                ended_by=Command(**content["ended_by"]) if content["ended_by"] else None,
                failure=content["failure"],
                remedy=content["remedy"],
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None


def change(folder: Path, **changes: Any) -> None:
    """Write down what is different about a run from now on, by the names of `RunState`; nothing happens without one."""
    if state := RunState.read(folder):
        replace(state, **changes).write(folder)


@contextmanager
def registered(users: Path) -> Iterator[None]:
    """Be among the users of a cluster, whose files lie in this folder, for the block."""
    command = Command.current()
    users.mkdir(exist_ok=True, mode=0o700)
    file = users / f"{command.pid}.json"
    file.write_text(json.dumps(asdict(command)))
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def users_in(folder: Path) -> tuple[Command, ...]:
    """The commands that use a cluster at the moment."""
    return tuple(command for command in _commands(folder) if command.runs)


def _commands(folder: Path) -> Iterator[Command]:
    for file in sorted(folder.glob("*.json")):
        try:
            yield Command(**json.loads(file.read_text()))
        except (OSError, ValueError, TypeError):  # being written, or gone by now
            continue


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # without an entry in the list of users
        return str(os.getuid())
