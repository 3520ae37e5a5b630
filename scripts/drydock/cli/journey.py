"""drydock journey."""

import json
from dataclasses import asdict

import click

from drydock.cli.output import format_option


@click.command("journey")
@click.argument("name", type=click.Choice(["chat"]))
@click.option("--run", metavar="RUN", help="Name of a kept cluster (`drydock down --list`); default the newest.")
@click.option("--model", metavar="NAME", help="The model to ask; default the first that the gateway lists.")
@format_option()
def command(name: str, run: str | None, model: str | None, form: str) -> int:
    r"""Do what people do with the platform, on a rehearsal whose pods run, and print how it goes; exit 0 if it works.

    chat: a chat request with a virtual key through the gateway to a model, streamed; then one with a wrong key, which
    must be refused with 401.

    \b
    Examples:
      drydock rehearse prod --live --keep
      drydock journey chat
      drydock journey chat --model llama-3-8b --format json
    """
    from drydock.project import Project
    from drydock.rehearsal.journeys.chat import chat
    from drydock.rehearsal.journeys.live_cluster import find_kept
    from drydock.rehearsal.runs import in_use

    project = Project.discover()
    cluster = find_kept(project, run)
    steps = []
    with in_use(project, cluster.folder.kubeconfig):
        for step in chat(cluster, model, lambda text: click.echo(text, nl=False, err=form == "json")):
            steps.append(step)
            if form != "json":
                mark = "ok" if step.succeeded else "FAILED"
                click.echo(f"\n{mark:6}  {step.title}: {step.outcome} ({step.seconds:.2f} s)")
    succeeded = all(step.succeeded for step in steps)
    if form == "json":
        content = {"journey": name, "run": cluster.folder.name, "succeeded": succeeded}
        click.echo(json.dumps({**content, "steps": [asdict(step) for step in steps]}, indent=2))
    return 0 if succeeded else 1
