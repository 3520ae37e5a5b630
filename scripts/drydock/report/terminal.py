"""A report for people at a terminal, and for logs."""

import os
from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from drydock.report.model import ColdStartReport, FaultReport, NodeReport, PodReport, RehearsalReport, WarningReport
from drydock.report.summary import (
    Blocked,
    accelerators_text,
    blocked_pods,
    cold_start_parts,
    cost_text,
    counted,
    fault_outcome,
    first_names,
    hourly,
    is_large,
    model_sentence,
    node_groups,
    pod_groups,
    printable,
    ready_pods,
    recovery_text,
    seconds_text,
    shown_nodes,
    shown_pods,
    spread_text,
)

PIPED_WIDTH = 160
"""Columns when standard output is no terminal and COLUMNS does not say: a log viewer scrolls."""

_PHASE_STYLES = {"Ready": "green", "Pending": "yellow", "Unschedulable": "bold red", "Failed": "bold red"}


def print_report(report: RehearsalReport, console: Console | None = None) -> None:
    """Print a report, the verdict last.

    Tables have one line an object where the console is wide enough, and stacked cells where it is not; no name is cut.
    Colours only on a terminal, and not where NO_COLOR is set.
    """
    if console is None and not (shown := _standard_output()).is_terminal:
        with shown.capture() as captured:
            print_report(report, shown)
        print("\n".join(line.rstrip() for line in captured.get().splitlines()))  # a pipe needs no padding
        return
    console = console or _standard_output()
    console.print(_title(report))
    if is_large(report):
        _print_groups(console, report)
    if report.pods:
        pods = shown_pods(report)
        _heading(console, f"Of {len(report.pods):,} pods, the slowest" if is_large(report) else "Pods")
        _print_fitting(console, _pods_in_lines(pods), _pods_stacked(pods))
    if report.nodes:
        nodes = shown_nodes(report)
        _heading(console, f"Of {len(report.nodes):,} nodes, those of these pods" if is_large(report) else "Nodes")
        _print_fitting(console, _nodes_in_lines(nodes), _nodes_stacked(nodes))
        console.print(_text(f"  Total: {cost_text(report)}", "bold"))
    if report.cold_starts:
        _heading(console, "From nothing to an answer on EC2, at most")
        _print_fitting(console, _cold_starts_in_lines(report.cold_starts), _cold_starts_stacked(report.cold_starts))
    if report.models:
        _heading(console, "Objectives on what was bought, by simulation")
        for model in report.models:
            console.print(_text(f"  {model_sentence(model)}", "" if model.meets else "yellow"))
    if report.faults:
        _heading(console, "Faults under load")
        _print_fitting(console, _faults_in_lines(report.faults), _faults_stacked(report.faults))
    _print_list(console, "What the figures assume", report.assumptions)
    _print_list(console, f"What a {report.occasion} cannot show", report.limits)
    if report.warnings:
        _heading(console, "Warnings")
        console.print(_warnings(report.warnings))
    blocked = blocked_pods(report)
    if blocked:
        _heading(console, "Not ready")
        for group in blocked:
            _print_blocked(console, group)
    console.print()
    console.print(_verdict(report))


