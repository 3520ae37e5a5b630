"""Values that Helm takes in silently although nothing reads them."""

import difflib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from drydock.checks.findings import Finding, Severity
from drydock.checks.origins import Origins
from drydock.checks.values_files import Place
from drydock.checks.values_schema import is_enabled
from drydock.documents import load_yaml_file
from drydock.suite.environments import Environment

CHECK = "values-unused"
_GLOBAL = 0.75
"""How alike a key under `global` and a known one are when it is a slip; other charts may have globals of their own."""


def unused_values(umbrella: Path, environment: Environment, merged: Any) -> Iterator[Finding]:
    """Values of charts that are off, and keys under `global` that are nearly those that a chart reads.

    Args:
        umbrella: the chart with its dependencies inside.
        environment: whose own files (and `--set`) are looked at.
        merged: its values as Helm merges them.
    """
    if not isinstance(merged, dict):
        return
    origins = Origins.of(environment)
    for dependency in (load_yaml_file(umbrella / "Chart.yaml") or {}).get("dependencies") or ():
        name = str(dependency.get("alias") or dependency["name"])
        if dependency.get("condition") and not is_enabled(dependency, merged):
            yield from _of_chart(environment, origins, name, str(dependency["condition"]))
    known = _globals(umbrella)
    for key in sorted(set(merged.get("global") or {}) - known):
        near = difflib.get_close_matches(key, sorted(known), 1, _GLOBAL)
        place = origins.value(("global", key))
        if near and place:
            yield Finding(
                environment.name,
                CHECK,
                f"global.{key} is read by no chart{place.suffix}.",
                f"Did you mean {near[0]}? Known: {', '.join(sorted(known))}.",
                path=f"global.{key}",
                file=place.file,
                line=place.line,
            )


def _of_chart(environment: Environment, origins: Origins, name: str, condition: str) -> Iterator[Finding]:
    switch = condition.rpartition(".")[2]
    own = next(((place, key) for key, place in _own(origins, name) if key != switch), None)
    if own is None:
        return
    place, key = own
    yield Finding(
        environment.name,
        CHECK,
        f"{name}.{key} is set and the chart {name} is off, so nothing reads it{place.suffix}.",
        f"Set {condition}=true, or remove the values of {name}.",
        Severity.WARNING,
        chart=name,
        path=f"{name}.{key}",
        file=place.file,
        line=place.line,
    )


def _own(origins: Origins, name: str) -> Iterator[tuple[str, Place]]:
    """Keys directly under a chart's values that the environment sets, the last of the stack first."""
    for pair in reversed(origins.set_values):
        path, _, _ = pair.partition("=")
        if path.startswith(f"{name}."):
            yield path.removeprefix(f"{name}.").partition(".")[0], Place("", 0, f" (set by --set {pair})")
    yield from origins.keys_under((name,))


def _globals(umbrella: Path) -> frozenset[str]:
    """Keys under `global` that the umbrella, or a chart in it, declares."""
    found: set[str] = set()
    for file in umbrella.rglob("values.schema.json"):
        properties: Mapping[str, Any] = json.loads(file.read_text()).get("properties") or {}
        found |= set((properties.get("global") or {}).get("properties") or {})
    for file in umbrella.rglob("values.yaml"):
        content = load_yaml_file(file)
        if "templates" not in file.parts and isinstance(content, dict) and isinstance(content.get("global"), dict):
            found |= set(content["global"])
    return frozenset(found)
