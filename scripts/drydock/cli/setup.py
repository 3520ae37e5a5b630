"""drydock setup."""

import json

import click

from drydock.cli.output import format_option


@click.command("setup")
@click.argument("parts", nargs=-1, metavar="[VERB|crds]...")
@format_option(default="text")
def command(parts: tuple[str, ...], form: str) -> None:
    """Build the pinned tools and fetch CRDs and schemas, as far as they are missing.

    Every verb does this for itself; this does it ahead of time. Name a verb to get only what that verb needs, or `crds`
    to fill charts/crds for use with plain Helm. Without a name everything is made ready.
    """
    from drydock.errors import UsageError
    from drydock.progress import terminal_progress
    from drydock.project import Project
    from drydock.tools.crd_files import ensure_crds
    from drydock.tools.pins import Toolchain
    from drydock.tools.setup import set_up, set_up_everything

    project = Project.discover()
    verbs = sorted({verb for tool in Toolchain.load(project).tools.values() for verb in tool.verbs})
    unknown = set(parts) - {*verbs, "crds"}
    if unknown:
        raise UsageError(
            f"nothing to set up for '{', '.join(sorted(unknown))}'", remedy=f"Known: {', '.join([*verbs, 'crds'])}."
        )
    with terminal_progress() as progress:
        if "crds" in parts:
            ensure_crds(project, progress)
        for verb in set(parts) - {"crds"}:
            set_up(project, verb, progress)
        if not parts:
            set_up_everything(project, progress)
    if form == "json":
        click.echo(json.dumps({"ready": sorted(set(parts)) or ["crds", *verbs]}, indent=2))
    click.echo("ready", err=True)
