"""The image of the stand-ins: this package, what it requires, and two programs of the toolchain."""

import shutil
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import drydock
from drydock.deploy.kind.docker import Docker
from drydock.progress import Progress
from drydock.project import Project
from drydock.tools.build import ensure
from drydock.tools.platform import Platform

IMAGE = f"drydock.local/stand-ins:{drydock.__version__}"
PROGRAMS = ("kwok", "karpenter")
_VLLM = '#!/bin/sh\nexec python3 -m drydock.simulator.server "$@"\n'


def build_image(project: Project, docker: Docker, folder: Path, base: str, progress: Progress) -> None:
    """Build IMAGE for Docker's platform.

    Args:
        project: pins the programs.
        docker: builds it.
        folder: for the context; it is removed afterwards.
        base: image with Python, in place of that in ci/kind/Containerfile; empty takes that one.
        progress: shows what is built.

    Raises:
        DrydockError: a program or the image could not be built.
    """
    context = folder / "context"
    shutil.rmtree(context, ignore_errors=True)
    try:
        _fill(project, context, docker.platform(), progress)
        with progress.step(f"Image {IMAGE}") as step:
            arguments = {"BASE": base} if base else {}
            docker.build(context, project.root / "ci" / "kind" / "Containerfile", IMAGE, arguments, step.detail)
    finally:
        shutil.rmtree(context, ignore_errors=True)


def requirements(distribution: str = "drydock[rehearse,simulate]") -> tuple[str, ...]:
    """What the package requires at run time, and what that requires in turn, as the versions installed here."""
    found: dict[str, str] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    left = [Requirement(distribution)]
    while left:
        wanted = left.pop()
        if (wanted.name, frozenset(wanted.extras)) in seen:
            continue
        seen.add((wanted.name, frozenset(wanted.extras)))
        for require in map(Requirement, metadata.requires(wanted.name) or ()):
            needed = [
                require.marker is None or require.marker.evaluate({"extra": extra}) for extra in ("", *wanted.extras)
            ]
            if any(needed):
                found[canonicalize_name(require.name)] = metadata.version(require.name)
                left.append(require)
    return tuple(f"{name}=={version}" for name, version in sorted(found.items()))


def _fill(project: Project, context: Path, platform: Platform, progress: Progress) -> None:
    programs = context / "bin"
    programs.mkdir(parents=True)
    for name, built in ensure(project, PROGRAMS, progress, platform).items():
        shutil.copy2(built, programs / name)
    simulator = programs / "vllm"
    simulator.write_text(_VLLM)
    simulator.chmod(0o755)
    (context / "requirements.txt").write_text("".join(f"{requirement}\n" for requirement in requirements()))
    ignored = shutil.ignore_patterns("__pycache__", "bundled")
    shutil.copytree(Path(drydock.__file__).parent, context / "drydock", ignore=ignored)
