"""Statistics of evaluations, against published values and against scipy."""

import pytest
from scipy import stats

from drydock.evaluation.intervals import difference, middle, paired_p, percentile, share


@pytest.mark.parametrize(("right", "total"), [(0, 10), (10, 10), (7, 20), (812, 1000)])
def test_a_share_has_wilsons_interval(right: int, total: int) -> None:
    interval = stats.binomtest(right, total).proportion_ci(method="wilson")
    estimate = share(right, total)
    assert (estimate.low, estimate.high) == pytest.approx((interval.low, interval.high))
    assert estimate.low <= estimate.value <= estimate.high


@pytest.mark.parametrize(("only_first", "only_second"), [(0, 0), (3, 3), (2, 11), (0, 6)])
def test_the_paired_test_is_mcnemars(only_first: int, only_second: int) -> None:
    count = only_first + only_second
    expected = stats.binomtest(only_first, count).pvalue if count else 1.0
    assert paired_p(only_first, only_second) == pytest.approx(expected)


def test_a_difference_lies_in_its_interval() -> None:
    """Agresti and Min 2005: 0.5 added to each cell."""
    estimate = difference(10, 30, 100)
    assert estimate.value == pytest.approx(0.2)
    assert (estimate.low, estimate.high) == pytest.approx((0.0791, 0.3131), abs=1e-4)
    assert difference(0, 0, 5).low < 0 < difference(0, 0, 5).high, "five questions alike show little"


def test_a_median_lies_between_two_values() -> None:
    values = [float(value) for value in range(1, 102)]
    estimate = middle(values)
    assert estimate.value == 51
    assert (estimate.low, estimate.high) == (40, 62)
    assert middle([2.0]).low == middle([2.0]).high == 2
    assert percentile(values, 95) == 96
