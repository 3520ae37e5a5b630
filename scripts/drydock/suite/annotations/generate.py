"""The files that are made of annotated values: values.schema.json and README.md of each chart."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drydock.documents import load_yaml_file
from drydock.errors import UsageError
from drydock.project import UMBRELLA, Project
from drydock.suite.annotations.readme import generated_readme
from drydock.suite.annotations.schema import ChartTypes, Types, chart_schema, global_schema
from drydock.suite.annotations.source import read_values

SHARED = "common"
"""The library chart, whose types all charts may name."""


@dataclass(frozen=True)
class GeneratedFile:
    """A file that is made of annotated values.

    Attributes:
        path: where it belongs.
        content: what it should hold.
    """

    path: Path
    content: str

    @property
    def is_current(self) -> bool:
        """Whether the file holds that."""
        return self.path.is_file() and self.path.read_text() == self.content


def generated_files(project: Project) -> Iterator[GeneratedFile]:
    """Schema and README of each chart.

    Raises:
        UsageError: an annotation is wrong, or a README has no place for the table.
    """
    shared = _types(project.charts_dir / SHARED, {})
    umbrella = read_values(project.charts_dir / UMBRELLA / "values.yaml")
    globals_ = global_schema(umbrella, _types(project.charts_dir / UMBRELLA, shared.types))
    for folder in sorted(file.parent for file in project.charts_dir.glob("*/Chart.yaml")):
        metadata = load_yaml_file(folder / "Chart.yaml")
        values = read_values(folder / "values.yaml")
        types = _types(folder, shared.types)
        dependencies = [dependency["name"] for dependency in metadata.get("dependencies") or ()]
        schema = chart_schema(folder.name, values, types, dependencies, globals_)
        yield GeneratedFile(folder / "values.schema.json", json.dumps(schema, indent=2, ensure_ascii=False) + "\n")
        readme = folder / "README.md"
        defaults: Any = None if folder.name == UMBRELLA else umbrella.default.get(folder.name) or {}
        text = readme.read_text() if readme.is_file() else ""
        yield GeneratedFile(readme, generated_readme(text, metadata, values, schema, shared.types, defaults))


def _types(folder: Path, shared: Types) -> ChartTypes:
    file = folder / "values.types.yaml"
    if not file.is_file():
        return ChartTypes(shared)
    content = load_yaml_file(file) or {}
    unknown = sorted(set(content) - {"types", "unset"})
    if unknown:
        raise UsageError(f"{file}: unknown key {unknown[0]}", remedy="Known: types, unset.")
    return ChartTypes({**shared, **(content.get("types") or {})}, content.get("unset") or {})
