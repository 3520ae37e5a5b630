"""What values would bring that a release does not have: entries that are turned off, and presets to stack."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drydock.checks.values_files import ValuesFile, keys_of
from drydock.suite.environments import Environment

_DEPTH = 4


def switched_off(values: Mapping[str, Any], name: str) -> str:
    """Dotted path of an entry with this name that `enabled: false` turns off; empty without one."""
    level: list[tuple[tuple[str, ...], Mapping[str, Any]]] = [((), values)]
    for _ in range(_DEPTH):
        below = [
            ((*path, key), value) for path, entry in level for key, value in entry.items() if isinstance(value, Mapping)
        ]
        for path, entry in below:
            if path[-1] == name and entry.get("enabled") is False:
                return ".".join(path)
        level = below
    return ""


def presets_with(environment: Environment, name: str) -> list[str]:
    """Values files beside the environment's own that have an entry of this name below a chart's values."""
    folder = environment.file.parent.parent
    if not (folder / environment.file.parent.name).is_dir():
        return []
    own = {folder / "environments", folder}
    files = sorted(file for file in folder.rglob("*.yaml") if file.parent not in own)
    return [
        f"-f {_shown(folder, file)}"
        for file in files
        if file not in environment.values_files and name in keys_of(ValuesFile.read(file), depth=_DEPTH)
    ]


def _shown(folder: Path, file: Path) -> str:
    return f"{folder.name}/{file.relative_to(folder)}"
