"""drydock loadtest."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from drydock.cli.options import EnvironmentName
from drydock.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drydock.loadtest.loads import Measured
    from drydock.loadtest.measures import Measures
    from drydock.loadtest.objectives import Objectives
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
@click.option("--end-rate", type=float, metavar="N", help="Let --rate change to N over the load (a ramp).")
@click.option("--trace", type=click.Path(path_type=Path), metavar="FILE", help="Recorded times in s, one a line.")
@click.option("--rates", metavar="N,N,...", help="A sweep: one load after the other at each rate.")
@click.option("--find-limit", is_flag=True, help="Search from --rate for the highest rate that meets the objectives.")
@click.option("--precision", type=float, default=0.05, show_default=True, help="Of that rate, as a share.")
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
@click.option("--gpu", metavar="NAME", help="The server's GPU, to tell a TPOT that it cannot reach (h100, l4, ...).")
@click.option("--tensor-parallel", type=click.IntRange(min=1), default=1, show_default=True, help="GPUs of an engine.")
@click.option("--baseline", type=click.Path(path_type=Path), metavar="DIR", help="An earlier result to compare with.")
@click.option("--fail-on-regression", is_flag=True, help="Exit with 1 when a measure is significantly worse.")
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
    baseline: Path | None,
    fail_on_regression: bool,
    **asked: Any,
) -> None:
    r"""Load an OpenAI-compatible endpoint and measure it; latencies count from when a request was due.

    \b
    Examples:
      drydock loadtest http://localhost:8000 --model llama --rate 5 --warm-up 10 --objective ttft_p95_ms=500
      drydock loadtest http://localhost:8000 --model llama --find-limit --rate 2 --environment prod -o result
      drydock loadtest http://localhost:8000 --model llama --rates 1,2,4,8,16 --workload chat -o sweep
      drydock loadtest http://localhost:8000 --model llama --rate 5 --repetitions 5 --baseline last-week
      drydock loadtest https://llm.example.com/v1 --model llama --concurrency 32 --workload rag \
        --api-key-env API_KEY --environment prod -o result

    Exit status: 0 when the objectives were met, 1 when one was missed or the run does not count (interrupted, or the
    generator could not keep up), 2 for wrong usage. An interrupt (Ctrl-C) keeps what was measured until then.
    """
    from drydock.loadtest.loads import as_told, at_rate, impossible, offer, repeated
    from drydock.loadtest.outputs import read_result, result, write_results
    from drydock.loadtest.statistics import compare
    from drydock.loadtest.sweep import find_limit, sweep

    rates = _rates(asked, repetitions)
    wanted = _objectives(environment, objectives_file, objective_texts)
    plan = _plan(url, asked)
    earlier = as_told(read_result(baseline)) if baseline else None
    if output is not None:
        _make(output)
    searched = None
    if rates:
        searched = sweep(rates, lambda rate: offer(at_rate(plan, rate), wanted))
    elif asked["find_limit"]:
        searched = find_limit(
            asked["rate"], lambda rate: offer(at_rate(plan, rate), wanted), precision=asked["precision"]
        )
    loads = list(searched.loads) if searched else list(repeated(plan, wanted, repetitions))
    warnings = []
    if asked["gpu"]:
        told_so = (impossible(each.measures, asked["gpu"], asked["model"], asked["tensor_parallel"]) for each in loads)
        warnings = list(dict.fromkeys(filter(None, told_so)))
    compared = compare(earlier, [each.measures.values for each in loads]) if earlier else None
    told = result(plan, loads, searched=searched, compared=compared, warnings=warnings)
    if output is not None:
        write_results(output, told, loads)
        click.echo(f"Report: {output / 'report.html'}", err=True)
    if as_json:
        click.echo(json.dumps(told, indent=2, allow_nan=False))
    else:
        _print(told, loads)
    worse = [each["name"] for each in told["comparison"] or () if each["verdict"] == "worse"]
    if not _passed(told, loads) or (fail_on_regression and worse):
        raise SystemExit(1)


def _rates(asked: dict[str, Any], repetitions: int) -> list[float]:
    """Rates of a sweep; empty for a single load or a search."""
    if not asked["rates"] and not asked["find_limit"]:
        return []
    if asked["rates"] and asked["find_limit"]:
        raise UsageError("--rates and --find-limit both choose the loads", remedy="Give one of them.")
    if repetitions > 1 or asked["concurrency"] is not None:
        raise UsageError("a sweep of rates takes neither --repetitions nor --concurrency")
    if asked["find_limit"]:
        asked["rate"] = asked["rate"] or 1.0
        return []
    try:
        rates = [float(each) for each in asked["rates"].split(",")]
    except ValueError as error:
        raise UsageError(f"--rates {asked['rates']}: not numbers", remedy="Give them like 1,2,4.") from error
    asked["rate"] = rates[0]
    return rates


def _passed(told: dict[str, Any], loads: "Sequence[Measured]") -> bool:
    """A search passes when a rate meets the objectives; a single load when it does."""
    if not told["complete"]:
        return False
    if told["sweep"] is not None:
        return told["sweep"]["highest_met"] is not None
    return not told["missed"] and told["valid"] and all(each.measures.ok for each in loads)


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
    from drydock.loadtest.settings import Closed, Constant, Gamma, Poisson, Ramp

    rate, concurrency, trace = asked["rate"], asked["concurrency"], asked["trace"]
    if sum(each is not None for each in (rate, concurrency, trace)) != 1:
        raise UsageError("give one of --rate, --concurrency and --trace")
    if trace is not None:
        return _trace(trace)
    if rate is None:
        return Closed(concurrency)
    if asked["end_rate"] is not None:
        return Ramp(rate, asked["end_rate"])
    if asked["arrival"] == "gamma":
        return Gamma(rate, asked["burstiness"])
    return Constant(rate) if asked["arrival"] == "constant" else Poisson(rate)


def _trace(file: Path) -> "Arrival":
    from drydock.loadtest.settings import Trace

    try:
        lines = file.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read --trace {file}: {error}") from error
    times = []
    for number, line in enumerate(lines, 1):
        try:
            times += [float(line)] if line.strip() else []
        except ValueError as error:
            raise UsageError(f"{file}, line {number}: {line!r} is no number of seconds") from error
    return Trace(tuple(times))


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"-o {folder}: {error.strerror}") from error


def _print(told: dict[str, Any], loads: "Sequence[Measured]") -> None:
    if told["sweep"] is None:
        for each in loads:
            _table(each.measures)
    else:
        _sweep_table(told, loads)
    for each in loads:
        queue = each.server.summary().get("queue_mean_ms")
        if queue is not None and told["sweep"] is None:
            click.echo(f"server: queued {queue:.1f} ms on average, {each.server.summary()['waiting_max']:.0f} at most")
    for name, spread in told["confidence"].items():
        if name in ("ttft_p95_ms", "tpot_p50_ms", "output_tokens_per_second"):
            click.echo(f"{name}: {spread['mean']:.4g}, 95 % between {spread['low']:.4g} and {spread['high']:.4g}")
    _compared(told["comparison"])
    for note in told["notes"]:
        click.echo(f"NOTE {note}")
    for miss in told["missed"]:
        click.echo(f"MISSED {miss['text']}" + (f" ({miss['load']})" if len(loads) > 1 else ""))


def _sweep_table(told: dict[str, Any], loads: "Sequence[Measured]") -> None:
    from rich.console import Console
    from rich.table import Table

    from drydock.loadtest.sweep import is_saturated, meets

    columns = ("ttft_p50_ms", "ttft_p95_ms", "tpot_p50_ms", "e2e_p99_ms", "completed_rps", "output_tokens_per_second")
    table = Table("load", *columns, "", box=None)
    for each in loads:
        values = (each.measures.values[name] for name in columns)
        verdict = "meets" if meets(each) else "saturated" if is_saturated(each) else "misses"
        table.add_row(each.name, *("-" if value is None else f"{value:,.1f}" for value in values), verdict)
    Console(highlight=False).print(table)
    found = told["sweep"]
    highest = f"{found['highest_met']:.4g}/s" if found["highest_met"] else "none of these rates"
    click.echo(f"meets the objectives up to {highest}; at most {found['saturation']:.4g}/s were completed")


def _compared(differences: "Sequence[dict[str, Any]] | None") -> None:
    if differences is None:
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("measure", "before", "now", "change", "p", "", box=None)
    for each in differences:
        if each["verdict"] != "same":
            p_value = "-" if each["p_value"] is None else f"{each['p_value']:.3f}"
            row = (f"{each['before']:.4g}", f"{each['after']:.4g}", f"{each['change']:+.1%}", p_value, each["verdict"])
            table.add_row(each["name"], *row)
    if table.row_count:
        Console(highlight=False).print(table)
    else:
        click.echo("no measure differs from the baseline")


def _table(measured: "Measures") -> None:
    from rich.console import Console
    from rich.table import Table

    from drydock.loadtest.objectives import PERCENTILES

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
