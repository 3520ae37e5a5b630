"""A run under way, on the terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import isnan

from drydock.loadtest.records import Snapshot
from drydock.loadtest.settings import Stage


@contextmanager
def live_view(stage: Stage, title: str) -> Iterator[Callable[[Snapshot], None]]:
    """Show progress and the latest figures on standard error, where it is a terminal; else a line every ten seconds."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), TextColumn("{task.fields[told]}"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=stage.sending_seconds, told="getting ready")
        last = float("-inf")

        def show(snapshot: Snapshot) -> None:
            nonlocal last
            told = _told(snapshot)
            progress.update(task, completed=max(snapshot.seconds, 0.0), told=told)
            if not console.is_terminal and snapshot.seconds - last >= _LINE_SECONDS:
                last = snapshot.seconds
                console.print(f"{title} {max(snapshot.seconds, 0.0):5.0f} s: {told}", highlight=False, soft_wrap=True)

        yield show


_LINE_SECONDS = 10.0


def _told(snapshot: Snapshot) -> str:
    ttft = "-" if isnan(snapshot.ttft_seconds) else f"{1e3 * snapshot.ttft_seconds:,.0f} ms"
    return (
        f"{snapshot.sent_per_second:.1f}/s sent, {snapshot.in_flight} in flight, {snapshot.finished} done, "
        f"{snapshot.errors} errors, first byte {ttft}"
    )
