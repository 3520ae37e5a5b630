"""Charts as .tgz archives whose bytes depend on their content alone."""

import gzip
import hashlib
import io
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from drydock.documents import load_yaml_file
from drydock.suite.charts import AssembledCharts

_FILE_MODE = 0o644


@dataclass(frozen=True)
class Archive:
    """One packaged chart: where it lies, its size in bytes and its SHA-256."""

    file: Path
    size: int
    sha256: str


def package_charts(charts: AssembledCharts, folder: Path) -> tuple[Archive, ...]:
    """Write every chart that can be installed, with dependencies and CRDs inside.

    `helm package` stamps each entry with the time of day; here time, owner and mode are fixed, so that two builds of
    the same commit can be compared by checksum. Library charts travel inside the others.
    """
    folder.mkdir(parents=True, exist_ok=True)
    archives = []
    for chart in sorted(path.parent for path in charts.folder.glob("*/Chart.yaml")):
        metadata = load_yaml_file(chart / "Chart.yaml")
        if metadata.get("type") == "library":
            continue
        content = _archive(chart)
        file = folder / f"{metadata['name']}-{metadata['version']}.tgz"
        file.write_bytes(content)
        archives.append(Archive(file, len(content), hashlib.sha256(content).hexdigest()))
    return tuple(archives)


def write_checksums(folder: Path, files: Iterable[Path]) -> None:
    """Write SHA256SUMS, which `sha256sum --check` reads."""
    lines = (f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in sorted(files))
    (folder / "SHA256SUMS").write_text("".join(lines))


def _archive(chart: Path) -> bytes:
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0, filename="") as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for file in sorted(path for path in chart.rglob("*") if path.is_file()):
            entry = tarfile.TarInfo(f"{chart.name}/{file.relative_to(chart).as_posix()}")
            content = file.read_bytes()
            entry.size, entry.mode = len(content), _FILE_MODE
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
