"""Amounts, shares and documents inside objects must be what their readers parse; JSON schemas let any text pass."""

import re
from collections.abc import Iterator
from typing import Any

from drydock.checks.findings import Finding, Severity
from drydock.checks.subject import Subject
from drydock.documents import load_yaml_leniently
from drydock.scheduling.instance_types.quantity import parse_quantity

CHECK = "quantity"
DOCUMENT = "embedded-document"

_MAPS = ("requests", "limits", "overhead", "podFixed", "kubeReserved", "systemReserved")
_CAPACITIES = ("NodeOverlay", "PersistentVolume")
_THRESHOLDS = ("evictionHard", "evictionSoft")
_SCALARS = ("sizeLimit", "volumeSize")
_SHARES = ("maxSurge", "maxUnavailable", "minAvailable")
_SHARE = re.compile(r"[0-9]+%?")
_PERCENTAGE = re.compile(r"[0-9]+(?:\.[0-9]+)?%")


def check(subject: Subject) -> Iterator[Finding]:
    """Amounts of resources that are not quantities, and shares that are neither numbers nor percentages."""
    for manifest in subject.manifests:
        content = manifest.content
        if manifest.kind in _CAPACITIES:  # elsewhere the word may mean anything
            content = {**content, "limits": (content.get("spec") or {}).get("capacity")}
        for path, value, problem, remedy in _wrong(content, ()):
            dotted = ".".join(path)
            yield subject.finding(CHECK, manifest, f"{value!r} is not {problem}.", remedy, path=dotted, value=value)


def documents(subject: Subject) -> Iterator[Finding]:
    """Files of ConfigMaps that are called YAML or JSON and are not."""
    for manifest in subject.manifests:
        if manifest.kind == "ConfigMap":
            for key, text in (manifest.content.get("data") or {}).items():
                form = key.rpartition(".")[2]
                if form in ("yaml", "yml", "json") and text.strip() and load_yaml_leniently(text) is None:
                    yield subject.finding(
                        DOCUMENT,
                        manifest,
                        f"{key} is not {'JSON' if form == 'json' else 'YAML'}: what mounts it will not start.",
                        "Correct the value or the template that it comes from.",
                        path=f"data.{key}",
                        severity=Severity.WARNING,
                    )


def _wrong(node: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any, str, str]]:
    """Path, value, what it should be and the remedy of everything that would not be parsed."""
    if isinstance(node, list):
        for position, each in enumerate(node):
            yield from _wrong(each, (*path, str(position)))
    elif isinstance(node, dict):
        for key, value in node.items():
            below = (*path, str(key))
            if (key in _MAPS or key in _THRESHOLDS) and isinstance(value, dict):
                for name, each in value.items():
                    percentage = key in _THRESHOLDS and _PERCENTAGE.fullmatch(str(each))
                    if _is_scalar(each) and not percentage and not _is_quantity(each):
                        yield (*below, name), each, "a quantity", "Write an amount such as 500m, 2, 16Gi or 1.5T."
            elif (key in _SCALARS or below[-2:] == ("ephemeralStorage", "size")) and _is_scalar(value):
                if not _is_quantity(value):
                    yield below, value, "a quantity", "Write an amount such as 500Mi, 16Gi or 1.5T."
            elif key in _SHARES and _is_scalar(value):
                if not _SHARE.fullmatch(str(value)):
                    yield (
                        below,
                        value,
                        "a number or a percentage",
                        "Write a number of pods, or a percentage such as 25%.",
                    )
            else:
                yield from _wrong(value, below)


def _is_quantity(value: Any) -> bool:
    try:
        parse_quantity(str(value))
    except ValueError:
        return False
    return True


def _is_scalar(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)
