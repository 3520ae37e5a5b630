"""drydock deploy."""

import json
import sys
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from drydock.cli.options import (
    EnvironmentName,
    check_account_id,
    check_writable,
    one_environment,
    refuse_brought,
    refuse_unused,
    stack_options,
)
from drydock.cli.output import columns, format_option, pasteable
from drydock.deploy.deployments import (
    Deployment,
    alone,
    check_free,
    check_name,
    forget,
    keep,
    list_deployments,
    now,
    remembered,
    rfc3339,
)
from drydock.deploy.targets import TARGETS
from drydock.errors import DrydockError, UsageError

if TYPE_CHECKING:
    from drydock.deploy.target import Target
    from drydock.progress import Progress
    from drydock.project import Project
    from drydock.suite.environments import Environment

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
      drydock deploy --list
    """
    from drydock.project import Project

    project = Project.discover()
    if show:
        everything = [*_OF_AN_INSTALL, *(name for names in _SETTINGS.values() for name in names)]
        refuse_unused(everything, "--list only lists", "Leave it out.")
        _list(project, form)
        return 0
    if not environment or bool(target) == bool(kubeconfig):
        raise UsageError(
            "give ENVIRONMENT and either --target or --kubeconfig FILE", remedy="See `drydock deploy --help`."
        )
    chosen = target or "existing"
    for other, names in _SETTINGS.items():
        if other != chosen:
            refuse_unused(names, f"is for --target {other}", f"Leave it out, or pass --target {other}.")
    if kubeconfig:
        refuse_unused(["ttl"], "is for a new cluster", "Leave it out: a cluster of your own does not expire.")
    stack = one_environment(project, environment, files, set_values)
    refuse_brought(stack, "deploy installs")
    if output:
        check_writable("-o", output)
    settings = {"kubeconfig": str(kubeconfig)} if kubeconfig else _settings(chosen, options, yes=yes)
    expires = "" if kubeconfig else _expiry(options["ttl"])
    deployment = Deployment(
        check_name(name or f"{environment}-{chosen}"), environment, chosen, stack.namespace, now(), expires, settings
    )
    deployment = remembered(project, deployment)
    check_free(project, deployment)
    return _deploy(
        project,
        stack,
        deployment,
        output=output,
        timeout=timeout,
        yes=yes,
        force_conflicts=force_conflicts,
        ignore_findings=ignore_findings,
        form=form,
    )


def _deploy(
    project: "Project",
    stack: "Environment",
    deployment: Deployment,
    *,
    output: Path | None,
    timeout: int,
    yes: bool,
    force_conflicts: bool,
    ignore_findings: bool,
    form: str,
) -> int:
    from drydock.deploy.deployment_report import build_deployment_report
    from drydock.deploy.in_use import deploying
    from drydock.deploy.install import Helm, install, with_overlay
    from drydock.progress import terminal_progress
    from drydock.report.files import write_report
    from drydock.report.model import StepReport
    from drydock.report.terminal import print_report
    from drydock.suite.charts import assemble_charts
    from drydock.suite.cluster_description import lacks
    from drydock.tools.build import ensure
    from drydock.tools.crd_files import ensure_crds

    began = time.time()
    with terminal_progress() as progress, ExitStack() as until_up:
        target = TARGETS[deployment.target](project, deployment, _agree(yes))
        target.check(progress)
        until_up.enter_context(alone(project, deployment.name))
        if not _validated(project, target, stack, progress, ignore_findings=ignore_findings, form=form):
            return 1
        first = all(each.name != deployment.name for each in list_deployments(project))
        keep(project, deployment)
        try:
            ensure_crds(project, progress)
            helm = ensure(project, ["helm4"], progress)["helm4"]
            reached = target.create(progress)
            stack = with_overlay(stack, reached.overlay, deployment.folder(project))
            balanced = "load_balancer" not in lacks(deployment.target)
            charts = assemble_charts(project)
            with deploying(project, deployment, reached.kubeconfig):
                target.prepare(reached, stack, progress)
                installed = Helm(helm, reached.kubeconfig, deployment.folder(project))
                install_began = time.time()
                settings = {"balancers": balanced, "force_conflicts": force_conflicts}
                install(project, charts, installed, stack, reached, progress, timeout=timeout, **settings)
        except BaseException:
            if first and target.give_up(progress):
                forget(project, deployment)
            raise
        steps = [StepReport(each.name, round(each.start, 2), round(each.seconds, 2)) for each in progress.times]
        times = (began, install_began)
        report = build_deployment_report(project, deployment, stack, reached, steps, times, progress)
    written = write_report(report, output or deployment.folder(project))
    if form == "json":
        click.echo(json.dumps(report.to_dict(), indent=2))
    else:
        print_report(report)
    click.echo(f"The report: {written.html}", err=True)
    click.echo(pasteable(f"{deployment.name} is up; `drydock destroy {deployment.name}` removes it."), err=True)
    click.echo(f"export KUBECONFIG={reached.kubeconfig}", err=form == "json")
    return 0


def _validated(
    project: "Project",
    target: "Target",
    stack: "Environment",
    progress: "Progress",
    *,
    ignore_findings: bool,
    form: str,
) -> bool:
    """Whether to go on with the values that will be installed, as far as they are known before the cluster exists."""
    from drydock.cli.findings_gate import passes
    from drydock.deploy.install import with_overlay
    from drydock.tools.setup import set_up

    equipment = set_up(project, "validate", progress)
    refusal = DrydockError(
        "validation found errors; nothing was made or changed",
        remedy="Correct them, or pass --ignore-findings to install the environment as it is.",
    )
    with TemporaryDirectory(prefix="drydock-") as folder:
        stack = with_overlay(stack, target.known(), Path(folder))
        return passes(project, equipment, stack, progress, refusal, ignore_findings=ignore_findings, form=form)


def _agree(yes: bool) -> Any:
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
