"""Sentences with a number in them."""

import pytest

from pat.study import wording
from pat.study.analysis.intervals import interval


def spaced(text: str) -> str:
    """With plain spaces where a line must not break."""
    return text.replace("\N{NO-BREAK SPACE}", " ")


def test_a_difference_is_said_in_its_direction() -> None:
    up, down = [1.0, 2.0, 3.0], [-1.0, -2.0, -3.0]
    assert (
        spaced(wording.difference([1.9, 2.0, 2.1], "gains {}", "loses {}")) == "gains 2.0 points [1.8, 2.2]"
    )
    assert (
        spaced(wording.difference([-1.9, -2.0, -2.1], "gains {}", "loses {}"))
        == "loses 2.0 points [1.8, 2.2]"
    )
    assert spaced(wording.difference(up, "{} up", "{} down", "", 0)) == "2 [0, 4] up (or nothing)"
    assert spaced(wording.difference(down, "{} up", "{} down", "", 0)) == "2 [0, 4] down (or nothing)"


def test_one_value_has_no_interval_and_none_is_refused() -> None:
    assert spaced(wording.difference([-1.25], "gains {}", "loses {}")) == "loses 1.2 points (one value)"
    with pytest.raises(ValueError, match="an interval needs finite values"):
        wording.difference([], "gains {}", "loses {}")


def test_parts_of_sentences() -> None:
    assert spaced(wording.amount(interval([-1.0, -1.0]), " %", 0)) == "−1 % [−1, −1]"
    assert spaced(wording.amount(interval([-0.04, -0.04]), "")) == "0.0 [0.0, 0.0]"
    assert spaced(wording.amount(interval([-0.06, -0.06]), "")) == "−0.1 [−0.1, −0.1]"
    assert spaced(wording.amount(interval([-0.5, -0.5]), "")) == "−0.5 [−0.5, −0.5]"
    assert wording.seeds([{1: 0.5, 2: 0.5}, {1: 0.5}]) == "1 seed"
    assert wording.seeds([[1, 2], [2, 3, 4]]) == "2 seeds"
    assert wording.seeds([]) == "0 seeds"
    assert wording.listed(["a"]) == "a"
    assert wording.listed(["a", "b", "c"]) == "a, b and c"
    assert wording.percent(0.5) == "50 %"


def test_epochs_of_few_seeds_are_told_each_and_of_many_as_mean_and_range() -> None:
    few = [(12, True), (None, None), (30, False), (float("nan"), None), (2.5, None)]
    assert wording.epochs(few) == "12, –, (30), –, 2.5"
    assert wording.epochs([*few, (14, True)]) == "10 (2.5 to 14), silent in 1, none in 2"
    assert wording.epochs([(0, None)] * 6) == "0"
    assert wording.epochs([(30, False)] * 6) == "silent in 6"


def test_the_brackets_of_an_interval_do_not_break() -> None:
    assert wording.amount(interval([1.0, 1.0])) == "1.0 points [1.0,\N{NO-BREAK SPACE}1.0]"
