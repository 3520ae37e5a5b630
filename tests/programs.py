"""Programs from the package index that do not fit into our own environment."""

import hashlib
import subprocess
import sys
from pathlib import Path

from filelock import FileLock

from drydock.project import Project


def installed(project: Project, name: str, requirements: Path, timeout: int) -> Path:
    """The folder of programs of an environment of their own in the cache, made once for these requirements.

    Args:
        project: has the cache.
        name: of the folder there.
        requirements: what is installed, as pip reads it.
        timeout: seconds that the installation may take.
    """
    identity = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = project.cache_dir / name / identity
    done = folder / "installed"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not done.exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True, timeout=600)
            install = ["-m", "pip", "install", "--quiet", "--requirement", str(requirements)]
            subprocess.run([str(folder / "bin/python"), *install], check=True, timeout=timeout)
            done.touch()
    return folder / "bin"
