"""What a rehearsal needs of this machine, found out before anything starts."""

import os
import shutil
from pathlib import Path

from drydock.errors import ClusterError, UsageError

_NEEDED_BYTES = 1 << 30
_NEEDED_FILES = 1024


def check_disk(folder: Path) -> None:
    """Find out whether the disk of a folder has room for a rehearsal.

    Raises:
        ClusterError: it has not.
    """
    free = shutil.disk_usage(folder).free
    if free < _NEEDED_BYTES:
        raise ClusterError(
            f"{free / (1 << 20):.0f} MiB are free on the disk of {folder}, a rehearsal needs 1 GiB",
            remedy="Free some space; `drydock doctor` lists how large Drydock's caches are.",
        )


def check_open_files() -> None:
    """Find out whether this user may open enough files.

    Raises:
        ClusterError: too few.
    """
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < _NEEDED_FILES:
        raise ClusterError(
            f"this user may have {most} open files, a rehearsal needs {_NEEDED_FILES}",
            remedy="Raise the hard limit of open files (`ulimit -Hn`).",
        )


def check_port(port: int) -> None:
    """Find out whether a port can be had.

    Raises:
        UsageError: another program has it, or this user may not.
    """
    import socket

    with socket.socket() as listener:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as error:
            raise UsageError(
                f"port {port} of 127.0.0.1 cannot be had: {error.strerror}",
                remedy="Choose another one, or none: then a free port is taken.",
            ) from error
