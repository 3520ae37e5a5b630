"""What a container may do, as its pod says, and how this machine holds its process to that: container_init.py."""

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from drydock.errors import DrydockError

NOT_TRIED = ("seccomp profiles", "limits of CPU and of ephemeral storage")
"""Restrictions of pods that no process of a rehearsal is held to."""
_INIT = Path(__file__).with_name("container_init.py")
_SYSTEM = (
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store", "/etc/ssl", "/etc/pki", "/etc/ca-certificates",
    "/etc/alternatives", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/localtime",
    "/etc/mime.types", "/etc/nsswitch.conf", "/etc/protocols", "/etc/services",
)  # fmt: skip
"""Of this machine's root; users' folders, its credentials and its sockets are not among them."""
_PATHS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_NAMELESS = 65534
_TRIAL_SECONDS = 20


class RefusedUserError(DrydockError):
    """A pod asks that it does not run as root, and runs as root."""


@dataclass(frozen=True)
class Mount:
    """A file or folder of this machine in a container.

    Attributes:
        source: here.
        target: there.
        read_only: for the container.
    """

    source: str
    target: str
    read_only: bool


@dataclass(frozen=True)
class Plan:
    """One process of a container, as container_init.py reads it.

    Attributes:
        command, variables, folder: of the program, `folder` being its working directory.
        host: files and folders of this machine that it may read, at the same path.
        files: of this machine by the path where it reads them.
        mounts: of its pod's volumes.
        root: an empty folder for the container's root.
        read_only: the root itself cannot be written.
        user, group: ids that it runs with.
        hostname: its pod's name.
        parent: the process that starts it, with which it ends.
    """

    command: tuple[str, ...]
    variables: Mapping[str, str]
    folder: str
    host: tuple[str, ...]
    files: Mapping[str, str]
    mounts: tuple[Mount, ...]
    root: str
    read_only: bool
    user: int
    group: int
    hostname: str
    parent: int

    def as_command(self, file: Path) -> list[str]:
        """Write it to a file that only this user reads, and give the command that starts it."""
        file.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as output:
            json.dump(asdict(self), output)
        return [*_python(), "run", str(file)]


def plan(
    pod: Mapping[str, Any],
    container: Mapping[str, Any],
    command: Sequence[str],
    variables: Mapping[str, str],
    mounts: Sequence[Mount],
    needs: Sequence[str],
    folder: Path,
) -> Plan:
    """How a container's process is held.

    Args:
        pod: as the API has it.
        container: of the pod.
        command: of its program.
        variables: of its program.
        mounts: of its volumes.
        needs: files and folders of this machine that the program consists of.
        folder: of the pod on this machine.

    Raises:
        RefusedUserError: it would run as root and asks not to.
    """
    user, group = user_of(pod, container)
    own = folder / "containers" / str(container["name"])
    root = own / f"root-{secrets.token_hex(4)}"
    root.mkdir(parents=True)
    hostname = str(pod["spec"].get("hostname") or pod["metadata"]["name"])[:63]
    return Plan(
        command=tuple(command),
        variables={**_image_variables(command[0], user, hostname), **variables},
        folder=str(container.get("workingDir") or "/"),
        host=(*_SYSTEM, *needs),
        files=_files(own, user, group, hostname),
        mounts=tuple(mounts),
        root=str(root),
        read_only=bool((container.get("securityContext") or {}).get("readOnlyRootFilesystem")),
        user=user,
        group=group,
        hostname=hostname,
        parent=os.getpid(),
    )


def _image_variables(program: str, user: int, hostname: str) -> dict[str, str]:
    """What a container has before its pod's own variables."""
    return {"PATH": f"{Path(program).parent}:{_PATHS}", "HOME": "/" if user else "/root", "HOSTNAME": hostname}


def entering(process: int) -> list[str]:
    """The command that runs another one in a container; the descriptor that this is read from has to follow."""
    return [*_python(), "enter", str(process)]


def is_init(command: Sequence[str]) -> bool:
    """Whether a process still prepares its container, by its command line."""
    return str(_INIT) in command


def user_of(pod: Mapping[str, Any], container: Mapping[str, Any]) -> tuple[int, int]:
    """User and group of a container; one that only asks not to be root gets the user `nobody`, as its image may say.

    Raises:
        RefusedUserError: it asks not to be root, and for the user root.
    """
    of_pod, own = pod["spec"].get("securityContext") or {}, container.get("securityContext") or {}
    wanted = {**of_pod, **own}
    user = wanted.get("runAsUser", _NAMELESS if wanted.get("runAsNonRoot") else 0)
    if wanted.get("runAsNonRoot") and user == 0:
        raise RefusedUserError("container's runAsUser breaks non-root policy")
    return user, wanted.get("runAsGroup", 0)


@cache
def python_folders() -> tuple[str, ...]:
    """What a program of this Python consists of."""
    package = Path(__file__).resolve().parents[3]
    return tuple(dict.fromkeys(str(path) for path in (sys.base_prefix, sys.prefix, package)))


@cache
def unavailable() -> str:
    """Why this machine cannot hold processes as containers are held; empty when it can."""
    if sys.platform != "linux":
        return "this is not Linux"
    folder = Path(tempfile.mkdtemp(prefix="drydock-"))
    try:
        pod = {"spec": {}, "metadata": {"name": "trial"}}
        trial = plan(pod, {"name": "trial"}, ("/bin/sh", "-c", "exit 0"), {}, (), (), folder)
        done = subprocess.run(
            trial.as_command(folder / "plan.json"), capture_output=True, text=True, timeout=_TRIAL_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    said = done.stderr.strip().splitlines()
    return "" if done.returncode == 0 else (said[-1] if said else f"a trial ended with status {done.returncode}")


def _python() -> list[str]:
    return [sys.executable, "-I", "-S", str(_INIT)]


def _files(folder: Path, user: int, group: int, hostname: str) -> dict[str, str]:
    """What a container runtime writes into every container."""
    contents = {
        "passwd": f"root:x:0:0:root:/root:/bin/sh\ncontainer:x:{user or _NAMELESS}:{group}::/:/bin/sh\n",
        "group": f"root:x:0:\ncontainer:x:{group or _NAMELESS}:\n",
        "hostname": f"{hostname}\n",
        "hosts": "127.0.0.1 localhost\n",
    }
    written = {}
    for name, content in contents.items():
        file = folder / "etc" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        written[f"/etc/{name}"] = str(file)
    resolver = Path("/etc/resolv.conf")
    return {**written, str(resolver): str(resolver.resolve())} if resolver.exists() else written
