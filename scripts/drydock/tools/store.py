"""Folders of the cache that are there whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from drydock.progress import Step

_SCRATCH = "partial-"


@contextmanager
def locked(folder: Path, step: Step | None = None) -> Iterator[None]:
    """Be the only one that adds to a folder of the cache; waits while another process or thread is.

    The kernel frees the lock of a process that ends, however it ends; the lock file itself means nothing.

    Args:
        folder: made when missing.
        step: shows what is waited for.
    """
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        if step:
            step.detail("waiting for another drydock that does the same")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """A folder beside the finished ones to work in, gone afterwards; call it with the lock held.

    What a killed process left behind is removed first.
    """
    from tempfile import mkdtemp

    for left in folder.glob(f"{_SCRATCH}*"):
        remove(left)
    partial = Path(mkdtemp(prefix=_SCRATCH, dir=folder))
    try:
        yield partial
    finally:
        remove(partial)


@contextmanager
def filling(target: Path, step: Step | None = None) -> Iterator[Path | None]:
    """A folder to fill, which becomes `target` in one step when the block ends well; None when it is there by then."""
    with locked(target.parent, step):
        if target.is_dir():
            yield None
            return
        with scratch(target.parent) as partial:
            folder = partial / target.name
            folder.mkdir()
            yield folder
            folder.rename(target)


def remove(folder: Path) -> None:
    """Remove a folder, also one with read-only folders in it or to which an ending process still writes."""
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        for path, _, _ in os.walk(folder):
            Path(path).chmod(0o700)
        shutil.rmtree(folder, ignore_errors=True)


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder; 0 when it is not there."""
    total, left = 0, [str(folder)] if folder.is_dir() else []
    while left:
        with os.scandir(left.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    left.append(entry.path)
                else:
                    total += entry.stat(follow_symlinks=False).st_size
    return total
