"""drydock docs."""

import json

import click

from drydock.cli.output import format_option


@click.command("docs")
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 if a file is outdated.")
@format_option(default="text")
def command(check: bool, form: str) -> None:
    r"""Write values.schema.json and README.md of each chart from its annotated values.yaml.

    Types, defaults, patterns and descriptions are defined once: in values.yaml, and in values.types.yaml for what
    values.yaml leaves out (docs/values.md).

    \b
    Examples:
      drydock docs
      drydock docs --check
    """
    from drydock.project import Project
    from drydock.suite.annotations.generate import generated_files

    project = Project.discover()
    stale = [file for file in generated_files(project) if not file.is_current]
    for file in stale:
        name = file.path.relative_to(project.root)
        if check and form == "text":
            click.echo(f"{name} is not what its chart's values.yaml says: run `drydock docs`", err=True)
        if not check:
            file.path.write_text(file.content)
            click.echo(f"wrote {name}", err=form == "json")
    if form == "json":
        names = [str(file.path.relative_to(project.root)) for file in stale]
        click.echo(json.dumps({"stale" if check else "written": names}, indent=2))
    if check and stale:
        raise SystemExit(1)
