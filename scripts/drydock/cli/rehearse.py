"""drydock rehearse."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from drydock.cli.options import (
    Bring,
    EnvironmentName,
    NumberRange,
    bring_options,
    check_writable,
    one_stack,
    spot_share_option,
    stack_options,
)
from drydock.cli.output import format_option, pasteable
from drydock.rehearsal.release import DEFAULT_TIMEOUT

if TYPE_CHECKING:
    from drydock.rehearsal.faults.fault_list import Fault


@click.command("rehearse")
@click.argument("environment", type=EnvironmentName(), required=False)
@stack_options
@bring_options
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write report.json and report.html into DIR; default the run's folder, which is printed.",
)
@click.option("--ignore-findings", is_flag=True, help="Install even if validation finds errors.")
@click.option("--keep", is_flag=True, help="Leave the cluster up, for kubectl; `drydock down` removes it.")
@click.option("--live", is_flag=True, help="Run the programs of pods that this machine has, so that they answer.")
@click.option("--serve-models", is_flag=True, hidden=True, help="Deprecated name of --live.")
@click.option(
    "--fault",
    "fault_names",
    metavar="NAME[,NAME]",
    default="",
    help="Faults to try under load once all is ready; implies --live. `drydock faults` lists them.",
)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port of the API server; 0 chooses a free one.")
@click.option(
    "--helm",
    type=click.Choice(["3", "4"]),
    default="4",
    show_default=True,
    help="Major version of the Helm that installs.",
)
@spot_share_option
@click.option(
    "--timeout",
    type=NumberRange(1),
    default=DEFAULT_TIMEOUT,
    show_default=True,
    help="Maximum seconds from the install to the verdict; a pod that can never be scheduled ends it earlier.",
)
@format_option()
def command(
    environment: str | None,
    files: tuple[Path, ...],
    set_values: tuple[str, ...],
    output: Path | None,
    ignore_findings: bool,
    keep: bool,
    live: bool,
    serve_models: bool,
    fault_names: str,
    port: int,
    helm: str,
    spot_price_share: float,
    timeout: float,
    form: str,
    bring: Bring,
) -> int:
    r"""Install ENVIRONMENT on a control plane on this machine and report; exit 0 only if every workload is ready.

    Kubernetes and Karpenter are real, and this machine stands in for AWS: no account, GPU, Docker or root is needed.
    The report shows which pod landed on which instance and when, what the nodes cost per hour and month, which
    warnings to act on, and what a rehearsal cannot show.

    \b
    Examples:
      drydock rehearse dev
      drydock rehearse prod -f next-quarter.yaml -o report/
      drydock rehearse dev --keep         # then: kubectl get nodeclaims; drydock down
      drydock rehearse dev --live --keep  # its pods answer
      drydock rehearse dev --fault model-crash,gpu-node-dies
      drydock rehearse --chart ../their-chart -f their-values.yaml
      drydock rehearse --kustomize overlays/prod
    """
    started = time.time()
    if serve_models:
        click.echo("--serve-models is deprecated and will be removed: use --live.", err=True)
    from drydock.checks.findings_error import FindingsError, refuse_errors
    from drydock.cli.findings_gate import report_refusal
    from drydock.plan import stated_load
    from drydock.progress import terminal_progress
    from drydock.project import Project
    from drydock.rehearsal.machine_check import check_port
    from drydock.tools.setup import set_up

    project = Project.discover()
    stack = one_stack(project, environment, files, set_values, bring)
    check_port(port)
    faults = _faults(fault_names)
    if output:
        check_writable("-o", output)
    with terminal_progress() as progress:
        equipment = set_up(project, "rehearse", progress)
        try:
            refuse_errors(
                project,
                equipment,
                stack,
                progress,
                message="validation found errors; nothing was started",
                remedy="Correct them, or pass --ignore-findings to rehearse the environment as it is.",
                accept=ignore_findings,
                more=(stated_load.check,),
            )
        except FindingsError as refusal:
            return report_refusal(refusal, progress, form)

        from drydock.plan.bought_models import judged_models
        from drydock.rehearsal.rehearse import rehearse
        from drydock.report.files import write_report

        rehearsed = rehearse(
            project,
            equipment.tools,
            stack,
            progress=progress,
            helm=f"helm{helm}",
            keep=keep,
            spot_price_share=spot_price_share,
            timeout=timeout,
            started=started,
            port=port,
            live=live or serve_models,
            faults=faults,
            judge_models=judged_models,
        )
    written = write_report(rehearsed.report, output or rehearsed.folder.path)
    if form == "json":
        click.echo(json.dumps(rehearsed.report.to_dict(), indent=2))
    else:
        from drydock.report.terminal import print_report

        print_report(rehearsed.report)
    click.echo(f"Report: {written.html}\n        {written.json}", err=True)
    if rehearsed.kubeconfig:
        from drydock.rehearsal.journeys.live_cluster import service_addresses

        click.echo(pasteable(f"The cluster is up; `drydock down {rehearsed.folder.name}` removes it."), err=True)
        click.echo(
            "kubectl logs, exec and port-forward work for pods whose programs run here.",
            err=True,
        )
        for name, ports in service_addresses(rehearsed.folder).items():
            click.echo(f"{name} answers: {', '.join(f'http://{address}' for address in ports.values())}", err=True)
        click.echo(f"export KUBECONFIG={rehearsed.kubeconfig}", err=form == "json")
    return 0 if rehearsed.report.held else 1


def _faults(names: str) -> "tuple[Fault, ...]":
    from drydock.errors import UsageError
    from drydock.rehearsal.faults.fault_list import faults

    asked = [name.strip() for name in names.split(",") if name.strip()]
    if unknown := [name for name in asked if name not in faults()]:
        raise UsageError(f"--fault: there is no fault '{unknown[0]}'", remedy=f"Known: {', '.join(faults())}.")
    return tuple(faults()[name] for name in asked)
