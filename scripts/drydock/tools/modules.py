"""Files of pinned Go modules, downloaded by Go and checked against go.sum."""

import json
from pathlib import Path

from drydock.errors import ToolchainError
from drydock.progress import Progress
from drydock.project import Project
from drydock.tools.build import failure
from drydock.tools.go import ensure_go
from drydock.tools.pins import Source, Toolchain
from drydock.tools.process import run

_DOWNLOAD_SECONDS = 1800


def fetch(project: Project, toolchain: Toolchain, source: Source, progress: Progress) -> Path:
    """The file or folder that a source names, in Go's module cache (read it now: users clean that cache).

    Raises:
        ToolchainError: there is no Go, the module cannot be had, differs from go.sum, or lacks the path.
    """
    what = f"downloading {source.go_module} {source.version}"
    go = ensure_go(project, toolchain, progress, purpose=what)
    module = f"{source.go_module}@{source.version}"
    done = run(
        [go.executable, "mod", "download", "-json", module],
        cwd=source.module.folder,
        env=go.environment,
        timeout=_DOWNLOAD_SECONDS,
        check=False,
    )
    try:
        answer = json.loads(done.stdout)
    except json.JSONDecodeError:
        answer = {}
    if done.returncode != 0 or "Dir" not in answer:
        raise failure(what, str(answer.get("Error") or done.stderr), module=source.module)
    if answer["Sum"] != source.checksum:
        raise ToolchainError(
            f"{module} is not what {source.module.folder / 'go.sum'} pins: {answer['Sum']}, not {source.checksum}",
            remedy="Do not go on: look at where GOPROXY points.",
        )
    path = Path(answer["Dir"]) / source.path
    if not path.exists():
        raise ToolchainError(f"{module} has no {source.path}", remedy=f"Correct the path in {toolchain.folder}.")
    return path
