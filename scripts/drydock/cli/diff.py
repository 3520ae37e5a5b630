"""drydock diff."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from drydock.cli.options import Bring, EnvironmentName, bring_options, one_stack, refuse_unused, stack_options
from drydock.errors import UsageError

if TYPE_CHECKING:
    from drydock.changes.comparison import Comparison


@click.command("diff")
@click.argument("environment", type=EnvironmentName(), required=False)
@stack_options
@bring_options
@click.option("--against", metavar="REF", help="Branch, tag or commit to compare with; the checkout is not touched.")
@click.option(
    "--rehearse", "rehearsed", is_flag=True, help="Also rehearse both revisions, and compare nodes and $/hour."
)
@click.option("--live", is_flag=True, help="Compare with a cluster: what an installation would change there.")
@click.option(
    "--kubeconfig",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="With --live: kubeconfig of the cluster; default $KUBECONFIG.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "markdown", "json"]),
    default="text",
    show_default=True,
    help="Output for a terminal, a comment on a pull request, or machines.",
)
@click.option("--exit-code", is_flag=True, help="Exit with status 1 when there is a difference, as git diff does.")
def command(
    environment: str | None,
    files: tuple[Path, ...],
    set_values: tuple[str, ...],
    against: str | None,
    rehearsed: bool,
    live: bool,
    kubeconfig: Path | None,
    form: str,
    exit_code: bool,
    bring: Bring,
) -> int:
    r"""Show what a change does to ENVIRONMENT: objects added, removed and changed, nodes and $/hour before and after.

    \b
    Examples:
      drydock diff prod --against origin/main
      drydock diff prod --against v0.1.0 --rehearse --format markdown > comment.md
      drydock diff prod --live --kubeconfig ~/.kube/prod --exit-code
      drydock diff --chart ../their-chart -f their-values.yaml --namespace serving --live
    """
    if live == bool(against):
        raise UsageError("give either --against REF or --live", remedy="See `drydock diff --help`.")
    if live and rehearsed:
        raise UsageError("--rehearse compares two revisions", remedy="Give it with --against REF, not with --live.")
    if not live:
        refuse_unused(["kubeconfig"], "is for --live", "Pass --live in place of --against, or leave it out.")
    if bring and not live:
        raise UsageError(
            "--against reads another revision of an environment's file",
            remedy="`drydock init` writes one of what is in a repository; --live compares a chart with a cluster.",
        )
    from drydock.changes.comparison import compare_with_cluster, compare_with_revision
    from drydock.progress import terminal_progress
    from drydock.project import Project

    project = Project.discover()
    stack = one_stack(project, environment, files, set_values, bring)
    with terminal_progress() as progress:
        comparison = (
            compare_with_revision(project, stack, against, progress, rehearsed=rehearsed)
            if against
            else compare_with_cluster(project, stack.on_own_nodes(), kubeconfig, progress)
        )
    _write(comparison, form)
    return int(exit_code and bool(comparison.changes))


def _write(comparison: "Comparison", form: str) -> None:
    from drydock.changes import comparison_text

    if form == "json":
        click.echo(json.dumps(comparison.to_dict(), indent=2))
    elif form == "markdown":
        click.echo(comparison_text.markdown(comparison), nl=False)
    else:
        comparison_text.print_text(comparison)
