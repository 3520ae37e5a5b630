"""When requests are due."""

from itertools import pairwise

import numpy as np
import pytest

from drydock.errors import UsageError
from drydock.loadtest.arrivals import due_times
from drydock.loadtest.settings import Arrival, Closed, Constant, Gamma, Poisson, Ramp, Stage, Trace


def times(arrival: Arrival, seconds: float = 1000, seed: int = 0) -> list[float]:
    return [float(time) for time in due_times(Stage(arrival, seconds), seed)]


def test_a_constant_rate_is_evenly_spaced() -> None:
    assert times(Constant(4), 1) == [0, 0.25, 0.5, 0.75]


@pytest.mark.parametrize(("arrival", "variation"), [(Poisson(50), 1.0), (Gamma(50, 0.25), 2.0), (Gamma(50, 4), 0.5)])
def test_gaps_have_the_rate_and_the_variation_that_were_asked_for(arrival: Arrival, variation: float) -> None:
    gaps = np.diff(times(arrival))

    assert np.mean(gaps) == pytest.approx(1 / 50, rel=0.05)
    assert np.std(gaps) / np.mean(gaps) == pytest.approx(variation, rel=0.05)


def test_a_burstiness_of_one_is_poisson() -> None:
    assert times(Gamma(10, 1.0)) == times(Poisson(10))


def test_a_ramp_sends_as_its_rate_says() -> None:
    sent = np.array(times(Ramp(10, 30), 100))

    assert sent.size == pytest.approx(2000, abs=1)
    assert np.sum(sent < 10) == pytest.approx(110, abs=1)
    assert np.sum(sent >= 90) == pytest.approx(290, abs=1)
    assert all(later > earlier for earlier, later in pairwise(sent))


@pytest.mark.parametrize("ramp", [Ramp(0, 20), Ramp(20, 0)])
def test_a_ramp_may_begin_or_end_with_nothing(ramp: Ramp) -> None:
    sent = times(ramp, 10)

    assert len(sent) == pytest.approx(100, abs=1)
    assert sent == sorted(sent)


def test_a_trace_is_followed_until_the_stage_ends() -> None:
    assert times(Trace((0.0, 0.5, 0.5, 3.0)), 2) == [0.0, 0.5, 0.5]


def test_a_closed_loop_has_no_times() -> None:
    assert times(Closed(3)) == []


def test_warm_up_comes_before_the_duration_and_a_number_limits_both() -> None:
    assert len(due_times(Stage(Constant(10), 2, warm_up_seconds=1), 0)) == 30
    assert len(due_times(Stage(Constant(10), 2, max_conversations=5), 0)) == 5


def test_the_same_seed_gives_the_same_times() -> None:
    assert times(Poisson(10), seed=1) == times(Poisson(10), seed=1)
    assert times(Poisson(10), seed=1) != times(Poisson(10), seed=2)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Constant(0),
        lambda: Poisson(-1),
        lambda: Poisson(float("inf")),
        lambda: Gamma(1, 0),
        lambda: Ramp(0, 0),
        lambda: Ramp(-1, 5),
        lambda: Trace(()),
        lambda: Trace((1.0, 0.5)),
        lambda: Closed(0),
        lambda: Stage(Constant(1), 0),
        lambda: Stage(Constant(1), 1, warm_up_seconds=-1),
    ],
)
def test_impossible_loads_are_refused(wrong: object) -> None:
    assert callable(wrong)
    with pytest.raises(UsageError):
        wrong()
