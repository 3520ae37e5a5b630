"""drydock simulate."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from drydock.cli.options import ArrivalName
from drydock.cli.output import format_option

if TYPE_CHECKING:
    from drydock.simulator.profile import Setup
    from drydock.simulator.run_statistics import Summary
    from drydock.simulator.workload import Arrival


@click.command("simulate")
@click.option("--gpu", required=True, metavar="NAME", help="Accelerator, for example h100.")
@click.option("--model", "model_name", required=True, metavar="NAME", help="Model, for example llama-3.1-8b.")
@click.option("--rate", type=float, metavar="N", help="Requests a second (open loop).")
@click.option(
    "--concurrency", type=int, metavar="N", help="Number of clients, each with one request at a time (closed loop)."
)
@click.option(
    "--duration",
    type=float,
    default=60.0,
    show_default=True,
    metavar="S",
    help="Time during which requests are sent, in seconds.",
)
@click.option(
    "--input-tokens", type=int, default=512, show_default=True, metavar="N", help="Mean length of a prompt, in tokens."
)
@click.option(
    "--output-tokens",
    type=float,
    default=128,
    show_default=True,
    metavar="N",
    help="Mean length of an answer, in tokens.",
)
@click.option(
    "--spread",
    type=float,
    default=0.0,
    show_default=True,
    help="Relative deviation of both lengths, limited by the model's context.",
)
@click.option(
    "--arrival",
    type=ArrivalName(),
    default="poisson",
    show_default=True,
    help="Spacing of the requests of an open loop; constant is equal gaps.",
)
@click.option("--burstiness", type=float, default=0.5, show_default=True, help="Shape of gamma arrivals; 1 is Poisson.")
@click.option("--engine-args", default="", metavar="ARGS", help="Arguments of `vllm serve`, as one string.")
@click.option("--max-in-flight", type=int, metavar="N", help="Maximum of requests that the client keeps open.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of all random numbers.")
@click.option(
    "--profile", "profile_file", type=click.Path(path_type=Path), help="Profile file that `drydock calibrate` wrote."
)
@format_option()
def command(
    gpu: str,
    model_name: str,
    rate: float | None,
    concurrency: int | None,
    duration: float,
    input_tokens: int,
    output_tokens: float,
    spread: float,
    arrival: str,
    burstiness: float,
    engine_args: str,
    max_in_flight: int | None,
    seed: int,
    profile_file: Path | None,
    form: str,
) -> None:
    r"""Simulate vLLM under a load: no GPU, no server, a thousand times faster than the clock.

    \b
    Examples:
      drydock simulate --gpu h100 --model llama-3.1-8b --rate 92 --input-tokens 204 --output-tokens 64
      drydock simulate --gpu h200 --model llama-3-8b --concurrency 64 --engine-args "--max-model-len 8192"
    """
    from drydock.engines.catalogue import find_gpu, find_model
    from drydock.engines.engine_args import parse_line
    from drydock.simulator.profile import read_profile, setup
    from drydock.simulator.run_statistics import summarize
    from drydock.simulator.simulation import simulate
    from drydock.simulator.workload import Workload

    args = parse_line(f"--model {model_name} {engine_args}")
    chosen = setup(
        find_gpu(gpu),
        find_model(model_name),
        args,
        profile=read_profile(profile_file) if profile_file else None,
    )
    workload = Workload(
        rate=rate,
        concurrency=concurrency,
        duration=duration,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        spread=spread,
        max_model_len=chosen.max_model_len,
        arrival=cast("Arrival", arrival),
        burstiness=burstiness,
        max_in_flight=max_in_flight,
        seed=seed,
    )
    run = simulate(chosen.profile.coefficients, chosen.limits, workload)
    summary = summarize(run, blocks=chosen.limits.blocks, rate=rate, duration=duration)
    if form == "json":
        click.echo(json.dumps({**_head(chosen), **summary.as_dict()}, indent=2))
        return
    _table(chosen, summary)


def _head(chosen: "Setup") -> dict[str, object]:
    limits = chosen.limits
    return {
        "gpu": chosen.profile.gpu.name,
        "model": chosen.profile.model.name,
        "engine": f"vLLM {chosen.profile.engine}",
        "profile": chosen.profile.name,
        "profile_fitted": chosen.profile.fitted,
        "kv_cache_tokens": limits.blocks * limits.block_size,
        "max_num_seqs": limits.max_num_seqs,
        "max_num_batched_tokens": limits.max_num_batched_tokens,
    }


def _table(chosen: "Setup", summary: "Summary") -> None:
    from rich.console import Console
    from rich.table import Table

    from drydock.printing import print_table

    console = Console(highlight=False)
    profile, limits = chosen.profile, chosen.limits
    origin = "measured" if profile.fitted else "scaled by the roofline from"
    console.print(
        f"{profile.model.name} on {profile.gpu.name}, vLLM {profile.engine} ({origin} profile {profile.name}); "
        f"KV cache of {limits.blocks * limits.block_size:,} tokens, {limits.max_num_seqs} sequences and "
        f"{limits.max_num_batched_tokens} tokens a step at most",
        soft_wrap=True,
    )
    times = Table("ms", *(f"[bold]{name}" for name in ("mean", "p50", "p99")), box=None)
    for column in times.columns[1:]:
        column.justify = "right"
    for name in ("ttft", "tpot", "itl", "e2e"):
        spread = getattr(summary, f"{name}_ms")
        times.add_row(name.upper(), *(f"{value:,.1f}" for value in (spread.mean, spread.p50, spread.p99)))
    print_table(times)
    offered = f", {summary.offered_rps:g} offered" if summary.offered_rps is not None else ""
    console.print(
        f"{summary.completed_rps:.2f} requests/s completed ({summary.achieved_rps:.2f} sent{offered}), "
        f"{summary.output_tokens_per_second:,.0f} output tokens/s, {summary.requests} requests in "
        f"{summary.duration_seconds:.1f} s",
        soft_wrap=True,
    )
    console.print(
        f"at most {summary.max_running} running, {summary.max_waiting} waiting, "
        f"{summary.max_kv_usage:.1%} of the KV cache; {summary.preemptions} preemptions",
        soft_wrap=True,
    )
