"""Starts one program as a container would be: in namespaces of its own, with a root of its own and no capabilities.

A script of the standard library alone, run by its path in a Python that has no other thread (`python -I -S`):

    container_init.py run PLAN      PLAN is a file of JSON, see `isolation.Plan`; it is removed once it was read
    container_init.py enter PID FD  the command, its variables and its folder come as JSON from a file descriptor

Linux 5.12 or later, with user namespaces for this user. It ends as the program does; with 128 when nothing was started.
"""

import ctypes
import fcntl
import json
import os
import signal
import struct
import sys
import termios
from pathlib import Path
from typing import Any, NoReturn

SETUP_FAILED = 128
_NAMESPACES = {"user": 0x10000000, "mnt": 0x00020000, "pid": 0x20000000, "ipc": 0x08000000, "uts": 0x04000000}
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_BIND, _MS_REC, _MS_PRIVATE = 2, 4, 8, 4096, 16384, 1 << 18
_MNT_DETACH = 2
_MOUNT_SETATTR, _AT_FDCWD, _AT_RECURSIVE, _ATTR_RDONLY = 442, -100, 0x8000, 1
_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 24, 38
_PROC_READ_ONLY = ("bus", "fs", "irq", "sys", "sysrq-trigger")
_DEVICES = ("null", "zero", "full", "random", "urandom")
_LINKS = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}
_SHARED_FOLDERS = ("tmp", "var/tmp")
_FOLDERS = (*_SHARED_FOLDERS, "home", "mnt", "opt", "root", "run", "srv", "var/cache", "var/lib", "var/log", "var/run")
"""That every image has; what is written there is lost with the container, or refused where its root is read-only."""
_LIBC = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: Any) -> None:
    if getattr(_LIBC, name)(*arguments) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)


def _mount(source: str, target: Path, kind: str, flags: int, options: str = "") -> None:
    _call("mount", source.encode(), str(target).encode(), kind.encode(), ctypes.c_ulong(flags), options.encode())


def _read_only(path: Path, *, below: bool) -> None:
    """A mount, and those below it, whatever other flags they have."""
    attributes, flags = struct.pack("QQQQ", _ATTR_RDONLY, 0, 0, 0), _AT_RECURSIVE if below else 0
    arguments = (_AT_FDCWD, str(path).encode(), flags, attributes, ctypes.c_size_t(len(attributes)))
    _call("syscall", ctypes.c_long(_MOUNT_SETATTR), *arguments)


