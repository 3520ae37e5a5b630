"""drydock destroy."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import click

from drydock.cli.options import check_account_id, refuse_unused
from drydock.cli.output import format_option
from drydock.deploy.deployments import Deployment, load_deployment, past_their_time
from drydock.errors import ClusterError, DrydockError, UsageError

if TYPE_CHECKING:
    from drydock.project import Project


@click.command("destroy")
@click.argument("name", required=False)
@click.option(
    "--expired",
    is_flag=True,
    help="List what outlived its --ttl, of this machine or of --account-id; --yes removes it.",
)
@click.option("--account-id", help="With --expired: EKS clusters of this account, found by their tags.")
@click.option("--region", default="us-west-2", show_default=True, help="With --expired: AWS Region of the clusters.")
@click.option("--backend-bucket", default="", help="With --expired: S3 bucket with the Terraform states.")
@click.option("--backend-region", default="", help="With --expired: AWS Region of --backend-bucket; default --region.")
@click.option("--yes", is_flag=True, help="Do not ask; with --expired: remove the clusters, not only list them.")
@click.option(
    "--timeout",
    type=click.IntRange(1),
    default=1800,
    show_default=True,
    help="Maximum seconds to wait for the removal of nodes.",
)
@format_option(default="text")
def command(
    name: str | None,
    expired: bool,
    account_id: str | None,
    region: str,
    backend_bucket: str,
    backend_region: str,
    yes: bool,
    timeout: int,
    form: str,
) -> None:
    r"""Remove the deployment NAME: the release, the nodes that were bought for it, and the cluster if Drydock made it.

    On a cluster of your own the namespace stays, with its Secrets and volume claims. `drydock deploy --list` shows the
    names.

    \b
    Examples:
      drydock destroy dev-kind
      drydock destroy --expired
      drydock destroy --expired --account-id 123456789012 --backend-bucket my-states --yes
    """
    from drydock.deploy.deploy import destroy
    from drydock.progress import terminal_progress
    from drydock.project import Project

    if bool(name) == expired or (account_id and not expired):
        raise UsageError(
            "give either NAME or --expired, and --account-id only with the latter",
            remedy="See `drydock destroy --help`.",
        )
    if not account_id:
        of_an_account = ("region", "backend_bucket", "backend_region")
        refuse_unused(of_an_account, "is for the clusters of an account", "Pass --expired and --account-id as well.")
    project = Project.discover()
    if name:
        deployment = load_deployment(project, name)
        if not yes:
            _confirm(deployment)
        with terminal_progress() as progress:
            destroy(project, deployment, progress=progress, timeout=timeout)
        click.echo(json.dumps({"removed": [name]}, indent=2) if form == "json" else f"removed: {name}")
        return
    undated: Mapping[str, str] = {}
    misnamed: Sequence[str] = ()
    if account_id:
        check_account_id(account_id)
        from drydock.deploy.expired import find_expired

        found = find_expired(project, account_id, region, backend_bucket, backend_region)
        chosen, undated, misnamed = found.expired, found.undated, found.misnamed
    else:
        chosen = past_their_time(project)
    say = (lambda _line: None) if form == "json" else click.echo
    for overdue in chosen:
        say(f"{overdue.name}: expired at {overdue.expires}")
    failed = _destroy_all(project, chosen, timeout, say) if yes else {}
    if form == "json" and not (failed or undated or misnamed):  # else the error is what it prints
        removed = [overdue.name for overdue in chosen if yes]
        expired_at = {overdue.name: overdue.expires for overdue in chosen}
        click.echo(json.dumps({"expired": expired_at, "removed": removed}, indent=2))
    if not chosen:
        say("nothing is expired")
    elif not yes:
        click.echo("Nothing was removed: --yes removes them.", err=True)
    failed |= dict.fromkeys(misnamed, "its tag drydock.dev/cluster is no name of a cluster")
    failed |= {each: _without_time(text) for each, text in undated.items()}
    if failed:
        raise ClusterError("\n".join(("not removed:", *(f"  {each}: {why}" for each, why in failed.items()))))


def _without_time(text: str) -> str:
    if text:
        return f"its tag drydock.dev/expires-at is no time: {text}"
    return "neither its cluster nor its VPC is there to say when it expires: `drydock destroy` it by its name"


def _confirm(deployment: Deployment) -> None:
    """Ask for the name of a cluster in an account, whose data goes with it; the others are made again in minutes."""
    if deployment.target != "eks":
        return
    from drydock.deploy.eks.data import data_of

    if not sys.stdin.isatty():
        raise UsageError(
            f"there is no terminal to confirm the removal of {deployment.name} on",
            remedy="Pass --yes to agree beforehand.",
        )
    account, region = str(deployment.settings["account_id"]), str(deployment.settings["region"])
    click.echo(f"This removes the cluster {deployment.name} in {region} of account {account}.", err=True)
    for line in data_of(deployment.name, account, region):
        click.echo(f"  It holds data: {line}", err=True)
    click.echo("Type its name to go on:", err=True)
    if sys.stdin.readline().strip() != deployment.name:
        raise UsageError("nothing was removed: that is not its name")


def _destroy_all(
    project: "Project", chosen: Sequence[Deployment], timeout: int, say: Callable[[str], None]
) -> dict[str, str]:
    """Remove one after the other, and return the reasons by the names of those that are left."""
    from drydock.deploy.deploy import destroy
    from drydock.progress import terminal_progress

    failed: dict[str, str] = {}
    for deployment in chosen:
        try:
            with terminal_progress() as progress:
                destroy(project, deployment, progress=progress, timeout=timeout)
        except DrydockError as error:
            failed[deployment.name] = str(error)
        else:
            say(f"removed: {deployment.name}")
    return failed
