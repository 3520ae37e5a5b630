"""drydock simulate."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from drydock.cli.options import ArrivalName, NumberRange, acceptance_rate_option, objective_options
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
    "--workload", "workload_name", metavar="NAME", help="Preset of prompts and answers, as in loadtest and plan."
)
@click.option(
    "--dataset", type=click.Path(path_type=Path), metavar="FILE", help="JSONL file of prompts, as in loadtest."
)
@click.option("--input-tokens", type=int, metavar="N", help="Mean length of a prompt, in tokens; default 512.")
@click.option("--output-tokens", type=float, metavar="N", help="Mean length of an answer, in tokens; default 128.")
@click.option(
    "--spread",
    type=float,
    default=0.0,
    show_default=True,
    help="Relative deviation of both lengths, limited by the model's context.",
)
@click.option(
    "--shared-prefix-tokens",
    type=click.IntRange(min=0),
    metavar="N",
    help="Tokens that prompts of a group share.",
)
@click.option("--prefix-groups", type=click.IntRange(min=1), metavar="N", help="Number of different shared prefixes.")
@click.option(
    "--turns",
    type=click.IntRange(min=1),
    metavar="N",
    help="Requests of a conversation, each with all before it in its prompt.",
)
@click.option("--think-seconds", type=NumberRange(min=0), metavar="S", help="Pause before the next turn, in seconds.")
@acceptance_rate_option
@objective_options
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
    arrival: str,
    burstiness: float,
    engine_args: str,
    acceptance_rate: float | None,
    max_in_flight: int | None,
    seed: int,
    profile_file: Path | None,
    objectives_file: Path | None,
    objective_texts: tuple[str, ...],
    workload_name: str | None,
    dataset: Path | None,
    input_tokens: int | None,
    output_tokens: float | None,
    spread: float,
    form: str,
    **conversations: Any,
) -> int:
    r"""Simulate vLLM under a load: no GPU, no server, a thousand times faster than the clock.

    Exit 1 when an objective is missed.

    \b
    Examples:
      drydock simulate --gpu h100 --model llama-3.1-8b --rate 92 --input-tokens 204 --output-tokens 64
      drydock simulate --gpu h200 --model llama-3-8b --concurrency 64 --engine-args "--max-model-len 8192"
      drydock simulate --gpu h100 --model llama-3.1-8b --rate 20 --workload agent --objective ttft_p95_ms=500
    """
    from drydock.plan.simulated_load import Conversations, SimulationRequest, simulate_load
    from drydock.suite.objectives import Objectives, merged, read_objectives

    given = read_objectives(objectives_file) if objectives_file else Objectives()
    simulated = simulate_load(
        SimulationRequest(
            gpu=gpu,
            model=model_name,
            engine_args=engine_args,
            acceptance_rate=acceptance_rate,
            profile=profile_file,
            rate=rate,
            concurrency=concurrency,
            duration=duration,
            arrival=cast("Arrival", arrival),
            burstiness=burstiness,
            max_in_flight=max_in_flight,
            seed=seed,
            workload=workload_name,
            dataset=dataset,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            spread=spread,
            conversations=Conversations(**conversations),
            objectives=merged(given, objective_texts),
        )
    )
    if simulated.too_long:
        click.echo(
            f"{simulated.too_long:.1%} of the requests exceed the context; they count as failed, the others are sent",
            err=True,
        )
    verdicts = simulated.verdicts
    if form == "json":
        judged = [
            {"name": verdict.name, "limit": verdict.limit, "value": verdict.value, "met": verdict.met}
            for verdict in verdicts
        ]
        result = {
            **_head(simulated.setup),
            "requests_too_long": round(simulated.too_long, 6),
            **simulated.summary.as_dict(),
            **({"objectives": judged} if judged else {}),
        }
        click.echo(json.dumps(result, indent=2))
    else:
        _table(simulated.setup, simulated.summary)
        for verdict in verdicts:
            click.echo(f"{'MET' if verdict.met else 'MISSED'} {verdict}")
    return int(not simulated.met)


def _head(chosen: "Setup") -> dict[str, object]:
    limits = chosen.limits
    return {
        "gpu": chosen.profile.gpu.name,
        "model": chosen.profile.model.name,
        "engine": f"vLLM {chosen.profile.engine}",
        "profile": chosen.profile.name,
        "profile_fitted": chosen.profile.fitted,
        **_speculation(chosen),
        "kv_cache_tokens": limits.blocks * limits.block_size,
        "max_num_seqs": limits.max_num_seqs,
        "max_num_batched_tokens": limits.max_num_batched_tokens,
    }


def _speculation(chosen: "Setup") -> dict[str, object]:
    """What of speculative decoding is simulated; empty for an engine without it."""
    if not chosen.args.values.get("speculative_config"):
        return {}
    own = chosen.profile.coefficients
    return {"speculation": {"guesses": own.guesses, "tokens_per_step": round(own.step_tokens, 4)}}


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
    if _speculation(chosen):
        own = profile.coefficients
        console.print(
            f"speculative decoding: {own.guesses} guesses and {own.step_tokens:.2f} tokens a step; ITL is the mean "
            "over the tokens of a step"
            if own.guesses
            else "speculative decoding is left out: give --acceptance-rate",
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
