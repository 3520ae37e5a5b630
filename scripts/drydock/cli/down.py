"""drydock down."""

import time
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from drydock.rehearsal.runs import RunningCluster


@click.command("down")
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option("--list", "show", is_flag=True, help="Only list the clusters that are up.")
def command(runs: tuple[str, ...], show: bool) -> None:
    """Remove rehearsal clusters that `rehearse --keep` left up, with all their processes and data.

    RUN is the name that `rehearse` printed; without one, every kept cluster goes, and what a killed rehearsal left
    behind. A rehearsal that is under way goes only by its name. Reports and logs stay.
    """
    from drydock.progress import terminal_progress
    from drydock.project import Project
    from drydock.rehearsal.runs import down, list_clusters

    project = Project.discover()
    if show:
        _print(list_clusters(project))
        return
    with terminal_progress() as progress, progress.step("Remove rehearsal clusters"):
        removed = [name for run in runs or (None,) for name in down(project, run)]
    clusters = list_clusters(project)
    click.echo(f"removed: {', '.join(removed)}" if removed else "nothing was up")
    if clusters:
        click.echo(f"still under way: {', '.join(each.name for each in clusters)}", err=True)


def _print(clusters: "tuple[RunningCluster, ...]") -> None:
    from rich.console import Console
    from rich.table import Column, Table

    table = Table("rehearsal", "state", "up for", Column("KUBECONFIG", overflow="fold"))
    for each in clusters:
        state = "kept" if each.kept else ("under way" if each.supervised else "left by a killed rehearsal")
        table.add_row(each.name, state, f"{(time.time() - each.started) / 60:.0f} min", str(each.folder.kubeconfig))
    Console().print(table)
