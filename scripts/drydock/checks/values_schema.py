"""Values that a chart's schema refuses, each with the file and line that sets it.

Helm decides whether values are right, and merges them; this only finds where a refused value comes from.
"""

import difflib
import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drydock.checks.findings import Finding
from drydock.checks.origins import Origins
from drydock.checks.values_files import Place, ValuesFile, locate
from drydock.documents import load_yaml_file
from drydock.project import Project
from drydock.suite.environments import Environment
from drydock.tools import process

if TYPE_CHECKING:
    from drydock.json_schemas import ValidationError

CHECK = "values-schema"

_DUMP = "{{ .Values | toJson }}"
_TYPES = {
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    str: "a string",
    list: "a list",
    dict: "a map",
    type(None): "null",
}


@dataclass(frozen=True)
class _Chart:
    """A chart within the umbrella: its folder, the path of its values there, and those values as Helm merged them."""

    folder: Path
    path: tuple[str, ...]
    values: Any

    @property
    def name(self) -> str:
        return self.folder.name


def refused_values(merged: Any, project: Project, umbrella: Path, environment: Environment) -> list[Finding]:
    """Every value of an environment that a schema refuses.

    Args:
        merged: the values as `merged_values` has them.
        project: whose files are named relative to its root.
        umbrella: the chart with its dependencies inside.
        environment: whose stack is looked at.
    """
    if merged is None:
        return []
    origins = Origins.of(environment)
    found: dict[tuple[tuple[str, ...], str], Finding] = {}
    for chart in _charts(umbrella, (), merged):
        for path, reason, remedy in _refusals(chart):
            if (path, reason) in found:
                continue  # globals are in the values of every chart
            place = _place(project, chart, path, origins)
            found[path, reason] = Finding(
                environment.name,
                CHECK,
                f"{'.'.join(path)}: {reason}{place.suffix}.",
                remedy,
                chart=chart.name,
                path=".".join(path),
                file=place.file.removeprefix(f"{project.root}/"),
                line=place.line,
            )
    return list(found.values())


def merged_values(helm: Path, umbrella: Path, environment: Environment) -> Any:
    """The values of the umbrella and all its dependencies as Helm merges them; None when Helm cannot."""
    with tempfile.TemporaryDirectory(prefix="drydock-") as folder:
        shadow = Path(folder) / umbrella.name
        wanted = ("Chart.yaml", "values.yaml")
        for file in umbrella.rglob("*"):
            relative = file.relative_to(umbrella)
            if file.name in wanted and "templates" not in relative.parts:
                (shadow / relative).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, shadow / relative)
        (shadow / "templates").mkdir(parents=True)
        (shadow / "templates" / "values.yaml").write_text(_DUMP)
        command = [str(helm), "template", "values", str(shadow), *environment.helm_arguments()]
        completed = process.run(command, env=process.SHORT_LIVED, check=False)
    start = completed.stdout.find("\n{")
    return json.loads(completed.stdout[start:]) if completed.returncode == 0 and start >= 0 else None


def _charts(folder: Path, path: tuple[str, ...], values: Any) -> Iterator[_Chart]:
    yield _Chart(folder, path, values)
    for dependency in (load_yaml_file(folder / "Chart.yaml") or {}).get("dependencies") or ():
        name = dependency.get("alias") or dependency["name"]
        below = folder / "charts" / dependency["name"]
        if below.is_dir() and isinstance(values, dict) and is_enabled(dependency, values):
            yield from _charts(below, (*path, name), values.get(name) or {})


def is_enabled(dependency: Mapping[str, Any], values: Mapping[str, Any]) -> bool:
    """Whether Helm takes a dependency in: the first path of its condition that holds a boolean decides."""
    for condition in str(dependency.get("condition") or "").split(","):
        value: Any = values
        for key in condition.strip().split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, bool):
            return value
    return True


def _refusals(chart: _Chart) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """Path within the umbrella's values, reason and remedy of everything that a chart's schema refuses."""
    file = chart.folder / "values.schema.json"
    if not file.is_file():
        return
    from drydock.json_schemas import validator_for

    schema = json.loads(file.read_text())
    for error in validator_for(schema)(schema).iter_errors(chart.values):
        for path, reason, remedy in _explained(error):
            yield (path if path[:1] == ("global",) else (*chart.path, *path)), reason, remedy


def _explained(error: "ValidationError") -> Iterator[tuple[tuple[str, ...], str, str]]:
    path = tuple(str(part) for part in error.absolute_path)
    given: Any = error.instance
    allowed: Any = error.validator_value
    schema: Any = error.schema
    if error.validator in ("anyOf", "oneOf") and error.context:
        from drydock.json_schemas import best_match

        closest = best_match(error.context)
        if closest is not None:
            yield from _explained(closest)
            return
    if error.validator == "additionalProperties" and allowed is False:
        known = sorted(schema.get("properties", {}))
        patterns = [re.compile(property_) for property_ in schema.get("patternProperties", {})]
        unknown = (key for key in given if key not in known and not any(pattern.search(key) for pattern in patterns))
        for key in sorted(unknown):
            yield (*path, key), "unknown key", _nearest(key, known)
    elif error.validator == "type":
        names = [allowed] if isinstance(allowed, str) else list(allowed)
        yield path, f"{_shown(given)} is {_TYPES.get(type(given), 'wrong')}", f"Give it {_either(names)}."
    elif error.validator == "enum":
        yield path, f"{_shown(given)} is not allowed", _nearest(str(given), [str(value) for value in allowed])
    elif error.validator == "required":
        for key in (value for value in allowed if value not in given):
            yield (*path, key), "this key is needed and nothing sets it", _described(schema, key)
    elif "propertyNames" in error.absolute_schema_path:
        yield (*path, str(given)), f"the name {given} does not match {allowed}", "Choose another name."
    elif error.validator == "pattern":
        described = str(schema.get("description") or "").rstrip(".")
        remedy = f"Give it a value of that form{f' ({described})' if described else ''}."
        yield path, f"{_shown(given)} does not match {allowed}", remedy
    else:
        yield path, error.message, str(schema.get("description") or "Give it a value that the chart's schema allows.")


def _place(project: Project, chart: _Chart, path: tuple[str, ...], origins: Origins) -> Place:
    """Where a value is set: by --set, in the stack's last file that has it, or among a chart's defaults."""
    place = origins.value(path)
    if place is None:
        source = project.charts_dir / chart.name / "values.yaml"
        defaults = [ValuesFile.read(source)] if source.is_file() else []
        place = locate(defaults, path[len(chart.path) :]) or Place(
            str(origins.files[0].file) if origins.files else "", 0
        )
    return place


def _nearest(given: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(given, known, n=1)
    guess = f"Did you mean {close[0]}? " if close else ""
    return f"{guess}Known: {', '.join(known)}." if known else f"{guess}No key is known there."


def _either(names: Sequence[str]) -> str:
    words = {"object": "a map", "array": "a list", "integer": "an integer", "null": "null"}
    return " or ".join(words.get(name, f"a {name}") for name in names)


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004 (enough to recognise it)


def _described(schema: Mapping[str, Any], key: str) -> str:
    described = (schema.get("properties", {}).get(key) or {}).get("description")
    return str(described or f"Set {key}.")
