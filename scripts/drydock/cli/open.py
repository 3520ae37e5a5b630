"""drydock open."""

import json

import click

from drydock.cli.output import columns, format_option


@click.command("open")
@click.argument("service", required=False)
@click.option("--run", metavar="RUN", help="Name of a kept cluster (`drydock down --list`); default the newest.")
@click.option("--print", "show", is_flag=True, help="Only print the URL.")
@format_option()
def command(service: str | None, run: str | None, show: bool, form: str) -> None:
    r"""Open a Service of a kept rehearsal in the browser; without SERVICE list those that answer.

    SERVICE is the name of a Service whose pods run here (`rehearse --live --keep`), or NAMESPACE/NAME.

    \b
    Examples:
      drydock open
      drydock open genai-model-gateway
      drydock open genai/genai-model-gateway --print
    """
    from drydock.errors import UsageError
    from drydock.project import Project
    from drydock.rehearsal.journeys.live_cluster import find_kept

    cluster = find_kept(Project.discover(), run)
    rows = [
        (name, port, f"http://{address}")
        for name, ports in sorted(cluster.addresses().items())
        for port, address in ports.items()
        if service is None or service in (name, name.partition("/")[2])
    ]
    if service and not rows:
        known = ", ".join(sorted(cluster.addresses())) or "none"
        raise UsageError(f"no Service named '{service}' answers in {cluster.folder.name}", remedy=f"These do: {known}.")
    if form == "json":
        click.echo(json.dumps([{"service": name, "port": port, "url": url} for name, port, url in rows], indent=2))
    elif service is None:
        click.echo(columns(("service", "port", "url"), rows) or "no Service answers: rehearse with --live --keep")
    else:
        url = next((url for _, port, url in rows if port == "http"), rows[0][2])
        click.echo(url)
        if not show:
            click.launch(url)
