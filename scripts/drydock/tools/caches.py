"""What Drydock's caches hold, by purpose, and how to get rid of what nothing uses any more."""

import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from drydock.project import Project
from drydock.tools.build import cached
from drydock.tools.pins import Toolchain
from drydock.tools.store import size_of

_DAY = 24 * 3600
_PURPOSES = {
    "programs": ("tools", "go"),
    "CRDs, schemas and stages": ("crds", "crd-snapshots", "schemas", "kwok-stages"),
    "charts and checks": ("charts", "suite", "environments", "findings", "instance-types", "revisions"),
    "prices and plans": ("karpenter-prices", "plan"),
    "runs": ("runs", "rehearsal"),
    "records of deployments": ("deployments",),
    "programs of tests and benchmarks": ("generators", "litellm"),
}
_OTHER = "other"
_NEVER = ("deployments", "rehearsal", "go")
"""Records of clusters that are up, and what is small or in use by every command."""
_DIRECT = ("generators", "litellm")
"""Folders that are one entry each."""


@dataclass(frozen=True)
class Purpose:
    """What folders of the cache are for; `size` in bytes, names relative to the cache."""

    name: str
    folders: tuple[str, ...]
    size: int


@dataclass(frozen=True)
class Entry:
    """Something that can be removed; `path` is relative to the cache, `size` in bytes."""

    path: str
    size: int


def purposes(project: Project) -> tuple[Purpose, ...]:
    """The folders of the cache that are there, by purpose."""
    there = {folder.name for folder in _folders(project.cache_dir)}
    known = {name for names in _PURPOSES.values() for name in names}
    grouped = {**_PURPOSES, _OTHER: tuple(sorted(there - known))}
    return tuple(
        Purpose(purpose, present, sum(size_of(project.cache_dir / name) for name in present))
        for purpose, names in grouped.items()
        if (present := tuple(name for name in names if name in there))
    )


def prune(project: Project, unused_days: int) -> tuple[Entry, ...]:
    """Remove what is not pinned, in use, or part of a run or deployment that is up, and was not used for so many days.

    Safe beside other commands: each entry is made again by the command that needs it.
    """
    return tuple(_remove(project, path) for path in _unused(project, time.time() - unused_days * _DAY))


def _unused(project: Project, since: float) -> Iterator[Path]:
    pinned = {cached(project, tool).parent for tool in Toolchain.load(project).tools.values()}
    busy = set(_in_use())
    for entry in _entries(project.cache_dir):
        used = any(path.is_relative_to(entry) for path in busy)
        if entry not in pinned and not used and not (entry / "cluster").exists() and _last_use(entry) < since:
            yield entry


def _entries(cache: Path) -> Iterator[Path]:
    for folder in _folders(cache):
        if folder.name in _NEVER:
            continue
        if folder.name in _DIRECT:
            yield folder
        else:
            yield from sorted(each for each in folder.iterdir() if not each.name.startswith("."))


def _in_use() -> Iterator[Path]:
    """Programs and working directories of all processes that this user may look at."""
    for process in psutil.process_iter():
        for question in (process.exe, process.cwd):
            try:
                yield Path(question())
            except (psutil.Error, OSError):
                continue


def _last_use(entry: Path) -> float:
    files: Iterable[Path] = [entry, *entry.rglob("*")] if entry.is_dir() else [entry]
    stats = (file.lstat() for file in files)
    return max(max(stat.st_atime if not _is_folder(stat.st_mode) else 0, stat.st_mtime) for stat in stats)


def _is_folder(mode: int) -> bool:
    from stat import S_ISDIR

    return S_ISDIR(mode)  # listing one counts as reading it


def _remove(project: Project, path: Path) -> Entry:
    size = size_of(path) if path.is_dir() else path.lstat().st_size
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
    return Entry(str(path.relative_to(project.cache_dir)), size)


def _folders(cache: Path) -> list[Path]:
    return sorted(each for each in cache.iterdir() if each.is_dir()) if cache.is_dir() else []
