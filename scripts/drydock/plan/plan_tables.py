"""A plan for people: tables in the terminal."""

from collections import defaultdict
from collections.abc import Sequence
from math import isnan
from typing import TYPE_CHECKING, Any

from drydock.engines.fit import Fit
from drydock.engines.memory_margins import margin_data
from drydock.engines.served_models import gpu_of
from drydock.plan.choices import Choice
from drydock.scheduling.instance_types.facts import InstanceFacts
from drydock.scheduling.prices import CAPACITY_TYPES

if TYPE_CHECKING:
    from rich.table import Table

    from drydock.plan.planned_models import Target

WEIGHTS = (("bfloat16", None), ("fp8", "fp8"), ("int4", "awq"))
"""Kinds of weights by vLLM's `--quantization`."""

_GIB = 2**30
_KIB = 1024


def weights_gib(target: "Target") -> dict[str, float]:
    """Weights in each of the usual types; embeddings stay in 16 bits."""
    model = target.model
    return {name: model.weight_bytes(method, "bfloat16") / _GIB for name, method in WEIGHTS}


def families(types: Sequence[InstanceFacts], fit: Fit) -> list[str]:
    """Families of the types that have enough GPUs of the kind."""
    return sorted(
        {
            facts.name.partition(".")[0]
            for facts in types
            if gpu_of(facts) == fit.gpu and sum(device.count for device in facts.gpus) >= fit.parallel
        }
    )


def memory_row(target: "Target", fit: Fit) -> dict[str, Any]:
    """One line of the memory table, for JSON."""
    memory = fit.memory
    return {
        "gpu": fit.gpu.name,
        "tensor_parallel_size": fit.parallel,
        "instance_families": families(target.types, fit),
        "starts": fit.starts,
        "verdict": memory.verdict,
        "doubt": memory.doubt,
        "margin_gib": round(memory.margin_gib, 3),
        "error": memory.error,
        "reason": memory.why,
        "gpu_memory_gib": round(fit.gpu.memory_gib, 2),
        "requested_gib": round(memory.requested_gib, 3),
        "weights_gib": round(memory.weights_gib, 3),
        "activation_gib": round(memory.activation_gib, 3),
        "non_torch_gib": round(memory.non_torch_gib, 3),
        "cuda_graphs_gib": round(memory.cuda_graphs_gib, 3),
        "cuda_graphs_deducted_gib": round(memory.graphs_deducted_gib, 3),
        "kv_cache_gib": round(max(memory.available_kv_gib, 0.0), 3),
        "kv_bytes_per_token": round(memory.block_bytes / target.args.block_size),
        "kv_cache_tokens": memory.tokens,
        "kv_cache_tokens_sure": memory.sure_tokens,
        "max_model_len": memory.max_model_len,
        "max_concurrency": round(memory.max_concurrency, 2),
        "max_num_seqs": most_at_once(target, fit),
    }


def most_at_once(target: "Target", fit: Fit) -> int:
    """Requests that vLLM runs at once at most (`--max-num-seqs`)."""
    return target.args.batch_limits(fit.gpu, fit.memory.max_model_len)[0]


def refusal_lines(found: Sequence[Fit]) -> list[str]:
    """Why a model does not start, or may not, one line for each GPU and reason."""
    refused: dict[tuple[str, str], list[str]] = defaultdict(list)
    doubtful: dict[tuple[str, str], list[str]] = defaultdict(list)
    for fit in found:
        if not fit.starts:
            refused[fit.gpu.name, fit.memory.why].append(str(fit.parallel))
        if fit.memory.doubt:
            doubtful[fit.gpu.name, fit.memory.doubt].append(str(fit.parallel))
    lines = [f"{gpu} x {', '.join(sizes)} does not start: {why}" for (gpu, why), sizes in refused.items()]
    doubts = [f"{gpu} x {', '.join(sizes)} is uncertain: {doubt}" for (gpu, doubt), sizes in doubtful.items()]
    return lines + doubts


def memory_cautions(target: "Target") -> list[str]:
    """What the account of memory does not know of this model."""
    model = target.model
    found = []
    kind = "mixture" if model.experts else "encoder" if model.encoder else ""
    if kind:
        found.append(f"Memory beside weights and KV cache: {margin_data()['margins'][kind]['why']}.")
    if model.guessed:
        found.append(f"Guessed: {model.guessed}.")
    return found


def _length(target: "Target") -> str:
    return f"{target.args.max_model_len or target.model.context:,}"


def memory_table(target: "Target", found: Sequence[Fit]) -> "Table":
    """Memory of each GPU, GiB, and the KV cache that is left."""
    table = _table(
        f"Memory of each GPU for {target.name}, GiB, and requests of {_length(target)} tokens at once",
        ("GPU", "instances"),
        ("GPUs", "takes", "weights", "activations", "other", "KV cache", "KiB/token", "tokens", "requests"),
    )
    for fit in found:
        memory = fit.memory
        head = (fit.gpu.name, ", ".join(families(target.types, fit)), str(fit.parallel), f"{memory.requested_gib:.1f}")
        weights = f"{memory.weights_gib:.1f}"
        if not fit.starts:
            table.add_row(*head, weights, *[""] * 4, f"{memory.tokens:,}", "does not start")
            continue
        table.add_row(
            *head,
            weights,
            f"{memory.activation_gib:.2f}",
            f"{memory.non_torch_gib + memory.graphs_deducted_gib:.2f}",
            f"{memory.available_kv_gib:.1f}",
            f"{memory.block_bytes / target.args.block_size / _KIB:.0f}",
            f"{memory.tokens:,}",
            f"{min(memory.max_concurrency, most_at_once(target, fit)):.1f}{' (uncertain)' if memory.doubt else ''}",
        )
    return table


def choices_table(found: Sequence[Choice], kept: Sequence[Choice]) -> "Table":
    """Instance types, cheapest first; those of the frontier are marked."""
    table = _table(
        "What meets the objectives (* none is both cheaper and faster)",
        ("", "instance type", "GPUs"),
        (
            "replicas",
            "nodes",
            "TTFT p50",
            "p95 ms",
            "ITL p50",
            "p99 ms",
            *(f"{capacity_type} $/h" for capacity_type in CAPACITY_TYPES),
        ),
        ("$/M tokens",),
    )
    for choice in found:
        estimate = choice.sizing.estimate
        if estimate is None or not choice.meets:
            continue
        measures = (estimate.measure(f"{name}_ms") for name in ("ttft_p50", "ttft_p95", "itl_p50", "itl_p99"))
        per_million = choice.dollars_per_million_tokens.get("on-demand")
        table.add_row(
            "*" if choice in kept else "",
            choice.instance_type,
            f"{choice.parallel} of {choice.gpus} {choice.gpu}",
            str(choice.sizing.replicas),
            str(choice.nodes),
            *("-" if isnan(value) else f"{value:,.0f}" for value in measures),
            *(_dollars(choice.dollars_per_hour.get(capacity_type)) for capacity_type in CAPACITY_TYPES),
            "no price" if per_million is None else f"{per_million:.3f}",
        )
    return table


def _dollars(value: float | None) -> str:
    return "-" if value is None else f"{value:,.2f}"


def _table(title: str, left: Sequence[str], *right: Sequence[str]) -> "Table":
    from rich.table import Table

    table = Table(title=title, box=None, title_justify="left", title_style="bold", header_style="dim")
    for name in left:
        table.add_column(name)
    for name in (fit for group in right for fit in group):
        table.add_column(name, justify="right")
    return table
