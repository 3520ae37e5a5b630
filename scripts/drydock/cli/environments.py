"""drydock environments."""

import json

import click

from drydock.cli.output import format_option


@click.command("environments")
@format_option()
def command(form: str) -> None:
    """List the environments and the values files that each one stacks."""
    from drydock.environments import load_environments
    from drydock.project import Project

    project = Project.discover()
    environments = load_environments(project, ())
    if form == "json":
        rows = [
            {
                "name": each.name,
                "description": each.description,
                "stack": [str(file.relative_to(project.values_dir)) for file in each.values_files],
            }
            for each in environments
        ]
        click.echo(json.dumps(rows, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("environment", "stack, lowest first", "what it is", show_lines=True)
    for each in environments:
        stack = "\n".join(str(file.relative_to(project.values_dir)) for file in each.values_files)
        table.add_row(each.name, stack, each.description)
    Console().print(table)
