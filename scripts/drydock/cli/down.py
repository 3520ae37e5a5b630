"""drydock down."""

import json
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from drydock.cli.output import format_option, pasteable
from drydock.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drydock.project import Project
    from drydock.rehearsal.runs import RunningCluster

_SEVERAL = 2


@click.command("down")
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option("--list", "show", is_flag=True, help="Only list the clusters that are up, and what uses them.")
@click.option("--yes", is_flag=True, help="Remove several clusters without asking.")
@format_option()
def command(runs: tuple[str, ...], show: bool, yes: bool, form: str) -> None:
    r"""Remove rehearsal clusters that `rehearse --keep` left up, with all their processes and data.

    RUN is the name that `rehearse` and --list print. Without one, kept clusters that no command uses are removed, and
    leftovers of killed commands; it asks before it removes several. A running rehearsal or test is removed only
    by its name, a deployment only by `drydock destroy`. Reports and logs stay.

    \b
    Examples:
      drydock down --list
      drydock down 20261130-093012-dev-1f2e
      drydock down --yes
    """
    from drydock.progress import terminal_progress
    from drydock.project import Project
    from drydock.rehearsal.runs import down, list_clusters, removable

    project = Project.discover()
    clusters = list_clusters(project)
    if show:
        _print(clusters, form)
        return
    chosen = _named(clusters, runs) if runs else removable(clusters)
    if not runs and len(chosen) >= _SEVERAL and not yes:
        _ask(chosen)
    removed: tuple[str, ...] = ()
    if chosen:
        with terminal_progress() as progress, progress.step("Remove rehearsal clusters"):
            removed = tuple(name for cluster in chosen for name in down(project, cluster.name))
    _conclude(project, removed, form)


def _named(clusters: "Sequence[RunningCluster]", names: "Sequence[str]") -> "list[RunningCluster]":
    known = {cluster.name: cluster for cluster in clusters}
    for name in names:
        if name not in known:
            raise UsageError(f"no cluster named '{name}' runs", remedy=f"Running: {', '.join(known) or 'none'}.")
        if known[name].deployment and known[name].supervised:
            raise UsageError(
                f"{name} carries the deployment {known[name].deployment}",
                remedy=f"`drydock destroy {known[name].deployment}` removes both.",
            )
    return [known[name] for name in names]


def _ask(chosen: "Sequence[RunningCluster]") -> None:
    """Whether to remove several.

    Raises:
        UsageError: the user declined, or there is no terminal to ask on.
    """
    lines = [f"  {cluster.name}  {cluster.doing}" for cluster in chosen]
    click.echo("\n".join([f"This removes {len(chosen)} clusters:", *lines]), err=True)
    if not sys.stdin.isatty():
        raise UsageError("nothing was removed: several clusters are up", remedy="Name those to remove, or pass --yes.")
    click.echo("Type yes to remove them:", err=True)
    if sys.stdin.readline().strip() != "yes":
        raise UsageError("nothing was removed: you did not agree", remedy="Name those to remove.")


def _conclude(project: "Project", removed: "tuple[str, ...]", form: str) -> None:
    from drydock.rehearsal.runs import list_clusters

    left = list_clusters(project)
    if form == "json":
        click.echo(json.dumps({"removed": removed, "left": [_as_json(cluster) for cluster in left]}, indent=2))
        return
    click.echo("\n".join(f"removed: {name}" for name in removed) if removed else "nothing was removed")
    for cluster in left:
        click.echo(pasteable(f"still up: {cluster.name}: {_why_left(cluster)}"), err=True)


def _why_left(cluster: "RunningCluster") -> str:
    if cluster.deployment:
        return f"deployment {cluster.deployment}; `drydock destroy {cluster.deployment}` removes it"
    if cluster.users:
        return f"in use by {', '.join(map(str, cluster.users))}; `drydock down {cluster.name}` removes it all the same"
    owner = f" by {cluster.state.owner}" if cluster.state else ""
    return f"{cluster.doing}{owner}; `drydock down {cluster.name}` removes it all the same"


def _print(clusters: "Sequence[RunningCluster]", form: str) -> None:
    """Each name and path whole, on lines of their own: people copy them."""
    if form == "json":
        click.echo(json.dumps([_as_json(cluster) for cluster in clusters], indent=2))
        return
    if not clusters:
        click.echo("no cluster is up")
    for cluster in clusters:
        minutes = (time.time() - cluster.started) / 60
        lines = [
            cluster.name,
            f"  {cluster.kind}, {cluster.doing}, up for {minutes:.0f} min",
            *([f"  deployment {cluster.deployment}"] if cluster.deployment else ()),
            *([f"  started by {cluster.state.owner}"] if cluster.state else ()),
            *(f"  in use by {user}" for user in cluster.users),
            f"  KUBECONFIG={cluster.folder.kubeconfig}",
            f"  logs {cluster.folder.logs}",
        ]
        click.echo("\n".join(lines))


def _as_json(cluster: "RunningCluster") -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "name": cluster.name,
        "kind": cluster.kind,
        "state": cluster.doing,
        "deployment": cluster.deployment or None,
        "started": cluster.started,
        "owner": asdict(cluster.state.owner) if cluster.state else None,
        "users": [asdict(user) for user in cluster.users],
        "kubeconfig": str(cluster.folder.kubeconfig),
        "logs": str(cluster.folder.logs),
    }
