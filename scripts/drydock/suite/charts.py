"""Charts with their dependencies inside, assembled once for each content."""

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from drydock.documents import load_yaml_file
from drydock.project import UMBRELLA, Project


@dataclass(frozen=True)
class AssembledCharts:
    """Copies of the charts in which every `file://` dependency lies unpacked under charts/.

    Attributes:
        folder: holds one folder for each chart, ready for `helm install`.
        digest: changes whenever a byte of any chart does.
    """

    folder: Path
    digest: str

    @property
    def umbrella(self) -> Path:
        """The umbrella chart."""
        return self.folder / UMBRELLA

    def chart(self, name: str) -> Path:
        """One chart by its name."""
        return self.folder / name


def chart_names(project: Project) -> tuple[str, ...]:
    """Names of every chart under charts/, sorted."""
    return tuple(sorted(file.parent.name for file in project.charts_dir.glob("*/Chart.yaml")))


def assemble_charts(project: Project) -> AssembledCharts:
    """Do what `helm dependency build` does for every chart, without a process and once for each content.

    Two runs side by side may assemble the same content; the first rename wins and both use it.
    """
    digest = _digest(project.charts_dir)
    target = project.cache_dir / "charts" / digest
    if not target.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f"{digest}.{os.getpid()}.partial")
        for name in chart_names(project):
            _copy_with_dependencies(project.charts_dir / name, partial / name)
        try:
            partial.rename(target)
        except OSError:  # another process was first
            shutil.rmtree(partial)
    return AssembledCharts(target, digest)


def _copy_with_dependencies(source: Path, target: Path) -> None:
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.tgz", "Chart.lock", *_ignored(source)))
    metadata = load_yaml_file(source / "Chart.yaml")
    for dependency in metadata.get("dependencies", []):
        repository = dependency.get("repository", "")
        if repository.startswith("file://"):
            folder = Path(os.path.normpath(source / repository.removeprefix("file://")))  # as Helm: beside a link
            _copy_with_dependencies(folder, target / "charts" / dependency["name"])


def _ignored(chart: Path) -> list[str]:
    """Names in a chart's .helmignore, which Helm reads only of the chart around."""
    file = chart / ".helmignore"
    lines = file.read_text().splitlines() if file.is_file() else []
    return [line.rstrip("/") for line in lines if line and not line.startswith("#")]


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for directory, subdirectories, files in os.walk(folder, followlinks=True):
        subdirectories.sort()
        for name in sorted(files):
            if name == "Chart.lock" or name.endswith(".tgz"):
                continue
            path = os.path.join(directory, name)  # noqa: PTH118 (many files on the warm path)
            digest.update(os.path.relpath(path, folder).encode())
            with open(path, "rb") as file:  # noqa: PTH123
                content = file.read()
            digest.update(len(content).to_bytes(8, "big"))
            digest.update(content)
    return digest.hexdigest()[:16]
