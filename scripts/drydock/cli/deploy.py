"""drydock deploy."""

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from drydock.cli.findings_gate import report_refusal
from drydock.cli.options import (
    Bring,
    EnvironmentName,
    bring_options,
    check_account_id,
    check_writable,
    one_stack,
    refuse_unused,
    stack_options,
)
from drydock.cli.output import columns, format_option, pasteable
from drydock.deploy.deployments import Deployment, list_deployments, now, rfc3339
from drydock.deploy.targets import TARGETS
from drydock.errors import UsageError

if TYPE_CHECKING:
    from drydock.deploy.targets import Agree
    from drydock.project import Project

_HOURS = {"h": 1, "d": 24}
_LONGEST = 366 * 24
_SETTINGS = {
    "kind": ("node_image", "base_image"),
    "eks": ("account_id", "region", "owner", "backend_bucket", "backend_region", "take_over"),
}
_OF_AN_INSTALL = (
    "target",
    "kubeconfig",
    "name",
    "output",
    "timeout",
    "yes",
    "ignore_findings",
    "ttl",
    "files",
    "set_values",
)


@click.command("deploy")
@click.argument("environment", type=EnvironmentName(), required=False)
@stack_options
@bring_options
@click.option(
    "--target",
    type=click.Choice([each for each in TARGETS if each != "existing"]),
    help="Create a cluster of this kind and install on it.",
)
@click.option(
    "--kubeconfig",
    type=click.Path(path_type=Path, exists=True, dir_okay=False, resolve_path=True),
    help="Kubeconfig of an existing cluster to install on.",
)
@click.option("--name", help="Name of the deployment and of the new cluster; default ENVIRONMENT-TARGET.")
@click.option("--account-id", help="EKS: ID of the AWS account (12 digits), which must be that of the credentials.")
@click.option("--region", default="us-west-2", show_default=True, help="EKS: AWS Region of the cluster.")
@click.option("--owner", default="", help="EKS: owner of the cluster, as a tag on everything that is created.")
@click.option(
    "--ttl",
    default="8h",
    show_default=True,
    metavar="TIME",
    help="Time to live of a new cluster, in hours or days (8h, 2d); then `destroy --expired --yes` removes it.",
)
@click.option("--take-over", is_flag=True, help="EKS: become the owner of a cluster that has another owner's tag.")
@click.option("--backend-bucket", default="", help="EKS: keep Terraform's state, locked, in this S3 bucket.")
@click.option("--backend-region", default="", help="EKS: AWS Region of --backend-bucket; default --region.")
@click.option("--node-image", default="", help="kind: image of the node, in place of that of ci/kind/cluster.yaml.")
@click.option(
    "--base-image", default="", help="kind: image with Python from which the image of the stand-ins is built."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write report.json and report.html into DIR; default the deployment's folder.",
    metavar="DIR",
)
@click.option("--yes", is_flag=True, help="Do not ask before creating what costs money.")
@click.option("--force-conflicts", is_flag=True, help="Take over fields that others have changed in the cluster.")
@click.option("--ignore-findings", is_flag=True, help="Install although validation found errors.")
@click.option(
    "--timeout",
    type=click.IntRange(1),
    default=1800,
    show_default=True,
    help="Maximum seconds for the release to become ready.",
)
@click.option("--list", "show", is_flag=True, help="Only list the deployments of this machine.")
@format_option()
def command(
    environment: str | None,
    files: tuple[Path, ...],
    set_values: tuple[str, ...],
    target: str | None,
    kubeconfig: Path | None,
    name: str | None,
    output: Path | None,
    timeout: int,
    yes: bool,
    force_conflicts: bool,
    ignore_findings: bool,
    show: bool,
    form: str,
    bring: Bring,
    **options: Any,
) -> int:
    r"""Install ENVIRONMENT on an existing cluster (--kubeconfig) or on a new one (--target).

    The environment is validated first; a finding of severity error ends the command before anything is made or
    changed. Run it again to upgrade. A release that does not become ready is rolled back, with the reasons of the
    cluster.

    \b
    Examples:
      drydock deploy dev --kubeconfig ~/.kube/test
      drydock deploy dev --target rehearsal
      drydock deploy dev --target kind
      drydock deploy dev --target eks --account-id 123456789012 --owner me@example.com --ttl 4h
      drydock deploy --chart ../their-chart -f their-values.yaml --target rehearsal
      drydock deploy --list
    """
    from drydock.project import Project

    project = Project.discover()
    if show:
        everything = [*_OF_AN_INSTALL, *(name for names in _SETTINGS.values() for name in names)]
        refuse_unused(everything, "--list only lists", "Leave it out.")
        _list(project, form)
        return 0

    from drydock.checks.findings_error import FindingsError
    from drydock.deploy.deploy import DeployRequest, deploy
    from drydock.plan import stated_load
    from drydock.progress import terminal_progress
    from drydock.report.files import write_report
    from drydock.report.terminal import print_report

    if not (environment or bring) or bool(target) == bool(kubeconfig):
        raise UsageError(
            "give ENVIRONMENT (or --chart, --manifests, --kustomize) and either --target or --kubeconfig FILE",
            remedy="See `drydock deploy --help`.",
        )
    chosen = target or "existing"
    for other, names in _SETTINGS.items():
        if other != chosen:
            refuse_unused(names, f"is for --target {other}", f"Leave it out, or pass --target {other}.")
    if kubeconfig:
        refuse_unused(["ttl"], "is for a new cluster", "Leave it out: a cluster of your own does not expire.")
    stack = one_stack(project, environment, files, set_values, bring)
    if kubeconfig:
        stack = stack.on_own_nodes()
    if output:
        check_writable("-o", output)
    settings = {"kubeconfig": str(kubeconfig)} if kubeconfig else _settings(chosen, options, yes=yes)
    expires = "" if kubeconfig else _expiry(options["ttl"])
    deployment = Deployment(
        name or f"{stack.name}-{chosen}", stack.name, chosen, stack.namespace, now(), expires, settings
    )
    with terminal_progress() as progress:
        try:
            deployed = deploy(
                project,
                DeployRequest(
                    environment=stack,
                    deployment=deployment,
                    timeout=timeout,
                    force_conflicts=force_conflicts,
                    ignore_findings=ignore_findings,
                    more=(stated_load.check,),
                ),
                progress=progress,
                agree=_agree(yes),
            )
        except FindingsError as refusal:
            return report_refusal(refusal, progress, form)
    written = write_report(deployed.report, output or deployed.deployment.folder(project))
    if form == "json":
        click.echo(json.dumps(deployed.report.to_dict(), indent=2))
    else:
        print_report(deployed.report)
    click.echo(f"The report: {written.html}", err=True)
    removal = f"{deployment.name} is up; `drydock destroy {deployment.name}` removes it."
    click.echo(pasteable(removal), err=True)
    click.echo(f"export KUBECONFIG={deployed.kubeconfig}", err=form == "json")
    return 0


