"""drydock bench."""

import json
from collections.abc import Iterable

import click

from drydock.cli.output import columns, format_option
from drydock.loadtest.benchmark.benches import Measure

USUAL = ("render", "validate", "rehearse")
PARTS = (*USUAL, "fuzz", "scale", "first-run", "loadtest")
_REHEARSES = {"rehearse", "scale", "first-run"}


@click.command("bench")
@click.argument("parts", nargs=-1, type=click.Choice(PARTS))
@click.option(
    "--rounds", type=click.IntRange(1, 50), default=5, show_default=True, help="Number of runs; their median counts."
)
@click.option("--environment", default="dev", show_default=True, help="Environment that the benchmarks rehearse.")
@click.option(
    "--replicas",
    type=click.IntRange(1, 5000),
    multiple=True,
    default=(1, 10, 30, 100, 300),
    show_default=True,
    help="Replicas of the model in the benchmark scale; repeatable.",
)
@click.option("--model", default="llama-3-8b", show_default=True, help="Model in the benchmark scale.")
@click.option(
    "--cases",
    type=click.IntRange(1, 10_000_000),
    default=10_000,
    show_default=True,
    help="Number of generated requests in the benchmark fuzz.",
)
@format_option()
def command(
    parts: tuple[str, ...], rounds: int, environment: str, replicas: tuple[int, ...], model: str, cases: int, form: str
) -> int:
    """Measure Drydock itself, against the bare programs in the same run; exit 1 when a bound is missed.

    PARTS are what to measure. By default render, validate, rehearse and, in a checkout, fuzz, which attacks the
    gateway's request filter. loadtest installs other load generators to compare with; scale rehearses many replicas;
    first-run rehearses with an empty cache beside a busy machine.
    """
    from drydock.loadtest.benchmark.benches import (
        FUZZ_TEST,
        bench_first_run,
        bench_fuzz,
        bench_loadtest,
        bench_rehearse,
        bench_render,
        bench_scale,
        bench_validate,
    )
    from drydock.progress import terminal_progress
    from drydock.project import Project
    from drydock.tools.setup import set_up

    project = Project.discover()
    chosen = parts or (*USUAL, *(("fuzz",) if (project.root / FUZZ_TEST).is_file() else ()))
    measures: list[Measure] = []
    with terminal_progress() as progress:
        if "loadtest" in chosen:
            measures += bench_loadtest(project.cache_dir, rounds, progress)
        if "fuzz" in chosen:
            measures += bench_fuzz(project, cases, progress)
        if {*chosen} <= {"loadtest", "fuzz"}:
            return _tell(measures, form)
        ready = set_up(project, "rehearse" if _REHEARSES & {*chosen} else "validate", progress)
        if "render" in chosen:
            measures += bench_render(project, ready.tools, rounds, progress)
        if "validate" in chosen:
            measures += bench_validate(project, ready.tools, ready.schemas, rounds, progress)
        if "rehearse" in chosen:
            measures += bench_rehearse(environment, progress)
        if "scale" in chosen:
            measures += bench_scale(environment, model, replicas, progress)
        if "first-run" in chosen:
            measures += bench_first_run(project, ready.tools, environment, rounds, progress)
    return _tell(measures, form)


def _tell(measures: list[Measure], form: str) -> int:
    if form == "json":
        rows = [{**vars(measure), "ratio": measure.ratio, "within": measure.within} for measure in measures]
        click.echo(json.dumps(rows, indent=2))
    else:
        _print(measures)
    return 0 if all(measure.within for measure in measures) else 1


def _print(measures: Iterable[Measure]) -> None:
    rows = [
        (
            measure.name,
            f"{measure.value:.2f} {measure.unit}",
            "" if measure.floor is None else f"{measure.floor:.2f} {measure.unit}",
            "" if measure.ratio is None else f"{measure.ratio:.2f}",
            "" if measure.bound is None else f"{measure.bound:g}",
            "" if measure.bound is None else ("within" if measure.within else "MISSED"),
        )
        for measure in measures
    ]
    click.echo(columns(("measured", "median", "floor", "ratio", "bound", ""), rows))
