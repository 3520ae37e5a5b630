"""drydock environments."""

import json

import click


@click.command("environments")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
def command(form: str) -> None:
    """List the environments and the values files that each one stacks."""
    from drydock.project import Project
    from drydock.suite.environments import load_environments

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
