"""drydock account."""

import json
from pathlib import Path

import click

from drydock.cli.options import EnvironmentName, check_writable
from drydock.cli.output import columns, format_option


@click.command("account")
@click.argument("environment", type=EnvironmentName())
@click.option("--cluster", metavar="NAME", help="Name of the EKS cluster; default global.clusterName.")
@click.option(
    "--kubeconfig",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Kubeconfig of the cluster; without it nothing inside the cluster is read.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the snapshot to FILE; default values/accounts/ENVIRONMENT.yaml, which other verbs read.",
)
@format_option()
def command(environment: str, cluster: str | None, kubeconfig: Path | None, output: Path | None, form: str) -> int:
    r"""Read what ENVIRONMENT depends on in its AWS account, and in its cluster, without changing anything.

    Images, subnets, security groups, roles, reservations, quotas with their use, the EKS cluster and its add-ons; with
    --kubeconfig storage and ingress classes, drivers, Karpenter's version and gates, node pools, and names and keys of
    the expected Secrets. `validate`, `rehearse`, `plan`, `diff` and `deploy` use the snapshot in place of what the
    environment's file states.

    \b
    Examples:
      drydock account prod
      drydock account prod --kubeconfig ~/.kube/config
    """
    from drydock.deploy.account.reading import read_account
    from drydock.progress import terminal_progress
    from drydock.project import Project
    from drydock.scheduling.account import global_values
    from drydock.suite.account_snapshot import to_plain, write_snapshot
    from drydock.suite.charts import assemble_charts
    from drydock.suite.environments import snapshot_file, stated_environment
    from drydock.suite.render import render
    from drydock.tools.build import ensure

    project = Project.discover()
    stack = stated_environment(project, environment)
    file = output or snapshot_file(project, environment)
    check_writable("-o" if output else "snapshot", file.parent)
    with terminal_progress() as progress:
        helm = ensure(project, ["helm4"], progress)["helm4"]
        manifests = render(helm, assemble_charts(project), stack).manifests
        snapshot = read_account(
            stack,
            manifests,
            cluster=cluster or str(global_values(stack).get("clusterName") or f"{environment}-eks"),
            cache_dir=project.cache_dir,
            progress=progress,
            kubeconfig=kubeconfig,
        )
    write_snapshot(file, snapshot)
    if form == "json":
        click.echo(json.dumps(to_plain(snapshot), indent=2))
    else:
        rows = [(code, str(quota.limit), str(quota.used)) for code, quota in snapshot.quotas.items()]
        click.echo(columns(("quota", "vCPUs", "used besides"), rows))
    click.echo(f"written to {file}", err=True)
    return 0
