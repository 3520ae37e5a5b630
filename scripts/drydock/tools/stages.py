"""KWOK's stages for nodes and pods, from its module."""

import hashlib
import shutil
from pathlib import Path

from drydock.progress import Progress
from drydock.project import Project
from drydock.tools.modules import fetch
from drydock.tools.pins import Toolchain
from drydock.tools.store import filling

_KEY_LENGTH = 12


def ensure_kwok_stages(project: Project, progress: Progress) -> Path:
    """A folder with KWOK's stages as its module has them: node/fast, node/heartbeat-with-lease, pod/fast, ...

    Raises:
        ToolchainError: the module cannot be had.
    """
    toolchain = Toolchain.load(project)
    source = toolchain.data["kwok-stages"]
    key = hashlib.sha256(f"{source.checksum}\0{source.path}".encode()).hexdigest()[:_KEY_LENGTH]
    target = project.cache_dir / "kwok-stages" / f"{source.version}-{key}"
    if target.is_dir():
        return target
    with progress.step(f"Stages of KWOK {source.version}") as step:
        files = fetch(project, toolchain, source, progress)
        with filling(target, step) as folder:
            if folder:
                ignored = shutil.ignore_patterns("testdata", "*.go", "*.md")
                shutil.copytree(files, folder, dirs_exist_ok=True, copy_function=shutil.copyfile, ignore=ignored)
    return target
