"""drydock images."""

import json
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from drydock.cli.options import (
    Bring,
    EnvironmentName,
    bring_options,
    check_writable,
    one_stack,
    refuse_unused,
    stack_options,
)
from drydock.cli.output import columns
from drydock.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from drydock.inventory.images import UsedImage
    from drydock.inventory.registries import Resolved


@click.command("images")
@click.argument("environment", type=EnvironmentName(), required=False)
@stack_options
@bring_options
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "skopeo-sync", "skopeo-copy"]),
    default="table",
    show_default=True,
    help="Output for people, machines, `skopeo sync --src yaml`, or a shell that runs `skopeo copy`.",
)
@click.option("--resolve", "resolved", is_flag=True, help="Ask the registries, and print values that pin each image.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="With --resolve: write the values to FILE instead of printing them.",
)
def command(
    environment: str | None,
    files: tuple[Path, ...],
    set_values: tuple[str, ...],
    form: str,
    resolved: bool,
    output: Path | None,
    bring: Bring,
) -> int:
    r"""List every image of ENVIRONMENT with the charts that use it and the architectures of the nodes it runs on.

    Images of pods that a controller makes (Ray clusters, workflows, notebooks) are included. `support` is until when
    the maker keeps the release up, where that is known.

    For a site without the internet, `skopeo-copy` prints one command for each image that `global.imageRegistry`
    redirects, from where it is published to where the pods look for it. `skopeo-sync` prints a source file; with
    `--scoped` it mirrors the images under REGISTRY/their own registry/.

    `--resolve` turns tags into digests, as the registries have them now, and prints a values file to stack on top. It
    ends with status 1 when an image is not there, or not for an architecture that its pods can get.

    \b
    Examples:
      drydock images prod
      drydock images --chart ../their-chart
      drydock images airgap --format skopeo-copy | sh
      drydock images prod --resolve -o values/digests/prod.yaml
      drydock images prod --format skopeo-sync > images.yaml
      skopeo sync --scoped --src yaml --dest docker images.yaml registry.example.com/mirror
    """
    from drydock.inventory.images import used_images
    from drydock.progress import terminal_progress
    from drydock.project import Project
    from drydock.suite.charts import assemble_charts
    from drydock.tools.build import ensure

    if output and not resolved:
        raise UsageError("-o writes what --resolve finds", remedy="Give --resolve too, or redirect the output.")
    if resolved:
        refuse_unused(["form"], "--resolve prints values", "Leave it out.")
    project = Project.discover()
    stack = one_stack(project, environment, files, set_values, bring)
    if output:
        check_writable("-o", output.parent)
    with terminal_progress() as progress:
        tools = ensure(project, ["helm4", *(["crane"] if resolved else [])], progress)
        charts = assemble_charts(project)
        images = used_images(project, tools["helm4"], charts, stack)
        if not resolved:
            _write(images, form)
            return 0
        from drydock.inventory.image_values import digest_values, image_keys
        from drydock.inventory.registries import resolve

        with progress.step("Ask the registries"):
            found, missing = resolve(tools["crane"], (used_image.image for used_image in images))
    keys = image_keys(project, charts, stack)
    digests = {
        used_image.upstream: found[used_image.image].digest for used_image in images if used_image.image in found
    }
    wrong = [f"{image}: {reason}" for image, reason in missing.items()]
    wrong += [
        f"{used_image.image} does not exist for {', '.join(lacking)}"
        for used_image in images
        if used_image.image in found
        and (lacking := sorted({*used_image.architectures} - {*found[used_image.image].architectures}))
    ]
    unset = [image for image in digests if image not in keys and "@" not in image]
    if digests:
        _write_values(digest_values(keys, digests), found.values(), output)
    for warning in (*wrong, *(f"{image}: no value of the environment names it, so none can pin it" for image in unset)):
        click.echo(f"warning: {warning}", err=True)
    return int(bool(wrong))


def _write_values(values: "Mapping[str, object]", found: "Iterable[Resolved]", output: Path | None) -> None:
    import yaml

    facts = "".join(
        f"#   {resolved_image.image} {', '.join(resolved_image.architectures)}\n" for resolved_image in found
    )
    text = f"# Digests as the registries had them; architectures:\n{facts}{yaml.safe_dump(dict(values))}"
    if output is None:
        click.echo(text, nl=False)
    else:
        output.write_text(text)
        click.echo(f"written to {output}", err=True)


def _write(images: "Sequence[UsedImage]", form: str) -> None:
    from drydock.inventory.images import skopeo_copies, skopeo_sync

    if form == "json":
        click.echo(json.dumps([asdict(image) for image in images], indent=2))
    elif form == "skopeo-sync":
        import yaml

        click.echo(yaml.safe_dump(skopeo_sync(images), sort_keys=False), nl=False)
    elif form == "skopeo-copy":
        click.echo("\n".join(skopeo_copies(images)) or "# Every image comes from where it is published.")
    else:
        cells = [
            (
                image.image,
                ", ".join(image.charts),
                ", ".join(image.architectures) or "-",
                _support(image.supported_until),
                "" if image.upstream.endswith(image.image) else image.upstream,
            )
            for image in images
        ]
        click.echo(columns(("image", "charts", "architectures", "support", "from"), cells))


def _support(until: str) -> str:
    if not until:
        return "-"
    return f"ended {until}" if date.fromisoformat(until) < datetime.now(UTC).date() else f"until {until}"
