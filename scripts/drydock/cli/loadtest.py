"""drydock loadtest."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from drydock.cli.options import EnvironmentName
from drydock.errors import UsageError

if TYPE_CHECKING:
    from drydock.loadtest.measures import Measures
    from drydock.loadtest.objectives import Objectives
    from drydock.loadtest.records import Run
    from drydock.loadtest.settings import Arrival, LoadPlan


@click.command("loadtest")
@click.argument("url")
@click.option("--model", required=True, metavar="NAME", help="Name that the server serves.")
@click.option("--rate", type=float, metavar="N", help="Conversations begun a second (open loop).")
@click.option("--concurrency", type=int, metavar="N", help="Clients with one request each at a time (closed loop).")
@click.option(
    "--arrival",
    type=click.Choice(["constant", "poisson", "gamma"]),
    default="poisson",
    show_default=True,
    help="Spacing of an open loop's conversations.",
)
@click.option("--burstiness", type=float, default=0.5, show_default=True, help="Shape of gamma arrivals; 1 is Poisson.")
@click.option("--duration", type=float, default=60.0, show_default=True, metavar="S", help="Seconds of sending.")
@click.option("--warm-up", type=float, default=0.0, show_default=True, metavar="S", help="Before that, not measured.")
@click.option("--workload", metavar="NAME", help="Preset, for example chat; 512 and 128 tokens when absent.")
@click.option("--dataset", type=click.Path(path_type=Path), metavar="FILE", help="JSONL file of prompts.")
@click.option("--completions", is_flag=True, help="Ask /v1/completions, not /v1/chat/completions.")
@click.option("--no-stream", is_flag=True, help="Ask for answers in one piece: no time to first token.")
@click.option("--lora", "loras", multiple=True, metavar="NAME", help="Ask for adapters instead of --model, evenly.")
@click.option("--api-key-env", metavar="VARIABLE", help="Environment variable that holds the API key.")
@click.option("--api-key-file", type=click.Path(path_type=Path), metavar="FILE", help="File that holds the API key.")
@click.option("--timeout", type=float, default=600.0, show_default=True, metavar="S", help="Of each request.")
@click.option("--environment", type=EnvironmentName(), metavar="ENV", help="Whose objectives must be met.")
@click.option(
    "--objectives", "objectives_file", type=click.Path(path_type=Path), metavar="FILE", help="A file of them."
)
@click.option("--objective", "objective_texts", multiple=True, metavar="NAME=N", help="One: ttft_p95_ms=500.")
@click.option("--repetitions", type=click.IntRange(min=1), default=1, show_default=True, help="Runs, each of its seed.")
@click.option("--processes", type=int, default=1, show_default=True, help="Of the generator, which share the load.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of all random numbers.")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="DIR", help="Folder of the results.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    url: str,
    repetitions: int,
    output: Path | None,
    as_json: bool,
    environment: str | None,
    objectives_file: Path | None,
    objective_texts: tuple[str, ...],
    **asked: Any,
) -> None:
    r"""Load an OpenAI-compatible endpoint and measure it; latencies count from when a request was due.

    \b
    Examples:
      drydock loadtest http://localhost:8000 --model llama --rate 5 --warm-up 10 --objective ttft_p95_ms=500
      drydock loadtest https://llm.example.com/v1 --model llama --concurrency 32 --workload rag \
        --api-key-env API_KEY --environment prod -o result

    Exit status: 0 when the objectives were met, 1 when one was missed or the run does not count (interrupted, or the
    generator could not keep up), 2 for wrong usage. An interrupt (Ctrl-C) keeps what was measured until then.
    """
    from drydock.loadtest.generator import generate
    from drydock.loadtest.measures import measure
    from drydock.loadtest.outputs import result, write_results

    wanted = _objectives(environment, objectives_file, objective_texts)
    plan = _plan(url, asked)
    if output is not None:
        _make(output)
    runs: list[Run] = []
    for number in range(repetitions):
        runs.append(generate(replace(plan, seed=plan.seed + number)))
        if not runs[-1].complete:
            break
    measured = [measure(run, wanted.request) for run in runs]
    missed = [miss for each in measured for miss in wanted.missed(each)]
    told = result(plan, runs, measured, missed)
    if output is not None:
        write_results(output, told, runs, measured)
    if as_json:
        click.echo(json.dumps(told, indent=2, allow_nan=False))
    else:
        for each in measured:
            _table(each)
        for note in told["notes"]:
            click.echo(f"NOTE {note}")
        for miss in missed:
            click.echo(f"MISSED {miss}")
    if missed or not told["valid"] or not told["complete"] or not all(each.ok for each in measured):
        raise SystemExit(1)


def _objectives(environment: str | None, file: Path | None, texts: tuple[str, ...]) -> "Objectives":
    from drydock.environments import load_environment
    from drydock.loadtest.objectives import Objectives, merged, objectives, read_objectives
    from drydock.project import Project

    if environment and file:
        raise UsageError("--environment and --objectives both name objectives", remedy="give one of them")
    found = read_objectives(file) if file else Objectives()
    if environment:
        loaded = load_environment(Project.discover(), environment)
        found = objectives(loaded.objectives, f"{loaded.file}: objectives")
    return merged(found, texts)


def _plan(url: str, asked: dict[str, Any]) -> "LoadPlan":
    from drydock.loadtest.presets import dataset, preset
    from drydock.loadtest.settings import LoadPlan, Secret, Stage, Target, Workload

    if asked["api_key_env"] and asked["api_key_file"]:
        raise UsageError("--api-key-env and --api-key-file both name a key", remedy="give one of them")
    if asked["workload"] and asked["dataset"]:
        raise UsageError("--workload and --dataset both name prompts", remedy="give one of them")
    key = Secret.from_environment(asked["api_key_env"]) if asked["api_key_env"] else None
    if asked["api_key_file"]:
        key = Secret.from_file(asked["api_key_file"])
    workload = Workload("512 and 128 tokens")
    if asked["workload"]:
        workload = preset(asked["workload"])
    if asked["dataset"]:
        workload = dataset(asked["dataset"])
    target = Target(
        base_url=url,
        model=asked["model"],
        endpoint="completions" if asked["completions"] else "chat",
        stream=not asked["no_stream"],
        api_key=key,
        timeout_seconds=asked["timeout"],
        loras=asked["loras"],
    )
    stage = Stage(_arrival(asked), asked["duration"], asked["warm_up"])
    return LoadPlan(target, workload, stage, asked["processes"], asked["seed"])


def _arrival(asked: dict[str, Any]) -> "Arrival":
    from drydock.loadtest.settings import Closed, Constant, Gamma, Poisson

    rate, concurrency = asked["rate"], asked["concurrency"]
    if (rate is None) == (concurrency is None):
        raise UsageError("give either --rate or --concurrency")
    if rate is None:
        return Closed(concurrency)
    if asked["arrival"] == "gamma":
        return Gamma(rate, asked["burstiness"])
    return Constant(rate) if asked["arrival"] == "constant" else Poisson(rate)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"-o {folder}: {error.strerror}") from error


def _table(measured: "Measures") -> None:
    from rich.console import Console
    from rich.table import Table

    from drydock.loadtest.measures import PERCENTILES

    console = Console(highlight=False)
    parts = ("mean", *(f"p{part}" for part in PERCENTILES))
    table = Table("ms", *(f"[bold]{part}" for part in parts), box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for name in ("ttft", "tpot", "itl", "e2e"):
        found = (measured.values[f"{name}_{part}_ms"] for part in parts)
        table.add_row(name.upper(), *("-" if value is None else f"{value:,.1f}" for value in found))
    console.print(table)
    for name, reason in measured.reasons.items():
        console.print(f"{name.upper()}: {reason}")
    rates = ("completed_rps", "output_tokens_per_second", "total_tokens_per_second", "chunks_per_token", "goodput")
    told = [f"{name} {value:.4g}" for name in rates if (value := measured.values[name]) is not None]
    console.print(f"{measured.ok} of {measured.requests} requests well; {', '.join(told)}")
    if measured.errors:
        console.print("not well: " + ", ".join(f"{number} {name}" for name, number in measured.errors.items()))
