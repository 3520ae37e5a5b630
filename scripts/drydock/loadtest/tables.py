"""A load test's results on the terminal."""

from typing import TYPE_CHECKING, Any

import click

from drydock.loadtest.judgement import verdict
from drydock.printing import print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drydock.loadtest.loads import Measured
    from drydock.loadtest.measures import Measures


_OF_A_SWEEP = {
    "ttft_p50_ms": "TTFT p50",
    "ttft_p95_ms": "p95, ms",
    "tpot_p50_ms": "TPOT p50",
    "e2e_p99_ms": "E2E p99",
    "completed_rps": "ended/s",
    "output_tokens_per_second": "tokens/s",
}
"""Columns that fit into 80 characters."""


def print_result(document: dict[str, Any], loads: "Sequence[Measured]") -> None:
    """Tables, notes and missed objectives."""
    if document["sweep"] is None:
        for load in loads:
            _table(load.measures)
    else:
        _sweep_table(document, loads)
    for load in loads:
        queue = load.server.summary().get("queue_mean_ms")
        if queue is not None and document["sweep"] is None:
            click.echo(f"server: queued {queue:.1f} ms on average, {load.server.summary()['waiting_max']:.0f} at most")
    for name, spread in document["confidence"].items():
        if name in ("ttft_p95_ms", "tpot_p50_ms", "output_tokens_per_second"):
            click.echo(f"{name}: {spread['mean']:.4g}, 95 % between {spread['low']:.4g} and {spread['high']:.4g}")
    _compared(document["comparison"])
    for note in document["notes"]:
        click.echo(f"NOTE {note}")
    # of a sweep the table shows which rates meet, and below what the others missed
    for word, judged in (("MET", document["met"] if document["sweep"] is None else ()), ("MISSED", document["missed"])):
        for pod_verdict in judged:
            click.echo(f"{word:<6} {pod_verdict['text']}" + (f" ({pod_verdict['load']})" if len(loads) > 1 else ""))
    click.echo(verdict(document))


def _sweep_table(document: dict[str, Any], loads: "Sequence[Measured]") -> None:
    from rich.table import Table

    from drydock.loadtest.sweep import is_saturated, meets

    table = Table("load", *_OF_A_SWEEP.values(), "", box=None)
    for column in table.columns[1:-1]:
        column.justify = "right"
    for load in loads:
        values = (load.measures.values[name] for name in _OF_A_SWEEP)
        saturated = "saturated" if is_saturated(load) else "misses"
        word = "meets" if meets(load) else saturated if load.counts else "does not count"
        table.add_row(load.name, *("-" if value is None else f"{value:,.1f}" for value in values), word)
    print_table(table)
    for load in loads:
        _failures(load.measures, f"{load.name}: ")
    click.echo(f"at most {document['sweep']['saturation']:.4g}/s were completed")


def _compared(differences: "Sequence[dict[str, Any]] | None") -> None:
    if differences is None:
        return
    from rich.table import Table

    table = Table("measure", "before", "now", "change", "p", "", box=None)
    for difference in differences:
        if difference["verdict"] != "same":
            p_value = "-" if difference["p_value"] is None else f"{difference['p_value']:.3f}"
            change = "-" if difference["change"] is None else f"{difference['change']:+.1%}"
            row = (f"{difference['before']:.4g}", f"{difference['after']:.4g}", change, p_value, difference["verdict"])
            table.add_row(difference["name"], *row)
    if table.row_count:
        print_table(table)
    else:
        click.echo("no measure differs from the baseline")


def _table(measured: "Measures") -> None:
    from rich.console import Console
    from rich.table import Table

    from drydock.suite.objectives import PERCENTILES

    console = Console(highlight=False)
    parts = ("mean", *(f"p{part}" for part in PERCENTILES))
    table = Table("ms", *(f"[bold]{part}" for part in parts), box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for name in ("ttft", "tpot", "itl", "e2e"):
        found = (measured.values[f"{name}_{part}_ms"] for part in parts)
        table.add_row(name.upper(), *("-" if value is None else f"{value:,.1f}" for value in found))
    print_table(table)
    for name, reason in measured.reasons.items():
        console.print(f"{name.upper()}: {reason}", soft_wrap=True)
    rates = ("completed_rps", "output_tokens_per_second", "total_tokens_per_second", "chunks_per_token", "goodput")
    shown = [f"{name} {value:.4g}" for name in rates if (value := measured.values[name]) is not None]
    console.print(f"{measured.ok} of {measured.requests} requests succeeded; {', '.join(shown)}", soft_wrap=True)
    _failures(measured)
    _ways(measured)


def _failures(measured: "Measures", load: str = "") -> None:
    meanings = measured.meanings()
    if measured.errors:
        kinds = ", ".join(f"{number} {name}" for name, number in measured.errors.items())
        click.echo(f"{load}failed: {kinds}")
    for name in measured.errors:
        words = f": {measured.said[name]!r}" if name in measured.said else f": {meanings[name]}"
        click.echo(f"  {name}{words}")


def _ways(measured: "Measures") -> None:
    """How tokens came, where it was not simply one by one."""
    meanings = measured.meanings()
    usual = {"streamed", "not streamed"}
    for name, number in measured.deliveries.items():
        if name not in usual:
            click.echo(f"{number} of {measured.ok} answers came {name}: {meanings[name]}")
