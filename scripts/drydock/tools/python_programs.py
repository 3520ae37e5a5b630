"""Programs from the package index that do not fit into our own environment: each in one of its own, kept by content."""

import hashlib
import sys
from pathlib import Path

from drydock.errors import ToolchainError, ToolError
from drydock.progress import Progress
from drydock.project import Project
from drydock.tools import process

_FOLDER = Path(__file__).resolve().parents[1] / "data" / "programs"
_SECONDS = 1800


def python_programs() -> tuple[str, ...]:
    """Names of the environments that this package describes, a file of requirements each."""
    return tuple(sorted(file.stem for file in _FOLDER.glob("*.txt")))


def ensure_python(project: Project, name: str, progress: Progress, requirements: Path | None = None) -> Path:
    """The folder of a Python environment, made once for these requirements and this Python.

    Args:
        project: has the cache.
        name: of the environment, and of its folder there.
        progress: shows the installation.
        requirements: what is installed, as pip reads it; by default what data/programs has under that name.

    Raises:
        ToolchainError: it could not be installed.
    """
    from filelock import FileLock

    wanted = requirements or _FOLDER / f"{name}.txt"
    identity = hashlib.sha256(wanted.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = project.cache_dir / name / identity
    done = folder / "installed"
    if done.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with progress.step(f"Install {name}"), FileLock(folder.with_suffix(".lock")):
        if not done.exists():
            options = ["-m", "pip", "install", "--quiet", "--requirement", str(wanted)]
            try:
                process.run([sys.executable, "-m", "venv", "--clear", folder], timeout=_SECONDS)
                process.run([folder / "bin" / "python", *options], timeout=_SECONDS)
            except ToolError as error:
                way = "Python packages come from pip's index: look at the network and at `pip config list`."
                raise ToolchainError(f"installing {name} failed: {error.message}", remedy=way) from error
            done.touch()
    return folder
