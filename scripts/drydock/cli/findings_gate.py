"""Validation before a verb installs: findings are shown, and one of severity error ends the verb."""

from typing import TYPE_CHECKING

import click

from drydock.cli.output import failure_json

if TYPE_CHECKING:
    from drydock.checks.findings import Finding
    from drydock.errors import DrydockError
    from drydock.progress import Progress
    from drydock.project import Project
    from drydock.suite.environments import Environment
    from drydock.tools.setup import Equipment


def passes(
    project: "Project",
    equipment: "Equipment",
    stack: "Environment",
    progress: "Progress",
    refusal: "DrydockError",
    *,
    ignore_findings: bool,
    form: str,
) -> bool:
    """Validate an environment and show what was found.

    Args:
        project: the suite.
        equipment: what `set_up` built for `validate` or more.
        stack: the environment.
        progress: shows step and findings.
        refusal: what is reported, with the findings, when one is an error.
        ignore_findings: whether errors are shown and accepted.
        form: `--format` of the verb; `json` prints the refusal on standard output.

    Returns:
        False when the verb must end with status 1: the refusal is printed.
    """
    from drydock.checks import formats
    from drydock.checks.validate import validate
    from drydock.plan import stated_load
    from drydock.suite.charts import assemble_charts

    with progress.step("Validate"):
        charts = assemble_charts(project)
        findings = validate(
            project,
            equipment.tools,
            [stack],
            charts,
            progress=progress,
            schemas=equipment.schemas,
            more=(stated_load.check,),
        )
    if findings:
        progress.note(formats.text(findings))
    if ignore_findings or not any(_blocks(finding) for finding in findings):
        return True
    progress.note(f"{refusal.message.capitalize()}. {refusal.remedy}")
    if form == "json":
        click.echo(failure_json(refusal, findings))
    return False


def _blocks(finding: "Finding") -> bool:
    """Of charts that are not the suite's, what a cluster would take is shown and tried."""
    from drydock.checks.findings import Severity
    from drydock.checks.helm_output import RENDER

    return finding.severity is Severity.ERROR and (not finding.release or finding.check == RENDER)
