"""A report as files: `report.json` for machines, `report.html` for browsers."""

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from drydock.errors import DrydockError
from drydock.report.html import render_html
from drydock.report.model import RehearsalReport


@dataclass(frozen=True)
class ReportFiles:
    """Where a report was written."""

    json: Path
    html: Path


def write_report(report: RehearsalReport, folder: Path) -> ReportFiles:
    """Write `report.json` and `report.html` into a folder, which is made when it is missing.

    Each file appears complete or not at all, also over an older one.

    Raises:
        DrydockError: the folder cannot be written to.
    """
    files = ReportFiles(folder / "report.json", folder / "report.html")
    data = json.dumps(report.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    page = render_html(report)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_atomically(files.json, data)
        _write_atomically(files.html, page)
    except OSError as error:
        raise DrydockError(
            f"the report could not be written to {folder}: {error.strerror}",
            remedy="Give another folder with -o, or make room and rights there.",
        ) from error
    return files


def _write_atomically(file: Path, text: str) -> None:
    handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(file)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
