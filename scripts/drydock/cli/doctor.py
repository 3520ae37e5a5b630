"""drydock doctor."""

import json

import click

from drydock.cli.output import format_option


@click.command("doctor")
@format_option()
def command(form: str) -> None:
    """Tell which pinned tools are there or missing, from where those would come, and how large the caches are.

    Nothing is built or downloaded. Every cache is safe to delete but `deployments`, which
    holds the Terraform states of clusters that are up.
    """
    from drydock.project import Project
    from drydock.toolchain.doctor import doctor_report

    report = doctor_report(Project.discover())
    if form == "json":
        click.echo(json.dumps(report.as_json(), indent=2))
        return
    from rich.console import Console
    from rich.filesize import decimal
    from rich.table import Column, Table

    console = Console()
    tools = Table("tool", "version", "state", Column("where", overflow="fold"), "size", "needed by")
    for tool in report.tools:
        size = decimal(tool.size) if tool.size else ""
        tools.add_row(tool.name, tool.version, tool.state, tool.where, size, ", ".join(tool.verbs))
    console.print(tools)
    caches = Table("cache", Column("folder", overflow="fold"), "size")
    for cache in report.caches:
        caches.add_row(cache.name, cache.folder, decimal(cache.size))
    console.print(caches)
