"""drydock doctor."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from drydock.cli.options import refuse_unused
from drydock.cli.output import columns, format_option

if TYPE_CHECKING:
    from drydock.project import Project
    from drydock.tools.doctor import DoctorReport

_UNUSED_DAYS = 7


@click.command("doctor")
@click.option(
    "--prune", is_flag=True, help="Remove what is neither pinned nor in use and was not used for --unused-days."
)
@click.option(
    "--unused-days",
    type=click.IntRange(1),
    default=_UNUSED_DAYS,
    show_default=True,
    help="Days without use after which --prune removes something.",
)
@format_option()
def command(prune: bool, unused_days: int, form: str) -> None:
    r"""Show which pinned tools are present or missing, where missing ones would come from, and the size of the caches.

    Nothing is built or downloaded. Every cache is safe to delete except `deployments`, which holds the Terraform
    states of clusters that are up. --prune leaves alone what a program uses, runs and deployments that are up, and the
    pinned tools. For Go's own caches use `go clean -cache -modcache`.

    \b
    Examples:
      drydock doctor
      drydock doctor --prune
    """
    from drydock.project import Project
    from drydock.tools.doctor import doctor_report

    if not prune:
        refuse_unused(["unused_days"], "nothing is removed without --prune", "Pass --prune as well.")
    project = Project.discover()
    if prune:
        _prune(project, unused_days, form)
        return
    report = doctor_report(project)
    if form == "json":
        click.echo(json.dumps(report.as_json(), indent=2))
    else:
        _print(project, report)


def _prune(project: "Project", unused_days: int, form: str) -> None:
    from rich.filesize import decimal

    from drydock.tools.caches import prune

    removed = prune(project, unused_days)
    freed = sum(entry.size for entry in removed)
    if form == "json":
        click.echo(json.dumps({"freed": freed, "removed": [asdict(entry) for entry in removed]}, indent=2))
        return
    if removed:
        click.echo(columns(("removed", "size"), [(entry.path, decimal(entry.size)) for entry in removed]))
    click.echo(f"freed: {decimal(freed)} of {project.cache_dir}")


def _print(project: "Project", report: "DoctorReport") -> None:
    from rich.filesize import decimal

    root = f"{project.cache_dir}/"
    tools = [
        (
            tool.name,
            tool.version,
            tool.state,
            decimal(tool.size) if tool.size else "",
            ", ".join(tool.verbs),
            tool.where.removeprefix(root),
        )
        for tool in report.tools
    ]
    click.echo(columns(("tool", "version", "state", "size", "needed by", "where"), tools))
    total = sum(purpose.size for purpose in report.purposes)
    caches = [
        *((purpose.name, decimal(purpose.size), ", ".join(purpose.folders)) for purpose in report.purposes),
        ("total", decimal(total), ""),
        *((cache.name, decimal(cache.size), cache.folder) for cache in report.caches if cache.name.startswith("go's")),
    ]
    click.echo(f"\nCache: {project.cache_dir}; paths above and below are in it")
    click.echo(columns(("cache for", "size", "folders"), caches))
