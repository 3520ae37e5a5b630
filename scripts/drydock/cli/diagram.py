"""drydock diagram."""

from pathlib import Path

import click

from drydock.cli.options import EnvironmentName, one_environment, stack_options


@click.command("diagram")
@click.argument("environment", type=EnvironmentName())
@stack_options
@click.option("--format", "form", type=click.Choice(["mermaid", "json"]), default="mermaid", show_default=True)
def command(environment: str, files: tuple[Path, ...], set_values: tuple[str, ...], form: str) -> None:
    r"""Draw what ENVIRONMENT installs, from its rendered objects.

    A box is a workload, framed by its chart; an arrow leads to a Service that it names, a dotted one to the node pools
    that its pods can get. GitHub and GitLab draw Mermaid inside a Markdown file.

    \b
    Examples:
      drydock diagram prod
      { echo '```mermaid'; drydock diagram prod; echo '```'; } > what-gets-installed.md
    """
    import json
    from dataclasses import asdict

    from drydock.checks.subject import load_subject
    from drydock.inventory.diagram import draw, mermaid
    from drydock.progress import terminal_progress
    from drydock.project import Project
    from drydock.suite.charts import assemble_charts
    from drydock.suite.render import render
    from drydock.tools.build import ensure

    project = Project.discover()
    stack = one_environment(project, environment, files, set_values)
    with terminal_progress() as progress:
        helm = ensure(project, ["helm4"], progress)["helm4"]
        rendered = render(helm, assemble_charts(project), stack)
        diagram = draw(load_subject(project.cache_dir, rendered))
    click.echo(json.dumps(asdict(diagram), indent=2) if form == "json" else mermaid(diagram), nl=form == "json")
