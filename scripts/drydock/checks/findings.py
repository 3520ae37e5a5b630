"""What the checks say: one thing wrong, where, why, and the way out."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """Errors make `validate` fail; warnings are shown; notes name what could not be judged."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, order=True)
class Finding:
    """One thing wrong in an environment.

    Attributes:
        environment: name of the environment.
        check: stable identifier of the check, for example `values-schema` or `pod-feasibility`.
        reason: what is wrong and why, in one sentence.
        remedy: what to set instead.
        severity: error, warning or note.
        chart: chart of the object or value.
        template: template that rendered the object, relative to charts/.
        object: `Kind/name` or `Kind/namespace/name`.
        path: path inside the object or the values, dotted.
        file: values file (or template) to open, relative to the project where it lies inside.
        line: line in `file`, counted from 1.
        pain: number of the known pain that this check prevents (docs/known-pains.md).
        consequences: what follows from it and needs no remedy of its own.
        cause: `key` of the finding that this one follows from, or a name that findings of one cause share.
        release: or file of manifests, of an object that is not the suite's.
    """

    environment: str
    check: str
    reason: str
    remedy: str
    severity: Severity = Severity.ERROR
    chart: str = ""
    template: str = ""
    object: str = ""
    path: str = ""
    file: str = ""
    line: int = 0
    pain: int = 0
    consequences: tuple[str, ...] = ()
    cause: str = ""
    release: str = ""

    @property
    def key(self) -> str:
        """By which another finding names this one as its cause."""
        return f"{self.check} {self.object}".rstrip()

    def to_dict(self) -> dict[str, Any]:
        """The finding as JSON-ready data, without what is empty."""
        return {key: value for key, value in asdict(self).items() if key != "cause" and value not in ("", 0, ())}


def folded(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """One finding for each cause, sorted: those that follow from another stand among its consequences.

    Where the cause itself is not among the findings, the first of those that share it stands for the others.
    """
    every = sorted(set(findings))
    causes = {each.key: each for each in reversed(every)}
    for each in sorted(every, key=lambda one: list(Severity).index(one.severity)):
        if each.cause:
            causes.setdefault(each.cause, each)
    following: dict[Finding, list[Finding]] = {}
    roots = []
    for each in every:
        root = _root(each, causes)
        if root is each:
            roots.append(each)
        else:
            following.setdefault(root, []).append(each)
    return tuple(
        replace(each, consequences=tuple(dict.fromkeys(_consequence(one, each) for one in following.get(each, ()))))
        for each in roots
    )


def _root(finding: Finding, causes: dict[str, Finding]) -> Finding:
    seen = {finding}
    while finding.cause and (above := causes[finding.cause]) not in seen:
        seen.add(above)
        finding = above
    return finding


def _consequence(finding: Finding, root: Finding) -> str:
    what = finding.object or finding.path
    return f"{what}: {finding.check}" if finding.reason == root.reason else f"{what}: {finding.check}: {finding.reason}"
