"""Amounts must be Kubernetes quantities; JSON schemas let any text pass."""

from collections.abc import Iterator
from typing import Any

from drydock.checks.subject import Subject
from drydock.findings import Finding
from drydock.instance_types.quantity import parse_quantity

CHECK = "quantity"

_MAPS = ("requests", "limits", "podFixed", "kubeReserved", "systemReserved")
_SCALARS = ("sizeLimit", "volumeSize")


def check(subject: Subject) -> Iterator[Finding]:
    """Amounts of resources that are no quantities."""
    for manifest in subject.manifests:
        for path, value in _amounts(manifest.content, ()):
            try:
                parse_quantity(str(value))
            except ValueError:
                yield subject.finding(
                    CHECK,
                    manifest,
                    f"{value!r} is not a quantity.",
                    "Write an amount such as 500m, 2, 16Gi or 1.5T.",
                    path=".".join(path),
                )


def _amounts(node: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(node, list):
        for position, each in enumerate(node):
            yield from _amounts(each, (*path, str(position)))
    elif isinstance(node, dict):
        for key, value in node.items():
            below = (*path, str(key))
            if key in _MAPS and isinstance(value, dict):
                yield from (((*below, name), each) for name, each in value.items() if _is_scalar(each))
            elif key in _SCALARS and _is_scalar(value):
                yield below, value
            else:
                yield from _amounts(value, below)


def _is_scalar(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)
