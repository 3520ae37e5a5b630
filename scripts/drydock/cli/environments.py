"""drydock environments."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from drydock.cli.output import columns, format_option

if TYPE_CHECKING:
    from drydock.project import Project


@click.command("environments")
@format_option()
def command(form: str) -> int:
    """List the environments and the values files that each one stacks; exit 1 when the file of one is wrong."""
    from drydock.project import Project
    from drydock.suite.environments import readable_environments

    project = Project.discover()
    environments, broken = readable_environments(project)
    stacks = {
        environment.name: [_shown(project, file) for file in environment.values_files] for environment in environments
    }
    if form == "json":
        rows = [
            {"name": environment.name, "description": environment.description, "stack": stacks[environment.name]}
            for environment in environments
        ]
        wrong = [{"name": name, "error": error.to_dict()} for name, error in broken.items()]
        click.echo(json.dumps([*rows, *wrong], indent=2))
    else:
        cells = [
            (environment.name, ", ".join(stacks[environment.name]), environment.description)
            for environment in environments
        ]
        click.echo(columns(("environment", "stack, lowest first", "what it is"), cells))
        for error in broken.values():
            click.echo(f"error: {error}", err=True)
    return int(bool(broken))


def _shown(project: "Project", file: Path) -> str:
    folders = (folder for folder in (project.values_dir, project.base) if file.is_relative_to(folder))
    return str(file.relative_to(next(folders, Path("/"))))
