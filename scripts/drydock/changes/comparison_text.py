"""A comparison for people: on a terminal, or as a comment on a pull request."""

from collections.abc import Callable, Iterator
from functools import partial

import jinja2

from drydock.changes.comparison import Comparison, Fleet
from drydock.report.model import HOURS_PER_MONTH
from drydock.suite.diff import Change

_COLOURS = {"+": "green", "-": "red", "@": "cyan"}
_SIGNS = {Change.ADDED: "+", Change.REMOVED: "-", Change.CHANGED: "~"}
_MARKDOWN = jinja2.Environment(autoescape=False, trim_blocks=True, lstrip_blocks=True).from_string(  # noqa: S701 (Markdown)
    """\
### `{{ comparison.environment }}`: {{ summary }}

| | {{ comparison.before.name }} | {{ comparison.after.name }} |
|---|---|---|
{% for title, before, after in rows %}
| {{ title }} | {{ before }} | {{ after }} |
{% endfor %}
{{ changes | join }}
{% for line in shared %}

{{ line }}
{% endfor %}
"""
)
_PATHS = 5
_ROOM = 30_000  # characters of changes: GitHub takes 65,536 in a comment, and two environments share one


def markdown(comparison: Comparison) -> str:
    """A comment on a pull request, for GitHub and GitLab; what is too long for one is named, or counted at least."""
    changes, left = list(_within(_ROOM, comparison)), len(comparison.changes)
    if len(changes) < left:
        changes.append(f"\nand {left - len(changes)} more, for which a comment has no room\n")
    return _MARKDOWN.render(
        comparison=comparison,
        summary=summary(comparison),
        rows=tuple(_rows(comparison)),
        changes=changes,
        shared=tuple(_shared(comparison)),
    )


def _within(room: int, comparison: Comparison) -> Iterator[str]:
    for change in comparison.changes:
        lines = "\n".join(change.lines)
        title = f"{change.change}: <code>{change.object}</code> ({change.chart})"
        whole = f"\n<details><summary>{title}</summary>\n\n```diff\n{lines}\n```\n</details>\n"
        fits = next((form for form in (whole, f"\n{title}, too long for a comment\n") if len(form) <= room), "")
        if fits:
            room -= len(fits)
            yield fits


def print_text(comparison: Comparison) -> None:
    """Every change as a coloured diff, then the table of both sides."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from drydock.printing import print_table

    console = Console()
    for change in comparison.changes:
        console.print(Text(f"{_SIGNS[change.change]} {change.object} ({change.chart})", style="bold"), soft_wrap=True)
        for line in change.lines[2:]:
            console.print(Text(f"    {line}", style=_COLOURS.get(line[:1], "")), soft_wrap=True)
    for line in _shared(comparison):
        console.print(Text(line, style="yellow"), soft_wrap=True)
    table = Table("", comparison.before.name, comparison.after.name)
    for row in _rows(comparison):
        table.add_row(*row)
    print_table(table)
    console.print(f"{comparison.environment}: {summary(comparison)}", soft_wrap=True)


def summary(comparison: Comparison) -> str:
    """One line: how many objects, and what it costs."""
    counts = [
        (sum(object_change.change is change for object_change in comparison.changes), change) for change in Change
    ]
    said = ", ".join(f"{count} {change}" for count, change in counts if count) or "no object differs"
    before, after = comparison.before.fleet, comparison.after.fleet
    if before and after and before.dollars_per_hour != after.dollars_per_hour:
        more = (after.dollars_per_hour - before.dollars_per_hour) * HOURS_PER_MONTH
        said += f", ${abs(more):,.0f} a month {'more' if more > 0 else 'less'}"
    return said


def _shared(comparison: Comparison) -> Iterator[str]:
    """A line for each object and those who write it."""
    groups: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for field in comparison.shared:
        groups.setdefault((field.object, field.writers), []).append(field.path)
    for (name, writers), paths in groups.items():
        more = f" and {len(paths) - _PATHS} more" if len(paths) > _PATHS else ""
        yield f"! {name}: {', '.join(paths[:_PATHS])}{more}: written by {', '.join(writers)}"


def _rows(comparison: Comparison) -> Iterator[tuple[str, str, str]]:
    before, after = comparison.before, comparison.after
    yield "objects", str(before.objects), str(after.objects)
    fleets = [fleet_of_side for fleet_of_side in (before.fleet, after.fleet) if fleet_of_side]
    if fleets:

        def row(title: str, text_of: Callable[[Fleet], str]) -> tuple[str, str, str]:
            return title, *(
                text_of(before.fleet) if before.fleet else "-",
                text_of(after.fleet) if after.fleet else "-",
            )

        yield row("ready", lambda fleet: "yes" if fleet.ready else "no")
        for kind in sorted({kind for fleet_of_side in fleets for kind in fleet_of_side.nodes}):
            yield row(f"nodes: {kind}", partial(_count, kind))
        yield row("$/hour", lambda fleet: f"{fleet.dollars_per_hour:.3f}")


def _count(kind: str, fleet: Fleet) -> str:
    return str(fleet.nodes.get(kind, 0))
