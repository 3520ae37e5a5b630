"""Tools of the pinned version that the machine already has."""

import hashlib
import json
import os
import re
import shutil
from pathlib import Path

from drydock.errors import ToolchainError, ToolError
from drydock.project import Project
from drydock.tools.pins import Tool
from drydock.tools.process import run

_ASK_SECONDS = 30


def find_on_path(project: Project, tool: Tool) -> Path | None:
    """The program on PATH that says it is the pinned version; None when there is none.

    A program is asked once: its answer is kept until its file changes.
    """
    for name in tool.on_path:
        found = shutil.which(name)
        if found and _is_version(_answer(project, Path(found).resolve(), tool.ask), tool.version):
            return Path(found).resolve()
    return None


def _is_version(answer: str, version: str) -> bool:
    """Whether a program's answer has exactly this version, as in `v1.2.3+g0123` but not in `1.2.3-eks-1`."""
    return re.search(rf"(?<![\w.])v?{re.escape(version)}(?![\w.-])", answer) is not None


def _answer(project: Project, program: Path, ask: tuple[str, ...]) -> str:
    status = program.stat()
    asked = json.dumps([str(program), status.st_size, status.st_mtime_ns, *ask])
    memory = project.cache_dir / "tools" / "on-path" / f"{hashlib.sha256(asked.encode()).hexdigest()[:16]}.txt"
    try:
        return memory.read_text()
    except FileNotFoundError:
        pass
    try:
        done = run([program, *ask], timeout=_ASK_SECONDS, check=False)
    except ToolError:
        return ""
    memory.parent.mkdir(parents=True, exist_ok=True)
    memory.write_text(done.stdout + done.stderr)
    return done.stdout + done.stderr


def find_terraform() -> Path:
    """Terraform, or OpenTofu, on PATH.

    Raises:
        ToolchainError: neither is there.
    """
    for name in ("terraform", "tofu"):
        if found := shutil.which(name):
            return Path(found)
    raise ToolchainError(
        "terraform is not on PATH", remedy="Install Terraform 1.10 or newer (or OpenTofu): no package registry has it."
    )


def provider_mirror() -> Path | None:
    """The configuration of Terraform's command line that says where the AWS provider comes from, if one is named."""
    named = os.environ.get("TF_CLI_CONFIG_FILE", "")
    return Path(named) if named and Path(named).is_file() else None
