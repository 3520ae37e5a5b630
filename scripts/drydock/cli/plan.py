"""drydock plan."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from drydock.cli.options import (
    NumberRange,
    acceptance_rate_option,
    check_folder,
    objective_options,
    refuse_unused,
    stack_options,
)
from drydock.cli.output import format_option

if TYPE_CHECKING:
    from rich.console import Console

    from drydock.plan.planner import Plan, PlanRequest
    from drydock.project import Project

_ROWS = 15
_OF_A_RATE = (
    "objectives_file",
    "objective_texts",
    "workload_name",
    "dataset",
    "acceptance_rate",
    "from_loadtest",
    "capacity_type",
    "spot_price_share",
    "reserved_price_share",
)
_OF_A_DAY = ("min_replicas", "max_replicas", "start_seconds")


@click.command("plan")
@click.argument("target", metavar="MODEL|ENVIRONMENT", required=False)
@stack_options
@click.option("--list", "listed", is_flag=True, help="List the known models, GPUs, workloads and traces.")
@click.option("--engine-args", default="", metavar="ARGS", help="Arguments of `vllm serve` for a MODEL, as one string.")
@click.option("--gpu", "gpu_names", multiple=True, metavar="NAME", help="Consider only this GPU; repeatable.")
@click.option(
    "--instance-types",
    metavar="NAMES",
    help="Consider these instance types or families (comma-separated) instead of the pools'.",
)
@click.option(
    "--tensor-parallel",
    type=click.IntRange(min=1),
    multiple=True,
    metavar="N",
    help="GPUs per replica; repeatable.",
)
@click.option(
    "--rate",
    type=float,
    metavar="N",
    help="Requests per second of each model, over all of its replicas; default the environment's `load`.",
)
@click.option(
    "--workload",
    "workload_name",
    metavar="NAME",
    help="Preset of prompt and answer lengths, as in loadtest; default that of the environment's load, else chat.",
)
@click.option(
    "--dataset",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="JSONL file of prompts in place of --workload, as in loadtest.",
)
@acceptance_rate_option
@objective_options
@click.option(
    "--from-loadtest",
    type=click.Path(path_type=Path),
    help="Load test of one replica (folder or CSV) to use in place of simulation.",
)
@click.option("--trace", metavar="NAME|CSV", help="Simulate autoscaling over a day: a known trace or a CSV of rates.")
@click.option(
    "--min-replicas",
    type=click.IntRange(min=0),
    metavar="N",
    help="Minimum replicas of the autoscaler, in place of the environment's.",
)
@click.option(
    "--max-replicas",
    type=click.IntRange(min=1),
    metavar="N",
    help="Maximum replicas of the autoscaler, in place of the environment's.",
)
@click.option(
    "--start-seconds", type=NumberRange(min=0), metavar="S", help="Seconds from the request for a pod to its readiness."
)
@click.option(
    "--region", default="us-west-2", show_default=True, help="AWS Region of instance types and prices, for a MODEL."
)
@click.option(
    "--capacity-type",
    type=click.Choice(["on-demand", "spot", "reserved"]),
    default="on-demand",
    show_default=True,
    help="Kind of capacity by whose price choices are compared.",
)
@click.option(
    "--spot-price-share",
    type=NumberRange(0, 1),
    default=0.5,
    show_default=True,
    help="Spot price, as a share of on-demand.",
)
@click.option(
    "--reserved-price-share",
    type=NumberRange(0, 1),
    default=1.0,
    show_default=True,
    help="Reserved price, as a share of on-demand.",
)
@click.option(
    "--html",
    "html_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write a self-contained page with a chart of the frontier.",
)
@format_option()
def command(target: str | None, listed: bool, html_file: Path | None, form: str, **options: Any) -> int:
    r"""Show what a model needs, how it performs and what it costs, before there is a cluster.

    Without --rate: the memory of each GPU as vLLM accounts for it. With --rate: the replicas, times and dollars of
    each instance type that meet the objectives, by simulation; exit status 1 when none does.

    \b
    Examples:
      drydock plan llama-3.1-8b --engine-args "--max-model-len 8192"
      drydock plan llama-3.1-8b --rate 20 --workload chat --objective ttft_p95_ms=500 --html plan.html
      drydock plan prod --rate 5
      drydock plan llama-3.1-8b --rate 20 --trace office-day --min-replicas 0
    """
    from rich.console import Console

    from drydock.errors import UsageError
    from drydock.plan.page import write_html
    from drydock.plan.planner import make_plans, total_sentence
    from drydock.progress import terminal_progress
    from drydock.project import Project

    if listed:
        _list(Console(highlight=False))
        return 0
    if target is None:
        raise UsageError("name a model or an environment", remedy="`drydock plan --list` shows the models")
    if options["workload_name"] and options["dataset"]:
        raise UsageError("--workload and --dataset both name prompts", remedy="give one of them")
    check_folder("--html", html_file)
    project = Project.discover()
    _refuse_unused(project, target, rate=options["rate"], trace=options["trace"])
    with terminal_progress() as progress:
        plans = make_plans(project, _request(target, options), progress)
    if html_file:
        write_html(html_file, plans)
    if form == "json":
        click.echo(json.dumps([each.as_dict() for each in plans], indent=2))
    else:
        console = Console(highlight=False)
        for plan in plans:
            _show(console, plan)
        if total := total_sentence(plans):
            console.print(f"[bold]{total}[/]", soft_wrap=True)
    return int(not all(each.holds for each in plans))


def _request(target: str, options: dict[str, Any]) -> "PlanRequest":
    from drydock.plan.planner import PlanRequest, plan_objectives
    from drydock.plan.what_if import Overrides

    return PlanRequest(
        target=target,
        files=options["files"],
        set_values=options["set_values"],
        engine_args=options["engine_args"],
        gpus=options["gpu_names"],
        instance_types=tuple(filter(None, (options["instance_types"] or "").split(","))),
        parallel=options["tensor_parallel"],
        rate=options["rate"],
        workload=options["workload_name"],
        dataset=options["dataset"],
        acceptance=options["acceptance_rate"],
        objectives=plan_objectives(options["objectives_file"], options["objective_texts"]),
        region=options["region"],
        capacity_type=options["capacity_type"],
        from_loadtest=options["from_loadtest"],
        trace=options["trace"],
        overrides=Overrides(options["min_replicas"], options["max_replicas"], options["start_seconds"]),
        spot_share=options["spot_price_share"],
        reserved_share=options["reserved_price_share"],
    )


def _refuse_unused(project: "Project", target: str, *, rate: float | None, trace: str | None) -> None:
    from drydock.suite.environments import environment_names, load_environment

    load = False
    if target in environment_names(project):
        load = bool(load_environment(project, target).load)
        region = "the Region of an environment is that of its values"
        refuse_unused(["region"], region, f"Set global.region of {target}, for example with --set global.region=NAME.")
    if not (rate or trace or load):
        remedy = "Pass --rate as well, or state the `load` of an environment in its file."
        refuse_unused(_OF_A_RATE, "nothing uses it without a rate", remedy)
    if not trace:
        refuse_unused(_OF_A_DAY, "nothing uses it without a day", "Pass --trace as well.")


def _list(console: "Console") -> None:
    from drydock.engines.catalogue import gpus, models
    from drydock.loadtest.presets import presets
    from drydock.plan.traces import trace_presets

    console.print("[bold]models[/] " + ", ".join(models()), soft_wrap=True)
    console.print("[bold]GPUs[/] " + ", ".join(name for name, gpu in gpus().items() if gpu.nvidia), soft_wrap=True)
    console.print("[bold]days[/] " + ", ".join(trace_presets()), soft_wrap=True)
    console.print("[bold]workloads[/] " + ", ".join(presets()), soft_wrap=True)


def _show(console: "Console", plan: "Plan") -> None:
    from drydock.plan.plan_tables import choices_table, memory_cautions, memory_table, refusal_lines, weights_gib
    from drydock.printing import print_table

    target = plan.target
    kinds = ", ".join(f"{name} {size:.1f} GiB" for name, size in weights_gib(target).items())
    console.print(
        f"[bold]{target.name}[/] ({target.model.name}{f', {target.object}' if target.object else ''})", soft_wrap=True
    )
    console.print(
        f"weights: {kinds}; KV cache {target.model.kv_bytes(target.args.kv_cache_dtype) / 1024:.0f} KiB a token",
        soft_wrap=True,
    )
    print_table(memory_table(target, plan.memory))
    for line in refusal_lines(plan.memory):
        console.print(f"[dim]{line}[/]", soft_wrap=True)
    for line in memory_cautions(target):
        console.print(line, soft_wrap=True)
    if plan.demand is None:
        for line in target.unusable:
            console.print(line, soft_wrap=True)
        return
    met = [each for each in plan.choices if each.meets]
    if met:
        shown = [each for index, each in enumerate(met) if index < _ROWS or each in plan.frontier]
        print_table(choices_table(shown, plan.frontier))
        if len(met) > len(shown):
            console.print(
                f"[dim]and {len(met) - len(shown)} more, which cost more (--format json, --html)[/]", soft_wrap=True
            )
    else:
        console.print("[bold red]No allowed instance type meets the objectives.[/]")
    for choice in plan.choices:
        if not choice.meets and choice.sizing.missed:
            console.print(f"[dim]{choice.instance_type}: {choice.sizing.missed[0]}[/]", soft_wrap=True)
    for line in plan.sentences:
        console.print(line, soft_wrap=True)
