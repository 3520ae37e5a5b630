"""When purchases are let through: by what Karpenter's log tells, in each order in which it can come."""

import threading

import pytest

from drydock.outcome.decisions import AWAITING, NOT_READY, Decided, PoolSkipped, RoundBegan
from drydock.rehearsal.gate import Gate

MARKER = "kube-system/marker"


class Clock:
    """Stands still unless it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gate(clock: Clock) -> Gate:
    """One that is held, with the marker made at 100 and the pool `gpu` usable."""
    gate = Gate(clock)
    gate.hold()
    assert gate.mark(gate.turn, ["gpu"])
    return gate


def told(gate: Gate, began: float, pod: str = MARKER) -> bool:
    return gate.heard(Decided(pod, "no pool", (), began), MARKER)


def test_nothing_holds_purchases_before_an_install() -> None:
    assert Gate().admits()


def test_nothing_is_bought_during_an_install() -> None:
    gate = Gate()
    gate.hold()
    assert not gate.admits()
    assert not told(gate, 101), "the marker of an earlier install"
    assert not gate.admits()


def test_the_first_round_that_speaks_of_the_marker_buys(gate: Gate) -> None:
    assert not told(gate, 101, "genai/model")
    assert told(gate, 101)
    assert gate.admits(0)


def test_a_round_that_began_before_the_marker_was_made_does_not_buy(gate: Gate) -> None:
    assert not told(gate, 99)
    assert not gate.admits(0)


@pytest.mark.parametrize("reason", [AWAITING, NOT_READY])
def test_a_round_without_a_usable_pool_does_not_buy_and_the_next_does(gate: Gate, reason: str) -> None:
    gate.heard(PoolSkipped("gpu", reason, 101), MARKER)
    assert not told(gate, 101)
    assert told(gate, 111)


def test_pools_that_can_never_be_used_are_not_waited_for(gate: Gate) -> None:
    gate.heard(PoolSkipped("broken", NOT_READY, 101), MARKER)
    gate.heard(PoolSkipped("gpu", "no instance type is left", 101), MARKER)
    assert told(gate, 101)


def test_a_round_that_ignores_a_pod_whose_volumes_are_bound_does_not_buy_and_the_next_does(clock: Clock) -> None:
    gate = Gate(clock)
    gate.hold()
    assert gate.mark(gate.turn, ["gpu"], ["genai/hub"])
    gate.heard(RoundBegan(101, frozenset({"genai/hub", "genai/driverless"})), MARKER)
    assert not told(gate, 101)
    gate.heard(RoundBegan(111, frozenset({"genai/driverless"})), MARKER)
    assert told(gate, 111)


def test_claims_that_come_before_the_log_is_read_wait_for_it(gate: Gate) -> None:
    admitted: list[bool] = []
    waiting = [threading.Thread(target=lambda: admitted.append(gate.admits(60))) for _ in range(20)]
    for thread in waiting:
        thread.start()
    told(gate, 101)
    for thread in waiting:
        thread.join()
    assert admitted == [True] * 20


def test_of_one_round_all_claims_are_let_through_or_none(gate: Gate, clock: Clock) -> None:
    clock.now = 102
    assert not gate.admits(0), "the log was read too late for this one"
    assert not told(gate, 101)
    assert not gate.admits(0)
    assert told(gate, 112)
    assert gate.admits(0)


def test_another_install_holds_again(gate: Gate) -> None:
    before = gate.turn
    told(gate, 101)
    gate.hold()
    assert not gate.admits()
    assert not gate.mark(before, ["gpu"]), "pools of the earlier install have turned out usable only now"
    assert not told(gate, 111)
    assert gate.mark(gate.turn, ["gpu"])
