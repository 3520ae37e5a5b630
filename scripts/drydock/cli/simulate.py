"""drydock simulate."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from drydock.cli.options import ArrivalName, NumberRange, acceptance_rate_option, objective_options
from drydock.cli.output import format_option

if TYPE_CHECKING:
    from drydock.simulator.profile import Setup
    from drydock.simulator.run_statistics import Summary
    from drydock.simulator.workload import Arrival, Shape

_A_CLIENT = 4
"""Requests a second that one client sends at most, for which different ones are drawn; more repeat them."""
_MOST_SHAPES = 200_000


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
    form: str,
    **load: Any,
) -> int:
    r"""Simulate vLLM under a load: no GPU, no server, a thousand times faster than the clock.

    Exit 1 when an objective is missed.

    \b
    Examples:
      drydock simulate --gpu h100 --model llama-3.1-8b --rate 92 --input-tokens 204 --output-tokens 64
      drydock simulate --gpu h200 --model llama-3-8b --concurrency 64 --engine-args "--max-model-len 8192"
      drydock simulate --gpu h100 --model llama-3.1-8b --rate 20 --workload agent --objective ttft_p95_ms=500
    """
    from drydock.engines.catalogue import find_gpu, find_model
    from drydock.engines.engine_args import parse_line
    from drydock.errors import UsageError
    from drydock.simulator.profile import read_profile, setup
    from drydock.simulator.run_statistics import measures, summarize
    from drydock.simulator.simulation import simulate
    from drydock.simulator.workload import Workload
    from drydock.suite.objectives import Objectives, merged, read_objectives

    accelerator, model = find_gpu(gpu), find_model(model_name)
    if not accelerator.nvidia:
        raise UsageError(
            f"the speed of {accelerator.name} is not known: every profile was measured on NVIDIA GPUs, and the "
            "roofline does not describe Neuron's engine, which compiles fixed shapes",
            remedy="take an NVIDIA GPU, or measure it with `drydock loadtest`",
        )
    args = parse_line(f"--model {model_name} {engine_args}")
    if acceptance_rate is not None:
        args = args.changed(simulate_acceptance_rate=acceptance_rate)
    chosen = setup(accelerator, model, args, profile=read_profile(profile_file) if profile_file else None)
    asked = merged(read_objectives(objectives_file) if objectives_file else Objectives(), objective_texts)
    lengths = {
        "input_tokens": 512 if load["input_tokens"] is None else load["input_tokens"],
        "output_tokens": 128 if load["output_tokens"] is None else load["output_tokens"],
        "spread": load["spread"],
        "max_model_len": chosen.max_model_len,
    }
    shaped, refused = _shapes(chosen, rate, concurrency, duration, seed, load)
    workload = Workload(
        rate=rate,
        concurrency=concurrency,
        duration=duration,
        arrival=cast("Arrival", arrival),
        burstiness=burstiness,
        max_in_flight=max_in_flight,
        seed=seed,
        **({"shapes": shaped} if shaped else lengths),
    )
    run = simulate(chosen.profile.coefficients, chosen.limits, workload)
    summary = summarize(run, blocks=chosen.limits.blocks, rate=rate, duration=duration)
    verdicts = asked.judged(measures(run, asked.request, refused))
    if form == "json":
        judged = [{"name": one.name, "limit": one.limit, "value": one.value, "met": one.met} for one in verdicts]
        found = {
            **_head(chosen),
            "requests_too_long": round(refused, 6),
            **summary.as_dict(),
            **({"objectives": judged} if judged else {}),
        }
        click.echo(json.dumps(found, indent=2))
    else:
        _table(chosen, summary)
        for one in verdicts:
            click.echo(f"{'MET' if one.met else 'MISSED'} {one}")
    return int(not all(one.met for one in verdicts))


def _shapes(
    chosen: "Setup", rate: float | None, clients: int | None, duration: float, seed: int, load: dict[str, Any]
) -> "tuple[tuple[Shape, ...], float]":
    """Requests of the load test's kind of workload, none where lengths alone were given; the share that is too long."""
    from drydock.errors import UsageError
    from drydock.loadtest.presets import dataset, preset
    from drydock.loadtest.settings import Lengths, Workload
    from drydock.plan.traffic import shapes

    extra = ("shared_prefix_tokens", "prefix_groups", "turns", "think_seconds")
    given = {name: load[name] for name in extra if load[name] is not None}
    name, file = load["workload_name"], load["dataset"]
    if not (name or file or given):
        return (), 0.0
    own = [word for word in ("input_tokens", "output_tokens") if load[word] is not None]
    if (name and file) or ((name or file) and (own or load["spread"])) or (file and given):
        raise UsageError(
            "a preset, a data set and lengths of one's own exclude each other",
            remedy="pass --workload, --dataset, or --input-tokens and --output-tokens",
        )
    if name or file:
        workload = replace(preset(name), **given) if name else dataset(file)
    else:
        wide = load["spread"]
        means = (load["input_tokens"] or 512, load["output_tokens"] or 128)
        sizes = [Lengths("lognormal", mean, wide * mean) if wide else Lengths("fixed", mean) for mean in means]
        workload = Workload("own", sizes[0], sizes[1], **given)
    count = round(min(max((rate or _A_CLIENT * (clients or 1)) * duration, 1), _MOST_SHAPES))
    drawn = shapes(
        workload,
        count,
        rate=rate or 1.0,
        block_size=chosen.args.block_size,
        prefix_caching=chosen.args.enable_prefix_caching,
        seed=seed,
        clients=clients,
    )
    fitting = tuple(one for one in drawn if one.input_tokens + one.output_tokens <= chosen.max_model_len)
    if not fitting:
        raise UsageError(
            f"no request of {workload.name} fits into a context of {chosen.max_model_len:,} tokens",
            remedy="raise --max-model-len in --engine-args, or take another workload",
        )
    refused = 1 - len(fitting) / len(drawn)
    if refused:
        click.echo(
            f"{refused:.1%} of the requests exceed the context; they count as failed, the others are sent", err=True
        )
    return fitting, refused


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
