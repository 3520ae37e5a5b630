"""YAML and JSON documents as plain data, read by libyaml where it is there (ten times faster)."""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """A safe loader that reads a lone `=` as a string, as YAML 1.2 and Kubernetes do."""


_Loader.add_constructor("tag:yaml.org,2002:value", yaml.SafeLoader.construct_yaml_str)
LOADER = _Loader


def load_yaml(text: str) -> Any:
    """One YAML document; JSON, which is YAML too, is read a hundred times faster.

    Raises:
        yaml.YAMLError: it is not YAML.
    """
    with suppress(json.JSONDecodeError):
        if text.startswith("{"):
            return json.loads(text)
    return yaml.load(text, Loader=LOADER)  # noqa: S506 (a safe loader)


def load_yaml_leniently(text: str) -> Any:
    """A document inside an object, which its templates may have spoilt; None for text that is not YAML."""
    try:
        return load_yaml(text)
    except (yaml.YAMLError, ValueError):  # ValueError: a timestamp or number that YAML's own types refuse
        return None


def load_yaml_file(file: Path) -> Any:
    """The one YAML document in a file."""
    return load_yaml(file.read_text())


def load_yaml_all(text: str) -> Iterator[Any]:
    """Every YAML document of a stream, or the one JSON document that it is."""
    with suppress(json.JSONDecodeError):
        if text.startswith("{"):
            yield json.loads(text)
            return
    yield from yaml.load_all(text, Loader=LOADER)
