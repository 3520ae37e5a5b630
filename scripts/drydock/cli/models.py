"""drydock models."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from drydock.cli.options import Bring, EnvironmentName, bring_options, one_stack, stack_options
from drydock.cli.output import columns, format_option

if TYPE_CHECKING:
    from drydock.inventory.offered_models import OfferedModel


@click.command("models")
@click.argument("environment", type=EnvironmentName(), required=False)
@stack_options
@bring_options
@click.option("--key", metavar="NAME", help="Only models that this key of the gateway may use.")
@format_option()
def command(
    environment: str | None,
    files: tuple[Path, ...],
    set_values: tuple[str, ...],
    key: str | None,
    form: str,
    bring: Bring,
) -> int:
    r"""List the models of ENVIRONMENT: price, context, limits, and where they run.

    Models of the gateway, its own engines and those of providers; without a gateway the engines. Prices are for a
    million tokens. A model that the gateway would not serve, because it may be processed outside of `dataRegions`, is
    left out. Objectives are the environment's, and engines have to meet them.

    \b
    Examples:
      drydock models prod
      drydock models prod --key batch
      drydock models prod --format json
    """
    from drydock.checks.subject import load_subject
    from drydock.inventory.offered_models import offered_models
    from drydock.progress import terminal_progress
    from drydock.project import Project
    from drydock.suite.charts import assemble_charts
    from drydock.suite.render import render
    from drydock.tools.build import ensure

    project = Project.discover()
    stack = one_stack(project, environment, files, set_values, bring)
    with terminal_progress() as progress:
        tools = ensure(project, ["helm4"], progress)
        subject = load_subject(project.cache_dir, render(tools["helm4"], assemble_charts(project), stack))
        models = offered_models(subject, key)
    if form == "json":
        click.echo(json.dumps([asdict(model) for model in models], indent=2))
        return 0
    if not models:
        click.echo("The environment serves no model.", err=True)
        return 0
    headers = (
        "model",
        "runs on",
        "regions",
        "context",
        "prices in/out",
        "per minute",
        "keys",
        "fallbacks",
        "objectives",
    )
    click.echo(columns(headers, [_row(model) for model in models]))
    return 0


def _row(model: "OfferedModel") -> tuple[str, ...]:
    prices = (model.input_price, model.output_price)
    limits = [(model.requests_per_minute, "requests"), (model.tokens_per_minute, "tokens")]
    return (
        model.name,
        model.on,
        _regions(model.regions),
        "-" if model.context is None else f"{model.context:,}",
        "-" if None in prices else " / ".join(f"{price:g}" for price in prices),
        ", ".join(f"{limit:,} {unit}" for limit, unit in limits if limit is not None) or "-",
        "-" if model.keys is None else ", ".join(model.keys) or "none",
        ", ".join(model.fallbacks) or "-",
        ", ".join(f"{name} {limit:g}" for name, limit in (model.objectives or {}).items()) or "-",
    )


def _regions(regions: tuple[str, ...]) -> str:
    if "*" in regions:
        return "any"
    shown = ", ".join(regions[:3]) + (f" and {len(regions) - 3} more" if regions[3:] else "")
    return shown or "not known"
