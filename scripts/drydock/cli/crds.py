"""drydock crds."""

import json
from pathlib import Path

import click

from drydock.cli.output import columns, format_option


@click.group("crds")
def command() -> None:
    """Print or upgrade the CRDs that the suite's objects need."""


_owners = click.option(
    "--owner", "owners", multiple=True, metavar="NAME", help="Only the CRDs of this owner (karpenter, ...); repeatable."
)


@command.command("print")
@_owners
@format_option(default="yaml")
def print_(owners: tuple[str, ...], form: str) -> None:
    """Print the CRDs, a YAML document each, for `kubectl apply --server-side -f -`."""
    from drydock.clusters.crds import crd_files, read_crds
    from drydock.progress import terminal_progress
    from drydock.project import Project
    from drydock.tools.crd_files import ensure_crds

    project = Project.discover()
    with terminal_progress() as progress:
        ensure_crds(project, progress)
    if form == "json":
        click.echo(json.dumps(list(read_crds(project, owners)), indent=2))
        return
    for file in crd_files(project, owners):
        click.echo(f"---\n{file.read_text()}")


@command.command("upgrade")
@click.option(
    "--kubeconfig",
    type=click.Path(path_type=Path, exists=True),
    help="Kubeconfig of the cluster; default $KUBECONFIG, as for kubectl.",
)
@_owners
@format_option()
def upgrade(kubeconfig: Path | None, owners: tuple[str, ...], form: str) -> None:
    """Bring a cluster's CRDs to the pinned versions; run it before `helm upgrade`, which never touches them.

    Applied server-side; objects that etcd holds in an older version are rewritten. Nothing is applied when a version
    that the cluster still stores would be lost.
    """
    from dataclasses import asdict

    from drydock.clusters.crds import read_crds, upgrade_crds
    from drydock.progress import terminal_progress
    from drydock.project import Project
    from drydock.rehearsal.runs import in_use
    from drydock.tools.crd_files import ensure_crds

    project = Project.discover()
    with terminal_progress() as progress:
        ensure_crds(project, progress)
        with in_use(project, kubeconfig):
            results = upgrade_crds(kubeconfig, read_crds(project, owners), progress)
    if form == "json":
        click.echo(json.dumps([asdict(result) for result in results], indent=2))
        return
    cells = [(result.name, result.action, result.storage_version, str(result.migrated_objects)) for result in results]
    click.echo(columns(("CRD", "action", "storage version", "objects rewritten"), cells))
