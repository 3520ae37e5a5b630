"""drydock render."""

import json
import shlex
from pathlib import Path

import click

from drydock.cli.options import EnvironmentName, check_writable, one_environment, refuse_unused, stack_options
from drydock.cli.output import failure_json, format_option


@click.command("render")
@click.argument("environment", type=EnvironmentName())
@stack_options
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write one file per object into DIR.",
)
@click.option("--chart", "chart", metavar="NAME", help="Only the objects of this chart.")
@click.option(
    "--helm",
    type=click.Choice(["3", "4"]),
    default="4",
    show_default=True,
    help="Major version of the Helm that renders.",
)
@format_option(default="yaml")
@click.option("--show-command", is_flag=True, help="Print the plain Helm commands that install the same objects.")
def command(
    environment: str,
    files: tuple[Path, ...],
    set_values: tuple[str, ...],
    output: Path | None,
    chart: str | None,
    helm: str,
    show_command: bool,
    form: str,
) -> int:
    r"""Print the manifests of ENVIRONMENT, in a stable order, each with its source template.

    \b
    Examples:
      drydock render dev
      drydock render prod --chart vllm -o out/
      drydock render dev --set vllm.models.llama-3-8b.replicas=2
      drydock render dev --show-command
    """
    from drydock.checks import formats
    from drydock.checks.values_schema import merged_values, refused_values
    from drydock.errors import RenderError
    from drydock.progress import terminal_progress
    from drydock.project import Project
    from drydock.suite.charts import assemble_charts
    from drydock.suite.render import chart_manifests, install_commands, render, write_manifests
    from drydock.tools.build import ensure

    if show_command:
        refuse_unused(["output", "chart", "helm"], "--show-command renders nothing", "Leave it out.")
    if output:
        refuse_unused(["form"], "-o writes YAML files", "Leave it out.")
        check_writable("-o", output)
    project = Project.discover()
    stack = one_environment(project, environment, files, set_values)
    if show_command:
        away = Path.cwd().resolve() != project.base.resolve()  # which the paths are relative to
        commands = [*([f"cd {shlex.quote(str(project.base))}"] if away else ()), *install_commands(project, stack)]
        click.echo(json.dumps(commands, indent=2) if form == "json" else "\n".join(commands))
        return 0
    with terminal_progress() as progress:
        tool = ensure(project, [f"helm{helm}"], progress)[f"helm{helm}"]
        charts = assemble_charts(project)
        try:
            manifests = render(tool, charts, stack).manifests
        except RenderError as error:
            refused = refused_values(merged_values(tool, charts.umbrella, stack), project, charts.umbrella, stack)
            if not refused:
                raise
            click.echo(formats.text(refused), err=True)
            if form == "json":
                click.echo(failure_json(error, refused))
            return 1
    if chart:
        manifests = chart_manifests(project, manifests, chart)
    if output:
        write_manifests(manifests, output)
        click.echo(f"{len(manifests)} objects written to {output}", err=True)
        return 0
    if form == "json":
        click.echo(json.dumps([each.content for each in manifests], indent=2))
        return 0
    for manifest in manifests:
        click.echo(f"---\n{manifest.text}", nl=False)
    return 0
