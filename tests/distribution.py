"""How pytest-xdist spreads the tests: one worker runs those of a file, because they share fixtures.

Its own `--dist loadgroup` writes the group into an attribute that pytest 9.2 no longer reads, so that every worker
started the control plane of every file.
"""

import pytest
from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]

INDEPENDENT = (
    "tests/charts/test_every_value.py",
    "tests/deploy/test_rehearsal_target.py",
    "tests/documentation/test_pages.py::test_a_page_can_be_followed[",
    "tests/rehearsal/test_environments.py",
    "tests/rehearsal/test_interruptions.py",
    "tests/rehearsal/test_lifecycle.py",
)
"""Starts of the names of long tests that share nothing with those beside them: another worker may run each."""


class Scheduling(LoadFileScheduling):  # type: ignore[misc]
    """Files in the order of collection, and independent tests one by one."""

    def _split_scope(self, nodeid: str) -> str:
        return nodeid if nodeid.startswith(INDEPENDENT) else str(super()._split_scope(nodeid))


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Scheduling:
    """Pytest-xdist asks for this in the process that starts the workers."""
    config.option.loadscopereorder = False  # the files with the most tests first would put control planes last
    return Scheduling(config, log)