def _agree(yes: bool) -> "Agree":
    def agree(cost: str) -> None:
        click.echo(cost, err=True)
        if yes:
            return
        click.echo("Type yes to go on:", err=True)
        if sys.stdin.readline().strip() != "yes":
            raise UsageError("nothing was made: you did not agree")

    return agree


def _settings(target: str, options: dict[str, Any], *, yes: bool) -> dict[str, Any]:
    mine = {key: value for key, value in options.items() if key in _SETTINGS.get(target, ())}
    if target != "eks":
        return mine
    if not options["account_id"]:
        raise UsageError("--target eks needs --account-id", remedy="Name the account that the cluster is made in.")
    check_account_id(options["account_id"])
    if not yes and not sys.stdin.isatty():
        raise UsageError("there is no terminal to confirm on", remedy="Give --yes to agree beforehand.")
    return mine


def _expiry(ttl: str) -> str:
    number, unit = ttl[:-1], ttl[-1:]
    hours = int(number) * _HOURS[unit] if unit in _HOURS and number.isascii() and number.isdigit() else 0
    if not 0 < hours <= _LONGEST:
        raise UsageError(
            f"--ttl {ttl}: not a time to live",
            remedy=f"Give hours or days, such as 8h or 2d; {_LONGEST // _HOURS['d']}d at most.",
        )
    return rfc3339(datetime.now(UTC) + timedelta(hours=hours))


def _list(project: "Project", form: str) -> None:
    from dataclasses import asdict

    from drydock.deploy.in_use import state_of

    deployments = [(deployment, state_of(project, deployment)) for deployment in list_deployments(project)]
    if form == "json":
        click.echo(json.dumps([{**asdict(each), "state": state} for each, state in deployments], indent=2))
        return
    rows = [
        (each.name, each.environment, each.target, state, each.created, each.updated, each.expires or "never")
        for each, state in deployments
    ]
    headers = ("deployment", "environment", "target", "state", "made", "updated", "expires")
    click.echo(columns(headers, rows) or "no deployment was made from this machine")
