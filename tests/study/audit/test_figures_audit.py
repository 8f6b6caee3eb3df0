"""Figures of the audit and of one's own run: what they draw is what they are given."""

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("seaborn")

from pat.study import audit, figures
from pat.study.audit import Span


def test_dense_costs_have_a_point_a_row_and_a_line_a_network() -> None:
    implied = {"a": Span(4.0, 3.9, 4.2), "b": Span(3.5, 3.5, 3.5)}
    (axis,) = figures.dense_costs(implied, {"one": 3.6, "two": 4.1}).axes
    points = [(line.get_xdata()[0], line.get_ydata()[0]) for line in axis.lines if line.get_marker() == "o"]
    assert points == [(4.0, 0), (3.5, 1)]
    dashed = [line.get_xdata()[0] for line in axis.lines if line.get_linestyle() == "--"]
    assert dashed == [3.6, 4.1]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["a", "b"]
    low, high = axis.get_xlim()
    assert (low < 3.5, high > 4.2) == (True, True)


def test_policy_losses_leave_a_dash_out() -> None:
    figure = figures.policy_losses(audit.losses(audit.Paper.read()), audit.POLICIES)
    magnitude, gradient = figure.axes
    assert [len(line.get_xdata()) for line in magnitude.lines] == [3, 2, 3, 3]
    assert [len(line.get_xdata()) for line in gradient.lines] == [3, 3, 3, 3]
    assert list(magnitude.lines[1].get_ydata()) == [0, 1]  # initialisation has no MobileNetV1
    assert sum(axis.get_legend() is not None for axis in figure.axes) == 1


def report(epoch: int, status: str, counts: dict[str, int] | None, epi: float | None = None) -> Any:
    return SimpleNamespace(epoch=epoch, status=status, counts=counts, epi=epi)


def test_a_run_is_drawn_up_to_its_pruning() -> None:
    run = [
        report(0, "dense", {"a": 4, "b": 2}),
        report(1, "dense", {"a": 3, "b": 3}, 0.9),
        report(2, "prune", {"a": 2, "b": 4}),
        report(3, "sparse", None),
    ]
    left, right = figures.pruning_run(run, 0.8).axes
    assert (list(left.lines[0].get_xdata()), list(left.lines[0].get_ydata())) == ([1], [0.9])
    drawn = {line.get_label(): list(line.get_ydata()) for line in right.lines}
    assert (drawn["a"], drawn["b"]) == ([4, 3, 2], [2, 3, 4])
    assert sum(list(line.get_xdata()) == [2, 2] for line in (*left.lines, *right.lines)) == 2


@pytest.mark.parametrize("run", [[], [report(0, "dense", {"a": 4})]], ids=["nothing", "no EPI yet"])
def test_a_run_that_is_too_short_for_epi(run: list[Any]) -> None:
    left, _ = figures.pruning_run(run, 0.8).axes
    assert list(left.lines[0].get_xdata()) == []
