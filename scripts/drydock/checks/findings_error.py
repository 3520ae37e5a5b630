"""Validation before something is installed: findings are shown, and one of severity error refuses it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from drydock.checks.findings import Finding, Severity
from drydock.checks.formats import text
from drydock.checks.helm_output import RENDER
from drydock.checks.validate import validate
from drydock.errors import DrydockError
from drydock.suite.charts import assemble_charts

if TYPE_CHECKING:
    from drydock.checks.registry import Check
    from drydock.progress import Progress
    from drydock.project import Project
    from drydock.suite.environments import Environment
    from drydock.tools.setup import Equipment


class FindingsError(DrydockError):
    """Validation found errors in what was to be installed.

    Attributes:
        findings: all of them, warnings included.
    """

    def __init__(self, message: str, *, remedy: str = "", findings: Sequence[Finding] = ()) -> None:
        super().__init__(message, remedy=remedy)
        self.findings = tuple(findings)


def refuse_errors(
    project: "Project",
    equipment: "Equipment",
    environment: "Environment",
    progress: "Progress",
    *,
    message: str,
    remedy: str,
    accept: bool = False,
    strict: bool = False,
    more: Sequence["Check"] = (),
) -> tuple[Finding, ...]:
    """Validate an environment, show the findings, and refuse errors.

    Args:
        project: the suite.
        equipment: what `set_up` built for `validate` or more.
        environment: what is to be installed.
        progress: shows step and findings.
        message: of the refusal.
        remedy: of the refusal.
        accept: whether errors are shown and accepted.
        strict: whether an error about a chart of others counts that a cluster would take.
        more: checks of layers above.

    Returns:
        The findings.

    Raises:
        FindingsError: one of them is an error.
    """
    with progress.step("Validate"):
        findings = validate(
            project,
            equipment.tools,
            [environment],
            assemble_charts(project),
            progress=progress,
            schemas=equipment.schemas,
            more=more,
        )
    if findings:
        progress.note(text(findings))
    if not accept and any(_blocks(finding, strict=strict) for finding in findings):
        raise FindingsError(message, remedy=remedy, findings=findings)
    return findings


def _blocks(finding: Finding, *, strict: bool) -> bool:
    """Of charts that are not the suite's, what a cluster would take is shown and tried."""
    return finding.severity is Severity.ERROR and (strict or not finding.release or finding.check == RENDER)
