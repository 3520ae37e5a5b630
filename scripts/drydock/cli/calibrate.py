"""drydock calibrate."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from drydock.cli.options import ArrivalName, check_folder
from drydock.cli.output import columns, format_option

if TYPE_CHECKING:
    from drydock.simulator.calibration import Comparison

_NAMES = {"tpot": "TPOT (mean)", "completed": "requests/s", "ttft": "TTFT (median)", "ttft_p99": "TTFT (p99)"}


@click.command("calibrate")
@click.argument("results", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--gpu", required=True, metavar="NAME", help="Accelerator that was measured, for example h200.")
@click.option("--model", "model_name", required=True, metavar="NAME", help="Model that was measured.")
@click.option("--engine", required=True, metavar="VERSION", help="Version of vLLM that was measured.")
@click.option("--engine-args", default="", metavar="ARGS", help="Engine arguments for lines of RESULTS that have none.")
@click.option("--arrival", type=ArrivalName("constant", "poisson"), default="poisson", show_default=True)
@click.option(
    "--max-in-flight", type=click.IntRange(min=1), metavar="N", help="Maximum of requests that the client kept open."
)
@click.option("--synchronous", is_flag=True, help="The engine scheduled without overlap (vLLM before 0.14).")
@click.option("--from", "origin", metavar="NAME", help="Profile to start from; `roofline` starts from data sheets.")
@click.option("--name", default="calibrated", show_default=True, help="Name of the profile that is written.")
@click.option(
    "--folds",
    type=click.IntRange(min=0),
    default=5,
    show_default=True,
    help="Parts for cross-validation; below 2 it is left out.",
)
@click.option(
    "--folds-output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the profile of each cross-validation part to FILE.",
)
@click.option(
    "--evaluations", type=click.IntRange(min=1), default=12, show_default=True, help="Maximum of solver rounds."
)
@click.option("--check", is_flag=True, help="Only show the errors of the profile to start from; fit nothing.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write the profile to FILE."
)
@format_option()
def command(
    results: tuple[Path, ...],
    gpu: str,
    model_name: str,
    engine: str,
    engine_args: str,
    arrival: str,
    max_in_flight: int | None,
    synchronous: bool,
    origin: str | None,
    name: str,
    folds: int,
    folds_output: Path | None,
    evaluations: int,
    check: bool,
    output: Path | None,
    form: str,
) -> None:
    r"""Fit a simulator profile to load-test RESULTS, and report its errors on points that it has not seen.

    RESULTS are CSV files or folders that `drydock loadtest -o` wrote.

    \b
    Example:
      drydock calibrate closed.csv open.csv --gpu h200 --model llama-3-8b --engine 0.26 -o profile.yaml
      drydock simulate --profile profile.yaml --gpu h200 --model llama-3-8b --rate 20
    """
    import yaml

    from drydock.progress import terminal_progress
    from drydock.simulator.calibrate import CalibrationRequest, calibrate
    from drydock.simulator.profile import as_data

    check_folder("--output", output)
    check_folder("--folds-output", folds_output)
    request = CalibrationRequest(
        results=results,
        gpu=gpu,
        model=model_name,
        engine=engine,
        engine_args=engine_args,
        arrival=arrival,
        max_in_flight=max_in_flight,
        synchronous=synchronous,
        origin=origin,
        name=name,
        folds=folds,
        evaluations=evaluations,
        check=check,
    )
    with terminal_progress() as progress:
        calibration = calibrate(request, progress)
    if folds_output and calibration.folds:
        text = yaml.safe_dump(calibration.folds_data(), sort_keys=False, width=120)
        folds_output.write_text(text, encoding="utf-8")
    title = {
        "start": f"of the profile {calibration.start.name}",
        "fit": "of the fit itself",
        "unseen": "on points that the fit has not seen",
    }[calibration.scope]
    if form == "json":
        from dataclasses import asdict

        points = [asdict(error) for error in calibration.errors]
        click.echo(json.dumps({"title": f"Error {title}", "points": points}, indent=2))
    else:
        _table(title, calibration.errors)
    if output:
        output.write_text(yaml.safe_dump({name: as_data(calibration.profile)}, sort_keys=False), encoding="utf-8")
        click.echo(f"profile written to {output}", err=True)


def _table(title: str, errors: "Sequence[Comparison]") -> None:
    from statistics import median

    by_point: dict[str, dict[str, Comparison]] = {}
    for one in errors:
        by_point.setdefault(one.label, {})[one.measure] = one
    rows = [
        (label, *(f"{found[m].measured:.2f} {found[m].error:+.1%}" if m in found else "" for m in _NAMES))
        for label, found in by_point.items()
    ]
    for text, pick in (("median", median), ("worst", max)):
        sizes = [[abs(one.error) for one in errors if one.measure == name] for name in _NAMES]
        rows.append((text, *(f"{pick(size):.1%}" if size else "" for size in sizes)))
    click.echo(f"Error {title}")
    click.echo(columns(("point", *_NAMES.values()), rows))
