"""Everything that a verb needs, built or downloaded once."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from drydock.progress import Progress
from drydock.project import Project
from drydock.tools.build import ensure
from drydock.tools.crd_files import ensure_crds
from drydock.tools.pins import Toolchain
from drydock.tools.schemas import ensure_schemas
from drydock.tools.stages import ensure_kwok_stages


@dataclass(frozen=True)
class Equipment:
    """What set-up leaves behind.

    Attributes:
        tools: path of each program by its name.
        schemas: folder of JSON schemas for kubeconform.
        kwok_stages: folder of KWOK's own stages.
    """

    tools: Mapping[str, Path]
    schemas: Path
    kwok_stages: Path


def set_up(project: Project, verb: str, progress: Progress) -> Equipment:
    """Get everything that a verb needs, downloads beside the builds; milliseconds when it is all there."""
    return _set_up(project, Toolchain.load(project).for_verb(verb), progress)


def set_up_everything(project: Project, progress: Progress) -> Equipment:
    """Get everything that any verb needs."""
    return _set_up(project, tuple(Toolchain.load(project).tools), progress)


def _set_up(project: Project, tools: Sequence[str], progress: Progress) -> Equipment:
    with ThreadPoolExecutor(max_workers=2) as pool:
        data = pool.submit(_data, project, progress)
        built = ensure(project, tools, progress)
        schemas, stages = data.result()
    return Equipment(built, schemas, stages)


def _data(project: Project, progress: Progress) -> tuple[Path, Path]:
    ensure_crds(project, progress)
    return ensure_schemas(project, progress), ensure_kwok_stages(project, progress)
