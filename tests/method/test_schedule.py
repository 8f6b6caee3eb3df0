"""Schedules: FORCE's exponential by hand, and the recipe's learning rate."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pat.schedule import exponential, prune_steps, warmup_cosine


def test_exponential_by_hand() -> None:
    assert exponential(1000, 1, 3) == [100, 10, 1]
    assert exponential(1024, 64, 4) == [512, 256, 128, 64]
    assert exponential(100, 50, 2) == [71, 50]  # sqrt(5000) = 70.7
    assert exponential(8, 2, 4) == [6, 4, 3, 2]  # 5.66, 4, 2.83, 2
    assert exponential(10, 10, 3) == [10, 10, 10]
    assert exponential(10, 7, 1) == [7]
    assert exponential(100, 0, 2) == [10, 0]  # towards 1 until the last step
    assert exponential(0, 0, 2) == [0, 0]


def test_rounding_is_exact() -> None:
    # Half way, sqrt(n k) channels are left. Rounded half up: floor(sqrt(n k) + 1/2), here in integers.
    for n in range(1, 60):
        for k in range(1, n + 1):
            exact = math.isqrt(4 * n * k)  # floor(2 sqrt(n k))
            assert exponential(n, k, 2) == [(exact + 1) // 2, k]


@given(st.integers(0, 30000), st.data())
def test_exponential_falls_to_keep(total: int, data: st.DataObject) -> None:
    keep = data.draw(st.integers(0, total))
    steps = data.draw(st.integers(1, 40))
    left = exponential(total, keep, steps)
    assert len(left) == steps
    assert left[-1] == keep
    assert all(a >= b for a, b in pairwise([total, *left]))


def test_exponential_refuses() -> None:
    for keep in (-1, 11):
        with pytest.raises(ValueError, match=f"keep must lie between 0 and total=10, got {keep}"):
            exponential(10, keep, 3)
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        exponential(10, 5, 0)


@pytest.mark.parametrize(
    ("requested", "iterations", "steps"),
    [(30, 1251, 30), (30, 60, 30), (30, 59, 29), (30, 3, 1), (30, 1, 1), (5, 100, 5), (30, 0, 1)],
)
def test_prune_steps(requested: int, iterations: int, steps: int) -> None:
    assert prune_steps(requested, iterations) == steps


def test_warmup_cosine() -> None:
    rates = [warmup_cosine(t, epochs=90, warmup_epochs=8, peak=1.024) for t in range(90)]
    assert rates[:3] == pytest.approx([0.128, 0.256, 0.384])
    assert rates[7] == rates[8] == pytest.approx(1.024)  # the ramp's end, and the cosine at 0
    assert rates[8 + 41] == pytest.approx(0.512)
    assert all(a > b for a, b in pairwise(rates[8:]))
    assert rates[89] == pytest.approx(1.024 * (1 + math.cos(math.pi * 81 / 82)) / 2)
    assert warmup_cosine(0, epochs=1, warmup_epochs=0, peak=0.1) == 0.1


def test_warmup_cosine_refuses() -> None:
    with pytest.raises(ValueError, match=r"warmup_epochs must lie in \[0, 5\), got 5"):
        warmup_cosine(0, epochs=5, warmup_epochs=5, peak=1)
    for epoch in (-1, 5):
        with pytest.raises(ValueError, match=rf"epoch must lie in \[0, 5\), got {epoch}"):
            warmup_cosine(epoch, epochs=5, warmup_epochs=1, peak=1)
