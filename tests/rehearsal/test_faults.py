"""What is said of a fault follows from the requests that were sent meanwhile."""

from collections.abc import Sequence

import pytest

from drydock.rehearsal.faults.fault_list import Fault, faults
from drydock.rehearsal.faults.load import Attempt
from drydock.rehearsal.faults.trial import judge
from tests.conftest import Drydock

STRUCK = 1000.0
LENIENT = Fault("some", "Something breaks.", seconds=10)
STRICT = Fault("some", "Something breaks.", seconds=10, none_lost=2)
ALWAYS = Fault("some", "Something breaks.", seconds=10, none_lost=1)


def attempts(outcomes: str) -> Sequence[Attempt]:
    """One a second: `.` for one that succeeded, `x` for one that was lost."""
    return [
        Attempt(STRUCK + 1 + second, 0.1, outcome == ".", "" if outcome == "." else "status 503")
        for second, outcome in enumerate(outcomes)
    ]


@pytest.mark.parametrize(
    ("fault", "pods", "outcomes", "held", "lost", "recovered"),
    [
        (LENIENT, 1, "....", True, 0, 0.0),
        (LENIENT, 1, ".xx...", True, 2, 4.0),
        (LENIENT, 1, "x.x..", True, 2, 4.0),
        (LENIENT, 1, "xxxxxxxxxxx.", False, 11, 12.0),
        (LENIENT, 1, ".xxxx", False, 4, None),
        (STRICT, 1, ".xx..", True, 2, 4.0),
        (STRICT, 2, ".xx..", False, 2, 4.0),
        (STRICT, 2, ".....", True, 0, 0.0),
        (ALWAYS, 1, ".x..", False, 1, 3.0),
        (ALWAYS, 1, "....", True, 0, 0.0),
        (LENIENT, 1, "", False, 0, None),
    ],
)
def test_a_fault_is_judged_by_what_was_lost_and_for_how_long(
    fault: Fault, pods: int, outcomes: str, held: bool, lost: int, recovered: float | None
) -> None:
    report = judge(fault, attempts(outcomes), STRUCK, pods)
    assert (report.held, report.lost, report.recovered_seconds) == (held, lost, recovered)
    assert report.requests == len(outcomes)
    assert report.errors == (f"{lost} x status 503" if lost else "")


def test_the_promise_depends_on_the_pods_that_there_were() -> None:
    assert judge(STRICT, attempts("."), STRUCK, 2).promise == "answers again within 10 s, no request lost"
    assert judge(STRICT, attempts("."), STRUCK, 1).promise == "answers again within 10 s"


def test_faults_are_listed(drydock: Drydock) -> None:
    listed = drydock("faults").stdout
    for fault in faults().values():
        assert fault.name in listed
        assert fault.what in listed


def test_an_unknown_fault_is_wrong_usage(drydock: Drydock) -> None:
    done = drydock("rehearse", "dev", "--fault", "model-crash,earthquake")
    assert done.returncode == 2
    assert "there is no fault 'earthquake'" in done.stderr
    assert "gpu-node-dies" in done.stderr
