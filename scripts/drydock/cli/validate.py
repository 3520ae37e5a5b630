"""drydock validate."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from drydock.cli.options import (
    Bring,
    EnvironmentName,
    bring_options,
    check_stray,
    one_stack,
    some_environments,
    stack_options,
)

if TYPE_CHECKING:
    from drydock.checks.findings import Finding
    from drydock.errors import DrydockError
    from drydock.suite.environments import Environment


@click.command("validate")
@click.argument("environments", nargs=-1, type=EnvironmentName(), metavar="[ENVIRONMENT]...")
@stack_options
@bring_options
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "sarif", "github"]),
    default="text",
    show_default=True,
    help="Output for people, machines, code scanning, or annotations of GitHub Actions.",
)
@click.option("--server", is_flag=True, help="Also dry-run every object on a rehearsal API server (CEL, pod security).")
@click.option("--no-cache", is_flag=True, help="Ignore cached findings and check everything again.")
def command(
    environments: tuple[str, ...],
    files: tuple[Path, ...],
    set_values: tuple[str, ...],
    form: str,
    server: bool,
    no_cache: bool,
    bring: Bring,
) -> int:
    r"""Check ENVIRONMENTs, all of them by default, without installing anything; exit 1 when there are errors.

    Values against schemas (with file and line), `helm lint`, objects against the schemas of the pinned Kubernetes and
    of every CRD, pods against node pools, and the known pains, under Helm 3 and Helm 4. What is unchanged is not
    checked twice.

    \b
    Examples:
      drydock validate
      drydock validate prod --set vllm.models.llama-3-8b.accelerator.count=16
      drydock validate --format sarif > findings.sarif
      drydock validate --chart ../their-chart -f their-values.yaml
      drydock validate --manifests k8s/
    """
    from drydock.checks.findings import Finding
    from drydock.checks.formats import FORMATS
    from drydock.checks.validate import validate
    from drydock.plan import stated_load
    from drydock.progress import terminal_progress
    from drydock.project import Project
    from drydock.suite.charts import assemble_charts
    from drydock.suite.environments import readable_environments
    from drydock.tools.setup import set_up

    project = Project.discover()
    broken: Mapping[str, DrydockError] = {}
    check_stray(bring)
    if bring:
        stacks: tuple[Environment, ...] = (
            one_stack(project, environments[0] if environments else None, files, set_values, bring),
        )
    elif environments:
        stacks = some_environments(project, environments, files, set_values)
    else:  # the file of one that is wrong keeps no other from being checked
        readable, broken = readable_environments(project)
        stacks = tuple(each.stacked(files, set_values) for each in readable)
    with terminal_progress() as progress:
        equipment = set_up(project, "rehearse" if server else "validate", progress)
        charts = assemble_charts(project)
        findings = validate(
            project,
            equipment.tools,
            stacks,
            charts,
            progress=progress,
            schemas=equipment.schemas,
            cache=not no_cache,
            more=(stated_load.check,),
        )
        if server and not _failed(findings):
            from drydock.rehearsal.dry_run import dry_run

            findings += dry_run(project, equipment.tools, stacks, charts, progress)
    findings += tuple(Finding(name, "environment", each.message, each.remedy) for name, each in broken.items())
    names = ", ".join(stack.name for stack in stacks)
    click.echo(f"checked with Helm 3 and Helm 4: {names}", err=True)
    click.echo(FORMATS[form](findings))
    return int(_failed(findings))


def _failed(findings: Iterable["Finding"]) -> bool:
    from drydock.checks.findings import Severity

    return any(finding.severity is Severity.ERROR for finding in findings)
