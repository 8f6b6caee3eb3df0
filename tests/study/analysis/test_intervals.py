"""An interval as text."""

import pytest

from pat.study.analysis.intervals import Interval, interval


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (-1.25, 2, "−1.25"),
        (-0.04, 1, "0.0"),
        (-0.04, 2, "−0.04"),
        (-0.4, 0, "0"),
        (0.0, 1, "0.0"),
        (3, 1, "3.0"),
    ],
)
def test_a_minus_is_a_real_one_and_none_stands_before_a_zero(value: float, digits: int, text: str) -> None:
    assert interval([value]).plus_minus(digits) == text
    assert interval([value, value]).text(digits) == f"{text} [{text}, {text}]"


def test_both_ends_and_the_unit() -> None:
    found = Interval(-13.2, -15.5, -0.04, 10)
    assert found.text() == "−13.2 [−15.5, 0.0]"
    assert found.text(2, " %") == "−13.20 % [−15.50, −0.04]"
    assert found.plus_minus() == "−13.2 ± 13.2"
    assert interval([-2.0]).text(unit=" points") == "−2.0 points (one value)"
