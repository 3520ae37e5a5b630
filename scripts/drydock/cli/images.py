"""drydock images."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from drydock.cli.options import EnvironmentName, one_environment, stack_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drydock.images import UsedImage


@click.command("images")
@click.argument("environment", type=EnvironmentName())
@stack_options
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "skopeo-sync", "skopeo-copy"]),
    default="table",
    show_default=True,
    help="For people, machines, `skopeo sync --src yaml`, or a shell that runs `skopeo copy`.",
)
def command(environment: str, files: tuple[Path, ...], set_values: tuple[str, ...], form: str) -> None:
    r"""List every image of ENVIRONMENT with the charts that use it and the architectures of the nodes it runs on.

    Also those in pods that a controller makes: of Ray clusters, workflows, notebooks.

    For a site without the internet, `skopeo-copy` prints one command for each image that `global.imageRegistry`
    redirects, from where it is published to where the pods look for it. `skopeo-sync` prints a source file; with
    `--scoped` it mirrors the images under REGISTRY/their own registry/.

    \b
    Examples:
      drydock images prod
      drydock images airgap --format skopeo-copy | sh
      drydock images prod --format skopeo-sync > images.yaml
      skopeo sync --scoped --src yaml --dest docker images.yaml registry.example.com/mirror
    """
    from drydock.charts import assemble_charts
    from drydock.images import used_images
    from drydock.progress import terminal_progress
    from drydock.project import Project
    from drydock.toolchain import ensure

    project = Project.discover()
    stack = one_environment(project, environment, files, set_values)
    with terminal_progress() as progress:
        helm = ensure(project, ["helm4"], progress)["helm4"]
        images = used_images(project, helm, assemble_charts(project), stack)
    _write(images, form)


def _write(images: "Sequence[UsedImage]", form: str) -> None:
    from drydock.images import skopeo_copies, skopeo_sync

    if form == "json":
        click.echo(json.dumps([asdict(each) for each in images], indent=2))
    elif form == "skopeo-sync":
        import yaml

        click.echo(yaml.safe_dump(skopeo_sync(images), sort_keys=False), nl=False)
    elif form == "skopeo-copy":
        click.echo("\n".join(skopeo_copies(images)) or "# Every image comes from where it is published.")
    else:
        from rich.console import Console
        from rich.table import Column, Table

        table = Table(Column("image", overflow="fold"), "charts", "architectures", show_lines=True)
        for each in images:
            origin = "" if each.upstream.endswith(each.image) else f"\n[dim]from {each.upstream}[/dim]"
            table.add_row(f"{each.image}{origin}", "\n".join(each.charts), ", ".join(each.architectures) or "-")
        Console().print(table)
