"""Tables of Rich on standard output, as wide as their cells."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

_WIDEST = 1000
"""Columns that no table has; the width of a terminal would cut cells."""


def print_table(table: "Table") -> None:
    """Print a table: no cell is cut or wrapped, and no line ends with spaces; colours only on a terminal."""
    from rich.console import Console

    console = Console(highlight=False, width=_WIDEST)
    with console.capture() as captured:
        console.print(table)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()), flush=True)
