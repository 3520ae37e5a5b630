"""What the checks say: one thing wrong, where, why, and the way out."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """Errors make `validate` fail; warnings are shown; notes tell what could not be judged."""

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
    """

    environment: str
    check: str
    reason: str
    remedy: str = ""
    severity: Severity = Severity.ERROR
    chart: str = ""
    template: str = ""
    object: str = ""
    path: str = ""
    file: str = ""
    line: int = 0
    pain: int = 0

    def to_dict(self) -> dict[str, Any]:
        """The finding as JSON-ready data, without what is empty."""
        return {key: value for key, value in asdict(self).items() if value not in ("", 0)}
