"""drydock validate."""

from pathlib import Path

import click

from drydock.cli.options import EnvironmentName, some_environments, stack_options


@click.command("validate")
@click.argument("environments", nargs=-1, type=EnvironmentName(), metavar="[ENVIRONMENT]...")
@stack_options
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "sarif", "github"]),
    default="text",
    show_default=True,
    help="For people, machines, code scanning, or annotations of GitHub Actions.",
)
@click.option("--server", is_flag=True, help="Also dry-run every object on a rehearsal API server (CEL, pod security).")
@click.option("--no-cache", is_flag=True, help="Check again what is known to be unchanged.")
def command(
    environments: tuple[str, ...],
    files: tuple[Path, ...],
    set_values: tuple[str, ...],
    form: str,
    server: bool,
    no_cache: bool,
) -> int:
    r"""Check ENVIRONMENTs, all of them by default, without installing anything; exit 1 when there are errors.

    Values against schemas (with file and line), `helm lint`, objects against the schemas of the pinned Kubernetes and
    of every CRD, pods against node pools, and the known pains, under Helm 3 and Helm 4. What is unchanged is not
    checked twice.

    \b
    Examples:
      drydock validate
      drydock validate prod --set vllm.models.llama.accelerator.count=16
      drydock validate --format sarif > findings.sarif
    """
    from drydock.charts import assemble_charts
    from drydock.checks import formats
    from drydock.findings import Severity
    from drydock.progress import terminal_progress
    from drydock.project import Project
    from drydock.setup import set_up
    from drydock.validate import validate

    project = Project.discover()
    stacks = some_environments(project, environments, files, set_values)
    with terminal_progress() as progress:
        equipment = set_up(project, "validate", progress)
        findings = validate(
            project,
            equipment.tools,
            stacks,
            assemble_charts(project),
            progress=progress,
            schemas=equipment.schemas,
            cache=not no_cache,
        )
    write = {"text": formats.text, "json": formats.as_json, "sarif": formats.sarif, "github": formats.github}
    names = ", ".join(each.name for each in stacks)
    click.echo(f"checked with Helm 3 and Helm 4: {names}", err=True)
    click.echo(write[form](findings))
    return int(any(each.severity is Severity.ERROR for each in findings))
