"""Runs a load plan: workers in processes of their own, and what they recorded."""

from collections.abc import Callable

from drydock.loadtest.records import Run, Snapshot
from drydock.loadtest.settings import LoadPlan


def generate(plan: LoadPlan, *, on_progress: Callable[[Snapshot], None] = lambda _snapshot: None) -> Run:
    """Send a plan's load and wait for the answers.

    SIGINT ends it early: what was recorded comes back, marked incomplete.

    Raises:
        DrydockError: the workers could not start or were lost.
    """
    raise NotImplementedError
