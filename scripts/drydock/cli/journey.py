"""drydock journey."""

import json
from dataclasses import asdict

import click

from drydock.cli.output import format_option


@click.command("journey")
@click.argument("name", type=click.Choice(["chat", "limits"]))
@click.option("--run", metavar="RUN", help="Name of a kept cluster (`drydock down --list`); default the newest.")
@click.option("--model", metavar="NAME", help="The model to ask; default the first that the gateway lists.")
@format_option()
def command(name: str, run: str | None, model: str | None, form: str) -> int:
    r"""Do what people do with the platform, on a rehearsal whose pods run, and print how it goes; exit 0 if it works.

    chat: a chat request with a virtual key through the gateway to a model, streamed; then one with a wrong key, which
    must be refused with 401.

    limits: a wrong key; the line of a request in the audit log; a key that has used up its requests of the minute, and
    one whose budget is spent, both refused with 429. What the environment lacks is shown as not tried.

    \b
    Examples:
      drydock rehearse prod --live --keep
      drydock journey chat
      drydock journey chat --model llama-3-8b --format json
      drydock journey limits
    """
    from drydock.errors import UsageError
    from drydock.project import Project
    from drydock.rehearsal.journeys.chat import chat
    from drydock.rehearsal.journeys.key_limits import limits
    from drydock.rehearsal.journeys.live_cluster import find_kept
    from drydock.rehearsal.runs import in_use

    if model and name != "chat":
        raise UsageError(f"journey {name} does not accept --model", remedy="Only `drydock journey chat` does.")
    project = Project.discover()
    cluster = find_kept(project, run)
    steps = []
    with in_use(project, cluster.folder.kubeconfig):
        show = lambda text: click.echo(text, nl=False, err=form == "json")  # noqa: E731
        for step in chat(cluster, model, show) if name == "chat" else limits(cluster):
            steps.append(step)
            if form != "json":
                mark = {True: "ok", False: "FAILED", None: "not tried"}[step.succeeded]
                click.echo(f"\n{mark:9}  {step.title}: {step.outcome} ({step.seconds:.2f} s)")
    succeeded = all(step.succeeded is not False for step in steps)
    if form == "json":
        content = {"journey": name, "run": cluster.folder.name, "succeeded": succeeded}
        click.echo(json.dumps({**content, "steps": [asdict(step) for step in steps]}, indent=2))
    return 0 if succeeded else 1
