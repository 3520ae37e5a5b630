"""What a change does to an environment: its objects, and the nodes that they cost, before and after."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import yaml

from drydock.suite.manifests import Manifest

_CONTEXT = 3
Fields = Mapping[str, Any]


class Change(StrEnum):
    """What became of an object."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@dataclass(frozen=True)
class ObjectChange:
    """One object that differs.

    Attributes:
        change: what became of it.
        object: `Kind/name` or `Kind/namespace/name`.
        chart: that renders it.
        lines: a unified diff of its YAML.
    """

    change: Change
    object: str
    chart: str
    lines: tuple[str, ...]


def changed_objects(before: Sequence[Manifest], after: Sequence[Manifest]) -> tuple[ObjectChange, ...]:
    """Objects that were added, removed or changed, by chart and name. The order of keys makes no difference."""
    old, new = _by_identity(before), _by_identity(after)
    found = []
    for key in old.keys() | new.keys():
        one, other = old.get(key), new.get(key)
        if one is None or other is None or one.content != other.content:
            found.append(_change(one, other))
    return tuple(sorted(found, key=lambda each: (each.chart, each.object)))


def yaml_difference(before: Fields | None, after: Fields | None) -> tuple[str, ...]:
    """The lines of a unified diff between two objects."""
    old, new = (yaml.safe_dump(side).splitlines() if side else [] for side in (before, after))
    return tuple(difflib.unified_diff(old, new, "before", "after", lineterm="", n=_CONTEXT))


def _change(before: Manifest | None, after: Manifest | None) -> ObjectChange:
    shown = after or before
    assert shown  # noqa: S101 (one of the two is there)
    change = Change.ADDED if before is None else Change.REMOVED if after is None else Change.CHANGED
    lines = yaml_difference(before.content if before else None, after.content if after else None)
    return ObjectChange(change, shown.identity, shown.chart, lines)


def _by_identity(manifests: Sequence[Manifest]) -> dict[tuple[str, str], Manifest]:
    """By API group, kind and name: a new version of an API is a change of the same object."""
    return {(manifest.api_version.rpartition("/")[0], manifest.identity): manifest for manifest in manifests}
