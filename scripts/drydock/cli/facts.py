"""drydock facts."""

import json
from pathlib import Path

import click

from drydock.cli.options import check_writable
from drydock.cli.output import columns, format_option


@click.command("facts")
@click.option(
    "--refresh", is_flag=True, help="Ask AWS, and edit the files that an API has; otherwise nothing is asked."
)
@click.option("--region", default="us-west-2", show_default=True, help="Region whose images and prices are asked for.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write the refreshed files into DIR; default Drydock's own data folder.",
)
@format_option()
def command(refresh: bool, region: str, output: Path | None, form: str) -> int:
    r"""List the facts of AWS that Drydock goes by, with the day on which each was read; bring them up to date.

    Kubernetes versions with their ends of support, releases of AMIs, default quotas and prices are asked of AWS with
    --refresh, which needs credentials and changes nothing in the account. The others are read by hand.

    \b
    Examples:
      drydock facts
      drydock facts --refresh
    """
    from drydock.deploy.refresh_facts import DATA, FACTS
    from drydock.deploy.refresh_facts import refresh as refresh_files

    if output and refresh:
        check_writable("-o", output)
        output.mkdir(parents=True, exist_ok=True)
    changes = {done.file: done.changes for done in refresh_files(region, output or DATA)} if refresh else {}
    if form == "json":
        facts = [
            {"file": fact.file, "title": fact.title, "read": fact.read, "refreshed_by_hand": fact.edit is None}
            for fact in FACTS
        ]
        click.echo(json.dumps({"facts": facts, "changes": changes}, indent=2))
        return 0
    rows = [(fact.file, fact.read or "-", "--refresh" if fact.edit else fact.by_hand, fact.title) for fact in FACTS]
    click.echo(columns(("file", "read", "refreshed by", "what"), rows))
    for file, lines in changes.items():
        click.echo(f"\n{file}: {'nothing is new' if not lines else ''}".rstrip())
        for line in lines:
            click.echo(f"  {line}")
    return 0
