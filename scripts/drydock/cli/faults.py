"""drydock faults."""

import json
from dataclasses import asdict

import click

from drydock.cli.output import columns, format_option


@click.command("faults")
@format_option()
def command(form: str) -> None:
    r"""List what `drydock rehearse ENV --fault NAME` can break, and what must hold.

    \b
    Examples:
      drydock faults
      drydock rehearse dev --fault model-crash
    """
    from drydock.rehearsal.faults.fault_list import faults

    if form == "json":
        click.echo(json.dumps([asdict(fault) for fault in faults().values()], indent=2))
        return
    rows = [(fault.name, f"{fault.seconds:.0f} s", fault.what) for fault in faults().values()]
    click.echo(columns(("fault", "answers again within", "what happens"), rows))
