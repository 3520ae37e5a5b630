"""A fleet as text: as a screen that is drawn again and again, cut to its height, or once and whole."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from drydock.monitor.fleet_view import FleetView, NodeView
from drydock.report.model import HOURS_PER_MONTH

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

_COLOURS = {"launching": "yellow", "not ready": "red", "leaving": "magenta", "cordoned": "magenta", "ready": ""}
_HEAD_ROWS = 4
_TABLE_ROWS = 4
"""Title, header, line of what is left out, and a blank line."""
_LEAST_ROWS = 3
_NARROWEST = 100
"""Columns, below which a screen leaves out what matters least."""


def summary(fleet: FleetView) -> str:
    """The whole fleet in one or two lines."""
    states = Counter(node.state for node in fleet.nodes)
    idle = [node for node in fleet.nodes if node.state == "ready" and not node.pods]
    hourly = fleet.dollars_per_hour
    totals = _sum_devices(fleet.nodes)
    parts = [
        f"{len(fleet.nodes)} nodes ({', '.join(f'{count} {state}' for state, count in states.items()) or 'none'})",
        f"${hourly:,.3f} an hour, ${hourly * HOURS_PER_MONTH:,.0f} a month",
        *(f"{_short(name)} {used}/{count}" for name, (used, count) in totals.items()),
        f"{sum(group.pods for group in fleet.waiting)} pods wait",
    ]
    if idle:
        parts.append(f"{len(idle)} nodes hold only daemons, ${sum(node.dollars_per_hour or 0 for node in idle):,.3f}/h")
    if fleet.unpriced:
        first, others = fleet.unpriced[0], len(fleet.unpriced) - 1
        parts.append(f"no price known of {first}" + (f" and {others} more" if others else ""))
    return " · ".join(parts)


def render_screen(fleet: FleetView, notes: Sequence[str], width: int, height: int) -> "RenderableType":
    """What fits on a screen: the totals, pools, nodes that need a look first, and what waits.

    Args:
        fleet: to show.
        notes: sentences that go below the totals.
        width: of the terminal, in columns.
        height: of the terminal, in rows.
    """
    from rich.console import Group
    from rich.text import Text

    rows = height - _HEAD_ROWS - len(notes)
    pools = min(len(_pools(fleet)), max(_LEAST_ROWS, rows // 5))
    waiting = min(len(fleet.waiting), max(_LEAST_ROWS, rows // 4))
    nodes = max(_LEAST_ROWS, rows - pools - waiting - 3 * _TABLE_ROWS)
    return Group(
        Text(summary(fleet), style="bold"),
        *(Text(note, style="yellow") for note in notes),
        pools_table(fleet, pools),
        nodes_table(fleet, nodes, narrow=width < _NARROWEST),
        waiting_table(fleet, waiting),
    )


def pools_table(fleet: FleetView, rows: int | None = None) -> "Table":
    """Nodes by pool, instance type and kind of capacity."""
    table = _table("pool", "instance type", "capacity", "nodes", "devices", "cores", "$/h")
    groups = sorted(_pools(fleet).items(), key=lambda group: -sum(node.dollars_per_hour or 0 for node in group[1]))
    for (pool, instance_type, capacity), nodes in groups[:rows]:
        used, free = sum(node.cpu[0] for node in nodes), sum(node.cpu[1] for node in nodes)
        table.add_row(
            pool or "-",
            instance_type or "-",
            capacity or "-",
            str(len(nodes)),
            _devices(_sum_devices(nodes)),
            f"{used:.1f}/{free:.1f}",
            _dollars(sum(node.dollars_per_hour or 0 for node in nodes) or None),
        )
    return _left_out(table, len(groups), rows)


def nodes_table(fleet: FleetView, rows: int | None = None, *, narrow: bool = False) -> "Table":
    """One row a node, those first that need a look."""
    headers = ("node", "state", "age", "instance type", "devices", "cores", "GiB", "$/h")
    table = _table(*headers, *(() if narrow else ("pool", "capacity", "zone", "pods")))
    for node in fleet.nodes[:rows]:
        wide = (node.pool or "-", node.capacity_type or "-", node.zone or "-", _names(node.pods))
        table.add_row(
            node.name,
            node.state,
            _duration(node.age_seconds),
            node.instance_type or "-",
            _devices(node.accelerators),
            f"{node.cpu[0]:.1f}/{node.cpu[1]:.1f}",
            f"{node.memory[0]:.0f}/{node.memory[1]:.0f}",
            _dollars(node.dollars_per_hour),
            *(() if narrow else wide),
            style=_COLOURS[node.state],
        )
    return _left_out(table, len(fleet.nodes), rows)


def waiting_table(fleet: FleetView, rows: int | None = None) -> "Table":
    """Pods that are not ready, by workload, and why."""
    table = _table("waits", "namespace", "pods", "for", "reason")
    for group in fleet.waiting[:rows]:
        table.add_row(group.workload, group.namespace, str(group.pods), _duration(group.seconds), group.reason)
    return _left_out(table, len(fleet.waiting), rows)


def _table(*headers: str) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold dim", padding=(0, 2, 0, 0))
    for header in headers:
        table.add_column(header.upper(), no_wrap=True, overflow="ellipsis")
    return table


def _left_out(table: "Table", count: int, rows: int | None) -> "Table":
    if rows is not None and count > rows:
        table.add_row(f"... and {count - rows} more", style="dim")
    return table


def _pools(fleet: FleetView) -> Mapping[tuple[str, str, str], list[NodeView]]:
    groups: dict[tuple[str, str, str], list[NodeView]] = {}
    for node in fleet.nodes:
        groups.setdefault((node.pool, node.instance_type, node.capacity_type), []).append(node)
    return groups


def _sum_devices(nodes: Sequence[NodeView]) -> dict[str, tuple[int, int]]:
    totals: dict[str, tuple[int, int]] = {}
    for node in nodes:
        for name, (used, count) in node.accelerators.items():
            before = totals.get(name, (0, 0))
            totals[name] = (before[0] + used, before[1] + count)
    return totals


def _devices(accelerators: Mapping[str, tuple[int, int]]) -> str:
    return ", ".join(f"{used}/{count} {_short(name)}" for name, (used, count) in accelerators.items()) or "-"


def _short(resource: str) -> str:
    return resource.rpartition("/")[2]


def _names(pods: Sequence[str]) -> str:
    first = pods[0].rpartition("/")[2] if pods else "only daemons"
    return f"{first} +{len(pods) - 1}" if len(pods) > 1 else first


def _dollars(amount: float | None) -> str:
    return "-" if amount is None else f"{amount:,.3f}"


def _duration(seconds: int) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"
