"""drydock init."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from drydock.cli.output import format_option
from drydock.errors import UsageError

if TYPE_CHECKING:
    from drydock.suite.proposal import Proposal


@click.command("init")
@click.argument("environment", required=False)
@click.option("--yes", is_flag=True, help="Write the files without asking.")
@format_option(default="text")
def command(environment: str | None, yes: bool, form: str) -> int:
    r"""Propose an environment from the charts, Kustomize folders, manifests and Argo CD Applications of this folder.

    ENVIRONMENT also selects values files and folders of that name, such as values-prod.yaml and overlays/prod. Its file
    is shown, and written to drydock/environments/E.yaml after you agree; no file that exists is changed.

    \b
    Examples:
      drydock init
      drydock init staging --yes
      drydock init prod --format json
    """
    from drydock.project import Project
    from drydock.suite.environments import check_environment_name
    from drydock.suite.proposal import propose
    from drydock.suite.repository_scan import scan

    here = Path.cwd().resolve()
    project = Project.discover()
    if project.home is None and here.is_relative_to(project.root.resolve()):
        raise UsageError(
            f"{here} belongs to a checkout of Drydock's own charts",
            remedy="Run it in a repository of yours; docs/development/add-an-environment.md is about this one.",
        )
    root = project.home or here
    if environment:
        check_environment_name(environment)
    found = scan(root)
    if not found:
        raise UsageError(
            f"{root} holds no chart, Kustomize folder, manifest or Argo CD Application",
            remedy="Run it at the root of the repository that has them.",
        )
    proposal = propose(found, environment or "")
    present = [str(file) for file in proposal.files if (root / file).exists()]
    if form == "text":
        _show(proposal)
    written = False
    if present:
        refusal = UsageError(
            f"nothing was written: {', '.join(present)} exists",
            remedy="Remove it, or name another environment: `drydock init NAME`.",
        )
        if yes or form == "text":
            raise refusal
    elif yes or (form == "text" and _agreed(proposal)):
        for file, text in proposal.files.items():
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            (root / file).write_text(text)
        written = True
    if form == "json":
        content = {
            "environment": proposal.name,
            "file": str(proposal.file),
            "files": {str(file): text for file, text in proposal.files.items()},
            "notes": list(proposal.notes),
            "exists": present,
            "written": written,
        }
        click.echo(json.dumps(content, indent=2))
    elif written:
        click.echo(f"Written: {', '.join(map(str, proposal.files))}", err=True)
        click.echo(f"Next: drydock validate {proposal.name}", err=True)
    return 0


def _show(proposal: "Proposal") -> None:
    for file, text in proposal.files.items():
        click.echo(f"--- {file}", err=True)
        click.echo(text.rstrip())


def _agreed(proposal: "Proposal") -> bool:
    if not sys.stdin.isatty():
        click.echo("Nothing was written: pass --yes to write it.", err=True)
        return False
    click.echo(f"Type yes to write {', '.join(map(str, proposal.files))}:", err=True)
    if sys.stdin.readline().strip() != "yes":
        raise UsageError("nothing was written: you did not agree")
    return True
