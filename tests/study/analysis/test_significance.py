"""Tests of a mean against a region: scipy's t-tests as the oracle, Holm's correction by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pat.study.analysis.intervals import Interval, interval
from pat.study.analysis.significance import holm, lies, p_values, signed_rank

INF = math.inf
SAMPLES = [
    [1.0, 2.0, 4.0, 3.0, 2.5],
    [-0.3, 0.1, 0.2],
    [55.2, 54.0],
    [-2.5, -1.5, -2.25, -2.0, -3.5],
]


def scipy(values: list[float], bound: float, side: str) -> float:
    return float(stats.ttest_1samp(values, bound, alternative=side).pvalue)


@pytest.mark.parametrize("values", SAMPLES)
@pytest.mark.parametrize("bound", [-2.0, 0.0, 0.5, 2.0])
def test_a_region_with_one_end_is_a_one_sided_t_test(values: list[float], bound: float) -> None:
    above, below = scipy(values, bound, "greater"), scipy(values, bound, "less")
    assert p_values(values, (bound, INF)) == pytest.approx((above, below))
    assert p_values(values, (-INF, bound)) == pytest.approx((below, above))


@pytest.mark.parametrize("values", SAMPLES)
@pytest.mark.parametrize("bound", [0.4, 2.0, 30.0])
def test_a_region_with_two_ends_is_the_equivalence_test(values: list[float], bound: float) -> None:
    inside, outside = p_values(values, (-bound, bound))
    assert inside == pytest.approx(max(scipy(values, -bound, "greater"), scipy(values, bound, "less")))
    nearer = min(scipy(values, -bound, "less"), scipy(values, bound, "greater"))
    assert outside == pytest.approx(min(1.0, 2 * nearer))


def test_examples_worked_by_hand() -> None:
    # 1, 2, 3: mean 2, s = 1, t = 2 * sqrt(3) = 3.4641 against 0 with 2 degrees of freedom.
    t = 2 * math.sqrt(3)
    expected = 0.5 * (1 - t / math.sqrt(2 + t**2))  # Student's tail in closed form for 2 degrees
    assert p_values([1.0, 2.0, 3.0], (0.0, INF)) == pytest.approx((expected, 1 - expected))
    assert expected == pytest.approx(0.0371, abs=1e-4)


@pytest.mark.parametrize(
    ("value", "region", "expected"),
    [
        (0.5, (0.0, INF), (0.0, 1.0)),
        (-0.5, (0.0, INF), (1.0, 0.0)),
        (0.0, (0.0, INF), (1.0, 1.0)),  # on the bound: neither
        (0.5, (-INF, 1.0), (0.0, 1.0)),
        (1.5, (-INF, 1.0), (1.0, 0.0)),
        (0.0, (-2.0, 2.0), (0.0, 1.0)),
        (3.0, (-2.0, 2.0), (1.0, 0.0)),
        (-3.0, (-2.0, 2.0), (1.0, 0.0)),
        (2.0, (-2.0, 2.0), (1.0, 1.0)),
    ],
)
def test_values_without_spread_are_decided_by_where_they_lie(
    value: float, region: tuple[float, float], expected: tuple[float, float]
) -> None:
    assert p_values([value] * 3, region) == expected


def test_one_value_decides_nothing() -> None:
    assert p_values([100.0], (0.0, INF)) == (1.0, 1.0)
    assert p_values([0.0], (-2.0, 2.0)) == (1.0, 1.0)


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [INF, 0.0]])
def test_values_that_cannot_be_tested_are_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="a test needs finite values"):
        p_values(values, (0.0, INF))


@pytest.mark.parametrize("region", [(1.0, 1.0), (2.0, -2.0), (-INF, INF)])
def test_a_region_that_is_empty_or_everything_is_refused(region: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="expected a region"):
        p_values([1.0, 2.0], region)


# Holm


@pytest.mark.parametrize(
    "values",
    [
        [0.3, 1.2, -0.5, 2.1],
        [1.0, 1.0, -1.0, 2.0, 0.0],  # ties and a zero
        [0.0, 0.0, 3.0],
        [-1.0, -2.0],
        [0.5, -0.5, 1.5, 1.5, 2.5, -1.5, 0.5, 3.5, -2.5, 0.5, 1.5, 2.5],  # twelve seeds
        [float(n) for n in range(-5, 10)],  # ties and a zero among too many to go through
    ],
)
@pytest.mark.parametrize("bound", [0.0, 0.5])
def test_the_signed_rank_test_is_scipys(values: list[float], bound: float) -> None:
    data = np.array(values)
    # The oldest scipy takes ties for no ties by itself; permuted it is exact.
    exactly = {"method": stats.PermutationMethod(n_resamples=np.inf)} if len(values) <= 13 else {}
    expected = stats.wilcoxon(data - bound, alternative="greater", **exactly).pvalue
    assert signed_rank(data, bound) == pytest.approx(expected, rel=1e-12)


def test_values_on_the_bound_are_not_above_it() -> None:
    assert signed_rank(np.array([2.0, 2.0]), 2.0) == 1


def test_holm_by_hand() -> None:
    # Sorted .01, .02, .03, .04 times 4, 3, 2, 1: .04, .06, .06, .04 -> never falling: .06.
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.6]) == pytest.approx([1.0, 1.0])
    assert holm([0.0, 0.0, 0.04]) == pytest.approx([0.0, 0.0, 0.04])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_lies_between_nothing_and_bonferroni(p: list[float]) -> None:
    found = np.array(holm(p))
    assert (found >= np.array(p)).all()
    assert (found <= np.minimum(1, len(p) * np.array(p)) + 1e-12).all()
    order = np.argsort(p, kind="stable")
    assert (np.diff(found[order]) >= 0).all()


# What an interval says by itself


@pytest.mark.parametrize(
    ("low", "high", "region", "expected"),
    [
        (0.1, 2.0, (0.0, INF), True),
        (-2.0, -0.1, (0.0, INF), False),
        (-0.1, 2.0, (0.0, INF), None),
        (0.1, 0.9, (-INF, 1.0), True),
        (1.1, 1.9, (-INF, 1.0), False),
        (-1.0, 1.0, (-2.0, 2.0), True),
        (-3.0, 1.0, (-2.0, 2.0), None),
        (2.5, 3.0, (-2.0, 2.0), False),
        (-3.0, -2.5, (-2.0, 2.0), False),
    ],
)
def test_where_an_interval_lies(
    low: float, high: float, region: tuple[float, float], expected: bool | None
) -> None:
    assert lies(Interval((low + high) / 2, low, high, 5), region) is expected


def test_one_value_lies_nowhere() -> None:
    assert lies(interval([5.0]), (0.0, INF)) is None


# Values that differ by less than squares can tell have no spread to compute with.
COARSE = st.floats(-5, 5).map(lambda value: round(value, 9))


@given(st.lists(COARSE, min_size=2, max_size=6, unique=True), st.floats(-3, 3))
def test_an_interval_and_its_test_agree(values: list[float], bound: float) -> None:
    """The two-sided test at 5 % rejects exactly where the 95 % interval does not reach."""
    inside, outside = p_values(values, (bound, INF))
    p = 2 * min(inside, outside)
    if abs(p - 0.05) > 1e-6:
        assert (lies(interval(values), (bound, INF)) is not None) == (p < 0.05)