def _bind(source: Path, target: Path, *, read_only: bool) -> None:
    if source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
    elif not os.path.lexists(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    _mount(str(source), target, "", _MS_BIND | _MS_REC)
    if read_only:
        _read_only(target, below=True)


class Root:
    """The root of a container: parts of this machine to read, and what the pod mounts."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.folder = Path(plan["root"])
        self.plan = plan
        self.targets = [Path(mount["target"]) for mount in plan["mounts"]] + [Path(name) for name in plan["files"]]

    def make(self) -> None:
        """Mount it all, for this process alone."""
        _mount("", Path("/"), "", _MS_REC | _MS_PRIVATE)
        _mount("tmpfs", self.folder, "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=755")
        for path in self.plan["host"]:
            self._expose(Path(path))
        self._devices()
        for name in _FOLDERS:
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        for name in _SHARED_FOLDERS:
            (self.folder / name).chmod(0o1777)
        for name, source in self.plan["files"].items():
            _bind(Path(source), self.folder / name.lstrip("/"), read_only=True)
        for mount in sorted(self.plan["mounts"], key=lambda each: each["target"].count("/")):
            _bind(Path(mount["source"]), self.folder / mount["target"].lstrip("/"), read_only=mount["read_only"])

    def enter(self) -> None:
        """Make it the root of this process."""
        os.chdir(self.folder)
        _call("pivot_root", b".", b".")
        _call("umount2", b".", _MNT_DETACH)
        os.chdir("/")
        if self.plan["read_only"]:
            _read_only(Path("/"), below=False)

    def _expose(self, path: Path) -> None:
        """Show a part of this machine, leaving room for what is mounted in it."""
        here = self.folder / str(path).lstrip("/")
        if path.is_symlink():
            here.parent.mkdir(parents=True, exist_ok=True)
            if not os.path.lexists(here):
                here.symlink_to(path.readlink())
        elif any(path in target.parents for target in self.targets) and path.is_dir():
            here.mkdir(parents=True, exist_ok=True)
            for entry in path.iterdir():
                self._expose(entry)
        elif path.exists() and path not in self.targets and not _mounted_within(here, self.folder):
            _bind(path, here, read_only=True)

    def _devices(self) -> None:
        folder = self.folder / "dev"
        folder.mkdir()
        for name in _DEVICES:
            _bind(Path("/dev", name), folder / name, read_only=True)  # its node; the device itself can be written
        for name, target in _LINKS.items():
            (folder / name).symlink_to(target)
        (folder / "shm").mkdir()
        _mount("tmpfs", folder / "shm", "tmpfs", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC, "mode=1777,size=64m")
        proc = self.folder / "proc"
        proc.mkdir()
        _mount("proc", proc, "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
        for name in _PROC_READ_ONLY:
            if (proc / name).exists():
                _bind(proc / name, proc / name, read_only=True)


def _mounted_within(path: Path, root: Path) -> bool:
    """Whether a folder of the new root comes from this machine already."""
    for parent in (path, *path.parents):
        if parent == root:
            return False
        if parent.exists():
            return parent.stat().st_dev != root.stat().st_dev
    return False


def _drop_rights() -> None:
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    for capability in range(last + 1):
        _call("prctl", _PR_CAPBSET_DROP, capability, 0, 0, 0)
    _call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    os.umask(0o022)


def _execute(command: list[str], variables: dict[str, str]) -> NoReturn:
    try:
        os.execvpe(command[0], command, variables)  # noqa: S606 (no shell)
    except OSError as error:
        _fail(f"cannot start {command[0]}: {error.strerror}")


def _fail(message: str) -> NoReturn:
    print(message, file=sys.stderr, flush=True)
    os._exit(SETUP_FAILED)


def _follow(child: int) -> NoReturn:
    """Pass signals on to a child, and end as it does."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, lambda received, _: os.kill(child, received))
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)


def run(file: str) -> NoReturn:
    """Start what a plan says."""
    plan = json.loads(Path(file).read_text())
    Path(file).unlink()
    _call("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != plan["parent"]:
        os._exit(SETUP_FAILED)
    user, group = os.getuid(), os.getgid()
    flags = 0
    for flag in _NAMESPACES.values():
        flags |= flag
    try:
        _call("unshare", flags)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{plan['user']} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{plan['group']} {group} 1")
        child = os.fork()
    except OSError as error:
        _fail(f"cannot make namespaces: {error}")
    if child:
        _follow(child)
    try:
        _call("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        _call("sethostname", plan["hostname"].encode(), len(plan["hostname"].encode()))
        root = Root(plan)
        root.make()
        root.enter()
        _drop_rights()
        os.chdir(plan["folder"])
    except OSError as error:
        _fail(f"cannot prepare the container: {error}")
    _execute(plan["command"], plan["variables"])


def enter(process: str, descriptor: str) -> NoReturn:
    """Run a command where another one runs."""
    with os.fdopen(int(descriptor), "rb") as source:
        asked = json.load(source)
    try:
        entered = [os.open(f"/proc/{process}/ns/{name}", os.O_RDONLY) for name in _NAMESPACES]
        for namespace in entered:
            _call("setns", namespace, 0)
        child = os.fork()
    except OSError as error:
        _fail(f"cannot enter the container: {error}")
    if child:
        _follow(child)
    try:
        _call("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if asked["terminal"]:
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 1)
        _drop_rights()
        os.chdir(asked["folder"])
    except OSError as error:
        _fail(f"cannot enter the container: {error}")
    _execute(asked["command"], asked["variables"])


if __name__ == "__main__":
    if sys.argv[1] == "run":
        run(sys.argv[2])
    enter(*sys.argv[2:])
