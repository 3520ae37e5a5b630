"""A program for containers: tries what its pod does not allow, and prints as JSON what came of each attempt."""

import ctypes
import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path


def attempt(act: Callable[[], object]) -> str:
    try:
        return f"done: {act()}"
    except OSError as error:
        return str(error)


def mount() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"none", sys.argv[1].encode(), b"tmpfs", 0, None) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def main() -> None:
    writable, read_only, secret = sys.argv[1:]
    attempts: dict[str, Callable[[], object]] = {
        "write in the mount": lambda: Path(writable, "new").write_text("x"),
        "write in a ConfigMap": lambda: Path(read_only, "new").write_text("x"),
        "write in /tmp": lambda: Path("/tmp/new").write_text("x"),
        "write in /": lambda: Path("/new").write_text("x"),
        "write in /usr": lambda: Path("/usr/new").write_text("x"),
        "read another's file": lambda: Path(secret).read_text(),
        "read a token": lambda: Path("/var/run/secrets/kubernetes.io/serviceaccount/token").read_text(),
        "change the kernel": lambda: Path("/proc/sys/kernel/printk").write_text("1"),
        "mount": mount,
        "become root": lambda: os.setuid(0),
        "see other processes": lambda: sorted(
            int(each.name) for each in Path("/proc").iterdir() if each.name.isdigit()
        ),
        "enter by a process": lambda: list(Path("/proc/2/root").iterdir()),
    }
    outcome: dict[str, object] = {name: attempt(act) for name, act in attempts.items()}
    status = Path("/proc/self/status").read_text().splitlines()
    facts = {line.split(":")[0]: line.split(":")[1].strip() for line in status}
    print(
        json.dumps(
            {
                **outcome,
                "ids": [os.getuid(), os.getgid()],
                "capabilities": [facts[name] for name in ("CapPrm", "CapEff", "CapBnd")],
                "environment": dict(os.environ),
                "hostname": socket.gethostname(),
                "folder": str(Path.cwd()),
            }
        )
    )


if __name__ == "__main__":
    main()
