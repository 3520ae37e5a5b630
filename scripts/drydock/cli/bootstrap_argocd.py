"""drydock bootstrap-argocd."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from drydock.cli.options import EnvironmentName, refuse_brought
from drydock.cli.output import columns, format_option
from drydock.errors import DrydockError, ToolError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drydock.deploy.argo_cd import Fields
    from drydock.deploy.argo_cd_waves import Late
    from drydock.suite.manifests import Manifest


_SCHEMES = ("https://", "ssh://", "oci://", "git@")


@click.command("bootstrap-argocd")
@click.argument("environment", type=EnvironmentName())
@click.option(
    "--repository",
    metavar="URL",
    help="Git repository of the suite, as Argo CD reaches it; default the checkout's origin.",
)
@click.option(
    "--revision",
    default="main",
    show_default=True,
    help="Branch, tag or commit of the repository that Argo CD follows.",
)
@click.option("--path", "folder", default="", metavar="FOLDER", help="Folder of the repository that holds charts/.")
@click.option("--namespace", default="argocd", show_default=True, help="Namespace in which Argo CD runs.")
@click.option("--project", default="default", show_default=True, help="AppProject of the root Application itself.")
@click.option(
    "--list",
    "listed",
    is_flag=True,
    help="Instead, list the Applications that the root Application creates, by sync wave.",
)
@click.option(
    "--apply",
    "applied",
    is_flag=True,
    help="Apply the root Application to the cluster, server-side, instead of printing it.",
)
@click.option(
    "--kubeconfig",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="With --apply: kubeconfig of the cluster on which Argo CD runs; default $KUBECONFIG.",
)
@format_option(default="yaml")
def command(
    environment: str,
    repository: str | None,
    revision: str,
    folder: str,
    namespace: str,
    project: str,
    listed: bool,
    applied: bool,
    kubeconfig: Path | None,
    form: str,
) -> None:
    r"""Print the root Application of ENVIRONMENT, which creates one Application for each chart.

    Argo CD itself must be installed. Its ConfigMap argocd-cm needs the health assessment of Applications, which Argo CD
    leaves out by default, or waves do not wait for each other; what to add is printed as a comment. An object that
    waits for one of a later wave would hold up the sync indefinitely, and is an error.

    \b
    Examples:
      drydock bootstrap-argocd prod --repository https://git.example.com/platform.git | kubectl apply -f -
      drydock bootstrap-argocd prod --repository https://git.example.com/platform.git --revision v1.2.0 --list
    """
    from drydock.deploy.argo_cd import Repository, applications, apply_root, root_application
    from drydock.deploy.argo_cd_waves import late_objects
    from drydock.progress import terminal_progress
    from drydock.project import Project
    from drydock.suite.charts import assemble_charts
    from drydock.suite.environments import load_environment
    from drydock.tools.build import ensure
    from drydock.tools.crd_files import ensure_crds

    suite = Project.discover()
    chosen = load_environment(suite, environment)
    refuse_brought(chosen, "Argo CD's root Application installs")
    source = Repository(_reachable(repository or _origin(suite.root)), revision, folder)
    with terminal_progress() as progress:
        helm = ensure(suite, ["helm4"], progress)["helm4"]
        charts = assemble_charts(suite)
        brought = applications(helm, charts, chosen, source)
        ensure_crds(suite, progress)
        _refuse_late(environment, late_objects(suite, helm, charts, chosen, source))
    root = root_application(chosen, source, namespace=namespace, project=project)
    if listed:
        _list(brought, form)
    elif applied:
        apply_root(kubeconfig, root)
        click.echo(f"Application {namespace}/{environment} applied.", err=True)
    elif form == "json":
        click.echo(json.dumps(root, indent=2))
    else:
        _print(root)


def _refuse_late(environment: str, late: "Sequence[Late]") -> None:
    if late:
        lines = "".join(f"\n  {name}" for name in late)
        charts = ", ".join(f"argoCd.applications.{name}.wave" for name in sorted({name.chart for name in late}))
        raise DrydockError(
            f"Argo CD would never finish the sync of {environment}, whose objects wait for later waves:{lines}",
            remedy=f"Raise {charts} in values/environments/{environment}.yaml, or lower the wave of what is needed.",
        )


def _origin(root: Path) -> str:
    """The repository that a checkout was cloned from.

    Raises:
        UsageError: it has none.
    """
    from drydock.tools.process import run

    try:
        return run(["git", "remote", "get-url", "origin"], cwd=root).stdout.strip()
    except ToolError as error:
        raise UsageError(
            f"{root} has no remote `origin`", remedy="Pass --repository URL, as Argo CD knows the repository."
        ) from error


def _reachable(repository: str) -> str:
    """The repository, as far as Argo CD can reach it.

    Raises:
        UsageError: it is a folder of this machine, or has a scheme that Argo CD does not read.
    """
    if not repository.startswith(_SCHEMES):
        raise UsageError(
            f"Argo CD cannot reach the repository {repository}",
            remedy=f"Pass --repository URL, with one that begins with {', '.join(_SCHEMES)}.",
        )
    return repository


def _print(root: "Fields") -> None:
    import yaml

    from drydock.deploy.argo_cd import health_customization

    click.echo("# Argo CD's ConfigMap argocd-cm must hold this, or no wave waits for the one before:")
    click.echo("#   data:")
    for key, script in health_customization().items():
        click.echo(f"#     {key}: |")
        click.echo("\n".join(f"#       {line}" for line in script.splitlines()))
    click.echo(yaml.safe_dump(root, sort_keys=False), nl=False)


def _list(brought: "Sequence[Manifest]", form: str) -> None:
    from drydock.deploy.argo_cd import sources, waves

    rows: list[dict[str, Any]] = []
    for wave, manifest in waves(brought):
        spec = manifest.content["spec"]
        origin = [
            f"{source['repoURL']} {source.get('path') or source.get('chart')} {source['targetRevision']}"
            for source in (sources(spec) if manifest.kind == "Application" else ())
            if "ref" not in source
        ]
        rows.append({"wave": wave, "object": f"{manifest.kind} {manifest.name}", "from": origin})
    if form == "json":
        click.echo(json.dumps(rows, indent=2))
        return
    cells = [(str(row["wave"]), row["object"], ", ".join(row["from"])) for row in rows]
    click.echo(columns(("wave", "object", "from"), cells))
