"""Findings kept by the content of everything that they follow from."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from drydock.checks.findings import Finding, Severity
from drydock.suite.environments import Environment
from drydock.suite.sources import HelmRelease

_KEPT = 200


def environment_parts(environment: Environment) -> list[object]:
    """Everything of an environment that findings follow from, file contents included."""
    contents = [(file.name, hashlib.sha256(file.read_bytes()).hexdigest()) for file in environment.values_files]
    return [
        environment.name,
        environment.namespace,
        [str(file) for file in environment.values_files],
        contents,
        environment.set_values,
        environment.capacity_reservations,
        sorted(environment.quotas.items()),
        environment.snapshot,
        environment.snapshot is not None and (environment.snapshot.is_old, environment.snapshot.is_ahead),
        sorted(environment.secrets.items()),
        sorted(environment.objectives.items(), key=str),
        environment.accepted,
        environment.suite,
        [manifest.text for manifest in environment.brought.manifests],
        [_release_parts(release) for release in environment.brought.releases],
        sorted(environment.load.items()),
        environment.altered,
        hashlib.sha256(environment.file.read_bytes()).hexdigest() if environment.file.is_file() else "",
        [(file.name, hashlib.sha256(file.read_bytes()).hexdigest()) for file in _shapes(environment)],
    ]


def _shapes(environment: Environment) -> list[Path]:
    """Files with the shapes of the suite's own models (`drydock.engines.model_config`)."""
    return sorted(environment.file.resolve().parents[1].glob("shapes/*.json")) if environment.file.is_file() else []


def _release_parts(release: HelmRelease) -> list[object]:
    files = sorted(file for file in release.chart.rglob("*") if file.is_file()) if release.chart.is_dir() else ()
    contents = [
        (str(file), hashlib.sha256(file.read_bytes()).hexdigest())
        for file in (*files, *([] if files else [release.chart]), *release.values_files)
    ]
    return [release, contents]


def stored(file: Path) -> tuple[Finding, ...] | None:
    """Findings that an earlier run kept, None when there are none."""
    try:
        rows = json.loads(file.read_bytes())
    except FileNotFoundError:
        return None
    return tuple(_revived(row) for row in rows)


def store(file: Path, findings: Sequence[Finding]) -> None:
    """Keep findings; two runs side by side may both do so."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f"{file.name}.{os.getpid()}.partial")
    partial.write_text(json.dumps([finding.to_dict() for finding in findings]))
    partial.replace(file)


def prune(folder: Path) -> None:
    """Forget the results that were kept longest ago, once there are many."""
    with os.scandir(folder) as entries:
        aged = [(_age(entry), entry.path) for entry in entries if entry.name.endswith(".json")]
    for _, path in sorted(aged)[:-_KEPT]:
        Path(path).unlink(missing_ok=True)


def _age(entry: "os.DirEntry[str]") -> int:
    try:
        return entry.stat().st_mtime_ns
    except FileNotFoundError:  # another run was first
        return 0


def _revived(row: Mapping[str, object]) -> Finding:
    values: dict[str, object] = {"environment": "", "remedy": "", **row, "severity": Severity(str(row["severity"]))}
    consequences = values.get("consequences")
    if isinstance(consequences, list):
        values["consequences"] = tuple(consequences)
    return Finding(**values)  # type: ignore[arg-type]
