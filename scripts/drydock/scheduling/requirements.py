"""Karpenter's algebra of label requirements.

Source: karpenter v1.14, pkg/scheduling/requirement.go and requirements.go. The names follow that source, so that both
can be read side by side.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from drydock.scheduling.instance_types.labels import NORMALIZED

_INTEGER = re.compile(r"[+-]?[0-9]+$")


@dataclass(frozen=True, slots=True)
class Requirement:
    """What one label may be: a set of values, or everything but a set within bounds.

    Attributes:
        key: the label.
        values: allowed values, or with `complement` the forbidden ones.
        complement: whether everything else is meant.
        gte, lte: bounds, both inclusive; a value that is no integer is outside of any bound.
        min_values: how many values the chosen instance types must cover.
    """

    key: str
    values: frozenset[str] = frozenset()
    complement: bool = False
    gte: int | None = None
    lte: int | None = None
    min_values: int | None = None

    @property
    def operator(self) -> str:
        """`In`, `NotIn`, `Exists` (also with bounds) or `DoesNotExist`."""
        if self.complement:
            return "NotIn" if self.values else "Exists"
        return "In" if self.values else "DoesNotExist"

    @property
    def is_negative(self) -> bool:
        """Whether a node without the label meets it."""
        return self.operator in ("NotIn", "DoesNotExist")

    def has(self, value: str) -> bool:
        """Whether the value is allowed."""
        return (value in self.values) is not self.complement and _within(value, self.gte, self.lte)

    def intersection(self, other: "Requirement") -> "Requirement":
        """What both allow."""
        complement = self.complement and other.complement
        gte, lte = _larger(self.gte, other.gte), _smaller(self.lte, other.lte)
        least = _larger(self.min_values, other.min_values)
        if gte is not None and lte is not None and gte > lte:
            return Requirement(self.key, min_values=least)
        if complement:
            values = self.values | other.values
        elif self.complement:
            values = other.values - self.values
        elif other.complement:
            values = self.values - other.values
        else:
            values = self.values & other.values
        values = frozenset(value for value in values if _within(value, gte, lte))
        if not complement:
            gte = lte = None
        return Requirement(self.key, values, complement, gte, lte, least)

    def has_intersection(self, other: "Requirement") -> bool:
        """Whether some value is allowed by both."""
        if self.complement and other.complement:
            gte, lte = _larger(self.gte, other.gte), _smaller(self.lte, other.lte)
            return gte is None or lte is None or gte <= lte
        concrete, allowing = (self, other) if not self.complement else (other, self)
        return any(allowing.has(value) and concrete.has(value) for value in concrete.values)

    def __str__(self) -> str:
        text = self.operator
        if self.values:
            shown = sorted(self.values)
            more = f" and {len(shown) - 5} others" if len(shown) > 5 else ""  # noqa: PLR2004 (as Karpenter shows them)
            text += f" [{', '.join(shown[:5])}{more}]"
        bounds = [f">= {self.gte}"] * (self.gte is not None) + [f"<= {self.lte}"] * (self.lte is not None)
        return " ".join([self.key, " and ".join(bounds) if bounds and not self.values else " ".join([text, *bounds])])


Requirements = Mapping[str, Requirement]
"""Requirements by label; a label that is not named may be anything."""


def requirement(key: str, operator: str, values: Iterable[object] = (), min_values: int | None = None) -> Requirement:
    """A requirement as a NodePool or a pod spells it.

    Args:
        key: the label, also under an old name.
        operator: `In`, `NotIn`, `Exists`, `DoesNotExist`, `Gt`, `Lt`, `Gte` or `Lte`.
        values: of the operator.
        min_values: how many values the chosen instance types must cover.
    """
    key = NORMALIZED.get(key, key)
    texts = [str(value) for value in values]
    if operator in ("In", "DoesNotExist"):
        return Requirement(key, frozenset(texts), min_values=min_values)
    if operator == "NotIn":
        return Requirement(key, frozenset(texts), complement=True, min_values=min_values)
    if operator == "Exists" or not texts:
        return Requirement(key, complement=True, min_values=min_values)
    if not _INTEGER.match(texts[0]):
        return Requirement(key, min_values=min_values)  # the API server refuses it; until then it matches nothing
    bound = int(texts[0])
    if operator in ("Gt", "Gte"):
        return Requirement(key, complement=True, gte=bound + (operator == "Gt"), min_values=min_values)
    return Requirement(key, complement=True, lte=bound - (operator == "Lt"), min_values=min_values)


def merged(*groups: Iterable[Requirement]) -> dict[str, Requirement]:
    """All requirements together; several for one label are intersected."""
    result: dict[str, Requirement] = {}
    for group in groups:
        for item in group:
            result[item.key] = item.intersection(result[item.key]) if item.key in result else item
    return result


def from_labels(labels: Mapping[str, Any] | None) -> list[Requirement]:
    """Requirements that a node selector, or the labels of a node, amount to."""
    return [requirement(key, "In", [value]) for key, value in (labels or {}).items()]


def from_expressions(expressions: Iterable[Mapping[str, Any]] | None) -> list[Requirement]:
    """Requirements that `matchExpressions`, or a NodePool's `requirements`, amount to."""
    return [
        requirement(
            expression["key"], expression["operator"], expression.get("values") or (), expression.get("minValues")
        )
        for expression in expressions or ()
    ]


@dataclass(frozen=True)
class Conflict:
    """A label on which a pod and a node pool do not agree.

    Attributes:
        wanted: what the pod (or its volume) requires.
        offered: what the pool allows; None for a label that its nodes do not carry.
    """

    wanted: Requirement
    offered: Requirement | None


def conflicts(offered: Requirements, wanted: Requirements, well_known: frozenset[str]) -> list[Conflict]:
    """Labels on which `wanted` cannot be met; `Requirements.Compatible` in Karpenter.

    A label of the user's own must be defined by the pool, a well-known one may be left to the instance type.
    """
    found = [
        Conflict(each, None)
        for key, each in wanted.items()
        if key not in well_known and key not in offered and not each.is_negative
    ]
    for key, each in wanted.items():
        existing = offered.get(key)
        if existing is None or existing.has_intersection(each) or (each.is_negative and existing.is_negative):
            continue
        found.append(Conflict(each, existing))
    return found


def _within(value: str, gte: int | None, lte: int | None) -> bool:
    if gte is None and lte is None:
        return True
    if not _INTEGER.match(value):
        return False
    number = int(value)
    return (gte is None or number >= gte) and (lte is None or number <= lte)


def _larger(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else max(one, other)


def _smaller(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else min(one, other)
