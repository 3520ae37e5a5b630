"""drydock nodes."""

import json
import sys
from pathlib import Path

import click

from drydock.cli.options import NumberRange, spot_share_option
from drydock.cli.output import format_option


@click.command("nodes")
@click.option(
    "--kubeconfig",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Kubeconfig of the cluster; default $KUBECONFIG, as for kubectl.",
)
@click.option("--context", metavar="NAME", help="Context of the kubeconfig; default its current one.")
@click.option(
    "--run", metavar="RUN", help="Name of a kept rehearsal (`drydock down --list`), in place of --kubeconfig."
)
@click.option("--once", is_flag=True, help="Print every node once and end, as it does in a pipe.")
@click.option("--interval", type=NumberRange(0.2, 60), default=1.0, show_default=True, help="Seconds between pictures.")
@spot_share_option
@format_option()
def command(
    kubeconfig: Path | None,
    context: str | None,
    run: str | None,
    once: bool,
    interval: float,
    spot_price_share: float,
    form: str,
) -> int:
    r"""Watch the nodes of a cluster: what each holds and costs, what waits and why.

    For a kept rehearsal, kind, EKS or any other cluster. Nodes that are on their way, not ready, about to go or idle
    come first. Prices are those of `plan` and `rehearse`. It only reads: nodes and pods, and Karpenter's pools and
    claims where they are and may be read. Ctrl-C ends it.

    \b
    Examples:
      drydock nodes
      drydock nodes --once
      drydock nodes --format json
    """
    from drydock.clusters.kube import any_path, asking
    from drydock.errors import UsageError
    from drydock.monitor.cluster_watch import ClusterWatch
    from drydock.monitor.following import Follower, show
    from drydock.monitor.screen import nodes_table, pools_table, summary, waiting_table
    from drydock.printing import print_table
    from drydock.progress import terminal_progress
    from drydock.project import Project
    from drydock.rehearsal.journeys.live_cluster import find_kept

    project = Project.discover()
    if run and (kubeconfig or context):
        raise UsageError("--run is in place of --kubeconfig and --context", remedy="Give one of them.")
    file = find_kept(project, run).folder.kubeconfig if run else kubeconfig
    with terminal_progress() as progress, progress.step("Read the cluster"), asking("Who may list nodes and pods?"):
        watch = ClusterWatch(any_path(file, context))
        follower = Follower.of(project, watch, progress, spot_price_share)
    if form == "json":
        click.echo(json.dumps(follower.fleet().to_dict(), indent=2))
    elif once or not sys.stdout.isatty():
        fleet = follower.fleet()
        print(summary(fleet), *follower.notes(), sep="\n")
        for table in (pools_table(fleet), nodes_table(fleet), waiting_table(fleet)):
            if table.row_count:
                print()
                print_table(table)
    else:
        show(follower, interval)
    return 0
