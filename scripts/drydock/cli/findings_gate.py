"""How a verb ends whose environment was refused because of findings."""

from typing import TYPE_CHECKING

import click

from drydock.cli.output import failure_json

if TYPE_CHECKING:
    from drydock.checks.findings_error import FindingsError
    from drydock.progress import Progress


def report_refusal(refusal: "FindingsError", progress: "Progress", form: str) -> int:
    """Print a refusal, whose findings have been shown, and return the exit status.

    `form` is the `--format` of the verb: `json` prints the refusal and the findings on standard output.
    """
    progress.note(f"{refusal.message.capitalize()}. {refusal.remedy}")
    if form == "json":
        click.echo(failure_json(refusal, refusal.findings))
    return refusal.exit_status
