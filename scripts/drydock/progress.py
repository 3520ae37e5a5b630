"""Progress for anything that may take longer than two seconds, on standard error."""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from rich.progress import TaskID


class Step(Protocol):
    """One named piece of work under way."""

    def detail(self, text: str) -> None:
        """Say in a few words what is being done now."""


class Progress(Protocol):
    """Shows steps, also several at once from several threads."""

    def step(self, name: str) -> AbstractContextManager[Step]:
        """Open a step; it ends with the `with` block, as failed when that raises."""

    def note(self, text: str) -> None:
        """Print one line that stays."""


@dataclass
class StepTime:
    """How long a finished step took; `start` is seconds since the progress began."""

    name: str
    start: float
    seconds: float


@dataclass
class _Line:
    update: Callable[[str], None]

    def detail(self, text: str) -> None:
        self.update(text)


@dataclass
class SilentProgress:
    """Shows nothing and records how long each step took (for reports, benchmarks and tests)."""

    started: float = field(default_factory=time.monotonic)
    times: list[StepTime] = field(default_factory=list)

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """See Progress."""
        start = time.monotonic()
        with self._shown(name) as line:
            yield line
        self.times.append(StepTime(name, start - self.started, time.monotonic() - start))

    def note(self, text: str) -> None:
        """See Progress."""

    @contextmanager
    def _shown(self, name: str) -> Iterator[Step]:
        yield _Line(lambda _text: None)


@dataclass
class PlainProgress(SilentProgress):
    """A line when a step begins and one when it ends, for logs."""

    heartbeat_seconds: float = 30

    def note(self, text: str) -> None:
        """See Progress."""
        print(text, file=sys.stderr, flush=True)

    @contextmanager
    def _shown(self, name: str) -> Iterator[Step]:
        began = time.monotonic()
        ended = threading.Event()
        current = [""]

        def beat() -> None:
            while not ended.wait(self.heartbeat_seconds):
                shown = f"{name}: {current[0]}" if current[0] else name
                self.note(f"  … {shown} ({time.monotonic() - began:.0f} s so far)")

        watcher = threading.Thread(target=beat, daemon=True)
        watcher.start()
        outcome = "failed"
        try:
            yield _Line(lambda text: current.__setitem__(0, text))
            outcome = "done"
        finally:
            ended.set()
            watcher.join()
            mark = "✓" if outcome == "done" else "✗"
            self.note(f"  {mark} {name} ({time.monotonic() - began:.1f} s)")


class LiveProgress(SilentProgress):
    """Spinners with the time so far, for terminals."""

    def __enter__(self) -> Self:
        from rich.console import Console
        from rich.progress import Progress as RichProgress
        from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn
        from rich.table import Column

        self._console = Console(stderr=True)
        self._bars = RichProgress(
            TextColumn(" "),
            SpinnerColumn(finished_text=" "),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[detail]}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
            console=self._console,
            transient=True,
            expand=True,  # so that what is cut is the detail, not the time
        )
        self._bars.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bars.stop()

    def note(self, text: str) -> None:
        """See Progress."""
        self._bars.console.print(text, highlight=False, markup=False)

    @contextmanager
    def _shown(self, name: str) -> Iterator[Step]:
        task: TaskID = self._bars.add_task(name, total=None, detail="")
        began = time.monotonic()
        mark = "[red]✗[/red]"
        try:
            yield _Line(lambda text: self._bars.update(task, detail=text))
            mark = "[green]✓[/green]"
        finally:
            self._bars.remove_task(task)
            self._bars.console.print(f"  {mark} {name} [dim]({time.monotonic() - began:.1f} s)[/dim]", highlight=False)


@contextmanager
def terminal_progress() -> Iterator[SilentProgress]:
    """The progress that suits standard error: live on a terminal, plain lines elsewhere."""
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        with LiveProgress() as live:
            yield live
    else:
        yield PlainProgress()
