"""Steps of the main job, shown while they last and timed for the report."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from drydock.progress import Progress, Step
from drydock.rehearsal.events import StepDone
from drydock.report.model import StepReport


@dataclass
class StepClock:
    """Times steps since a command was given.

    Args:
        progress: shows them.
        begun: when the command was given, as Unix time.
    """

    progress: Progress
    begun: float
    _done: list[StepReport] = field(default_factory=list)

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Open a step; it counts even when it fails."""
        start = time.time()
        try:
            with self.progress.step(name) as shown:
                yield shown
        finally:
            self._done.append(self._report(name, start, time.time() - start))

    def with_background(self, others: Iterable[StepDone]) -> tuple[StepReport, ...]:
        """The steps so far and those that went on in the background, in the order in which they began."""
        told = [self._report(other.name, other.started, other.seconds) for other in others]
        return tuple(sorted([*self._done, *told], key=lambda each: each.start_seconds))

    def _report(self, name: str, start: float, seconds: float) -> StepReport:
        return StepReport(name, round(max(0.0, start - self.begun), 2), round(seconds, 2))
