"""YAML and JSON documents as plain data, read by libyaml where it is there (ten times faster)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load_yaml(text: str) -> Any:
    """One YAML document.

    Raises:
        yaml.YAMLError: it is not YAML.
    """
    return yaml.load(text, Loader=LOADER)  # noqa: S506 (a safe loader)


def load_yaml_file(file: Path) -> Any:
    """The one YAML document in a file."""
    return load_yaml(file.read_text())


def load_yaml_all(text: str) -> Iterator[Any]:
    """Every YAML document of a stream."""
    yield from yaml.load_all(text, Loader=LOADER)