def _standard_output() -> Console:
    console = Console(highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = PIPED_WIDTH
    return console


def _title(report: RehearsalReport) -> Text:
    versions = f"Kubernetes {report.kubernetes_version}, Karpenter {report.karpenter_version}"
    return _text(f"{report.occasion.capitalize()} of {report.environment} ({versions}, Helm {report.helm_version})")


def _verdict(report: RehearsalReport) -> Text:
    verdict = ("READY", "bold reverse green") if report.ready else ("NOT READY", "bold reverse red")
    pods = f"{ready_pods(report)} of {counted(len(report.pods), 'pod')} ready"
    when = f"{seconds_text(report.seconds)} after the command"
    return Text.assemble(verdict, _text(f"  {report.environment}: {pods}, {when}\n{cost_text(report)}", "bold"))


def _print_groups(console: Console, report: RehearsalReport) -> None:
    pods, nodes = _table(), _table()
    for header in ("workload", "instance type", "phase"):
        pods.add_column(header, overflow="fold")
    for header in ("pool", "instance type", "zone", "capacity type"):
        nodes.add_column(header, overflow="fold")
    for header in ("pods", "scheduled: half, 95 %, all", "ready: half, 95 %, all"):
        pods.add_column(header, justify="right")
    for group in pod_groups(report):
        phase = _text(group.phase, _PHASE_STYLES.get(group.phase, ""))
        times = (f"{group.pods:,}", spread_text(group.scheduled), spread_text(group.ready))
        pods.add_row(_text(group.workload), _text(group.instance_type), phase, *times)
    for header in ("nodes", "without use", "$/hour"):
        nodes.add_column(header, justify="right")
    for node_group in node_groups(report):
        names = map(_text, (node_group.pool, node_group.instance_type, node_group.zone, node_group.capacity_type))
        nodes.add_row(*names, f"{node_group.nodes:,}", f"{node_group.empty:,}", hourly(node_group.dollars_per_hour))
    for heading, table in (("Pods in groups", pods), ("Nodes in groups", nodes)):
        _heading(console, heading)
        console.print(table)


def _pods_in_lines(pods: Iterable[PodReport]) -> Table:
    table = _table("pod", "node", "instance type", "accelerators")
    for header in ("scheduled", "ready"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("phase", no_wrap=True)
    for pod in pods:
        table.add_row(
            _text(pod.name),
            _text(pod.node),
            _text(pod.instance_type),
            _text(accelerators_text(pod.accelerators)),
            seconds_text(pod.scheduled_seconds),
            seconds_text(pod.ready_seconds),
            _phase(pod),
        )
    return table


def _pods_stacked(pods: Iterable[PodReport]) -> Table:
    table = _table()
    table.add_column("pod\n  node\n  instance type, accelerators", overflow="fold")
    table.add_column("scheduled", justify="right", no_wrap=True)
    table.add_column("phase", no_wrap=True)
    for pod in pods:
        where = ", ".join(filter(None, (pod.instance_type, accelerators_text(pod.accelerators))))
        cell = _stack([pod.name, pod.node, where])
        table.add_row(cell, seconds_text(pod.scheduled_seconds), _phase(pod, with_time=True))
    return table


def _phase(pod: PodReport, *, with_time: bool = False) -> Text:
    time = f" {seconds_text(pod.ready_seconds)}" if with_time and pod.ready_seconds is not None else ""
    return _text(f"{pod.phase}{time}", _PHASE_STYLES.get(pod.phase, ""))


def _nodes_in_lines(nodes: Iterable[NodeReport]) -> Table:
    table = _table("node", "pool", "instance type", "zone", "capacity type", "accelerators used")
    for header in ("cpu used", "memory used", "$/hour"):
        table.add_column(header, justify="right", no_wrap=True)
    for node in nodes:
        cpu, memory = _used(node)
        table.add_row(
            *map(_text, (node.name, node.pool, node.instance_type, node.zone, node.capacity_type)),
            _text(", ".join(_accelerators_used(node))),
            cpu,
            memory,
            hourly(node.dollars_per_hour),
        )
    return table


def _nodes_stacked(nodes: Iterable[NodeReport]) -> Table:
    table = _table()
    table.add_column("node\n  pool, zone\n  instance type, capacity type, $/hour", overflow="fold")
    table.add_column("used of what is there", no_wrap=True)
    for node in nodes:
        bought = f"{node.instance_type}, {node.capacity_type}, {hourly(node.dollars_per_hour)}"
        used = "\n".join([*_accelerators_used(node), *_used(node)])
        table.add_row(_stack([node.name, f"{node.pool}, {node.zone}", bought]), _text(used))
    return table


def _cold_starts_in_lines(starts: Iterable[ColdStartReport]) -> Table:
    table = _table("workload", "image")
    for header in ("node", "pull", "startup probe", "together"):
        table.add_column(header, justify="right", no_wrap=True)
    for start in starts:
        table.add_row(_text(start.workload), _text(start.image), *cold_start_parts(start))
    return table


def _cold_starts_stacked(starts: Iterable[ColdStartReport]) -> Table:
    table = _table()
    table.add_column("workload\n  image\n  node, pull, startup probe", overflow="fold")
    table.add_column("together", justify="right", no_wrap=True)
    for start in starts:
        *parts, together = cold_start_parts(start)
        table.add_row(_stack([start.workload, start.image, ", ".join(parts)]), together)
    return table


def _faults_in_lines(faults: Iterable[FaultReport]) -> Table:
    table = _table("fault", "outcome")
    for header in ("requests", "lost", "answers again after"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("promise, and errors", overflow="fold")
    for fault in faults:
        outcome = _text(fault_outcome(fault), "green" if fault.held else "bold red")
        told = _text("; ".join(filter(None, (fault.promise, fault.errors))))
        table.add_row(_text(fault.name), outcome, str(fault.requests), str(fault.lost), recovery_text(fault), told)
    return table


def _faults_stacked(faults: Iterable[FaultReport]) -> Table:
    table = _table()
    table.add_column("fault\n  promise\n  lost of requests, answers again after, errors", overflow="fold")
    table.add_column("outcome", no_wrap=True)
    for fault in faults:
        seen = ", ".join(filter(None, (f"{fault.lost}/{fault.requests} lost", recovery_text(fault), fault.errors)))
        table.add_row(_stack([fault.name, fault.promise, seen]), fault_outcome(fault))
    return table


def _accelerators_used(node: NodeReport) -> list[str]:
    return [f"{used}/{available} {resource}" for resource, (used, available) in sorted(node.accelerators.items())]


def _used(node: NodeReport) -> tuple[str, str]:
    return f"{node.cpu[0]:.1f}/{node.cpu[1]:.1f} cores", f"{node.memory[0]:.1f}/{node.memory[1]:.1f} GiB"


def _warnings(warnings: Iterable[WarningReport]) -> Table:
    table = _table()
    table.add_column("times", justify="right", no_wrap=True)
    table.add_column("event and object, message", overflow="fold")
    for warning in warnings:
        event = _text(f"{warning.reason} {warning.object}\n", "yellow")
        table.add_row(str(warning.count), Text.assemble(event, _text(warning.message), overflow="fold"))
    return table


def _print_blocked(console: Console, group: Blocked) -> None:
    title = _text(f"{group.workload} in {group.namespace}: ", "bold").append(
        group.phase, _PHASE_STYLES.get(group.phase)
    )
    console.print(Padding(title, (0, 0, 0, 2)))
    names, more = first_names(group.pods)
    for name in (*names, *([f"and {more:,} more"] if more else [])):
        console.print(Padding(_text(name), (0, 0, 0, 4)))
    if group.reason:
        console.print(Padding(_text(group.reason), (0, 0, 0, 4)))
    if group.exclusions:
        table = _table("pool")
        table.add_column("cannot host it because", overflow="fold")
        for pool, requirement in group.exclusions:
            table.add_row(_text(pool), _text(requirement))
        console.print(Padding(table, (0, 0, 0, 2)))


def _print_list(console: Console, heading: str, sentences: Sequence[str]) -> None:
    if not sentences:
        return
    _heading(console, heading)
    table = Table.grid(padding=(0, 1))
    for sentence in sentences:
        table.add_row("  -", _text(sentence))
    console.print(table)


def _print_fitting(console: Console, in_lines: Table, stacked: Table) -> None:
    unbounded = console.options.update_width(10_000)
    fits = console.measure(in_lines, options=unbounded).maximum <= console.width
    console.print(in_lines if fits else stacked)


def _heading(console: Console, text: str) -> None:
    console.print()
    console.print(_text(text, "bold"))


def _table(*headers: str) -> Table:
    """A table whose named columns are never cut nor wrapped."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, header_style="dim", pad_edge=True)
    for header in headers:
        table.add_column(header, no_wrap=True)
    return table


def _stack(parts: Iterable[str]) -> Text:
    return _text("\n  ".join(part for part in parts if part))


def _text(value: str, style: str = "") -> Text:
    """A value as it is: no markup, no control characters, folded rather than cut."""
    return Text("\n".join(map(printable, value.split("\n"))), style, overflow="fold")
