"""The chapter on short schedules: two clocks, worked by hand."""

import pytest
from test_policies import FIRST, NEVER, SETTLES, block, profile, run, sweep_of, trunk
from test_wording import spaced
from tiny import recipe

from pat.study import wording
from pat.study.experiments.short_schedule.figures import accuracy_by_share
from pat.study.experiments.short_schedule.finding import finding
from pat.study.experiments.short_schedule.schedules import Schedule, on_both, schedule_table

LONG = recipe(epochs=24)


def short() -> Schedule:
    """Pruned in epoch 5 of 12 by EPI, in 4 by rule; and at a ratio that the long one lacks."""
    of = trunk(SETTLES)
    low, high = ({0: (at, at), 4: (72.0, 72.0), 8: (80.0, 80.0)} for at in (60.0, 50.0))
    runs = [*sweep_of(of, low), *sweep_of(of, high, ratio=0.8), run(of, 5, 74.0), run(of, 5, 74.0, ratio=0.8)]
    return Schedule(profile(block(ratios=(0.5, 0.8))), runs, "full")


def long() -> Schedule:
    """Pruned in epoch 5 of 24 by EPI, in 8 by rule; in a second seed EPI is silent."""
    scale = profile(block((0, 8, 16), seeds=(0, 1))).model_copy(update={"recipe": LONG})
    records = []
    for seed, counts in enumerate((SETTLES + 12 * SETTLES[-1:], 2 * NEVER)):
        of = trunk(counts, recipe=LONG, seed=seed)
        records += sweep_of(of, {0: (60.0, 60.0), 8: (80.0, 80.0), 16: (82.0, 82.0)})
        records += [run(of, 5, 79.0)]
    return Schedule(scale, records, "full")


def test_what_both_have_is_compared_by_shares_of_their_lengths() -> None:
    both = on_both([short(), long()])
    assert set(both["ratio"]) == {0.5}
    epi = both[both["policy"] == "epi"]
    assert epi["share"].tolist() == pytest.approx([100 * 5 / 12, 100 * 5 / 24, 100 / 3])
    assert epi["regret"].tolist() == [6.0, 3.0, 2.0]
    first, second = schedule_table(both).to_dict("records")
    assert first == {
        "network": FIRST,
        "criterion": "gradient",
        "ratio": "50 %",
        "schedule": "12 epochs",
        "EPI prunes after": "42 %",
        "in": "1 of 1",
        "EPI": "6.0 (one value)",
        "a fixed third": "8.0 (one value)",
    }
    assert (second["schedule"], second["EPI prunes after"], second["in"]) == ("24 epochs", "21 %", "1 of 2")


def test_the_finding_tells_both_clocks() -> None:
    told = spaced(finding([short(), long()]))
    assert told == (
        "On 12 epochs EPI cannot prune before 17 % of the schedule is over. Half of `resnet8-bottleneck` it "
        "pruned by gradient after 42 %, losing 6.0 points (one value) against the oracle (1 seed). "
        "On 24 epochs EPI cannot prune before 8 % of the schedule is over. Half of `resnet8-bottleneck` it "
        "pruned by gradient after 21 % (in 1 of 2 runs not at all), losing 2.5 points [−3.9, 8.9] against "
        "the oracle (2 seeds)."
    )
    assert finding([Schedule(profile(block()), [], "full")]) == wording.NOT_RUN


def test_the_figure_draws_a_curve_and_a_mark_for_each_clock() -> None:
    (axis,) = accuracy_by_share([short(), long()]).axes
    curves = [line for line in axis.lines if line.get_marker() == "o"]
    assert [list(curve.get_xdata()) for curve in curves] == [
        pytest.approx([0, 100 / 3, 200 / 3]),
        pytest.approx([0, 100 / 3, 200 / 3]),
    ]
    marks = [line.get_xdata()[0] for line in axis.lines if line.get_marker() == "^"]
    assert len(marks) == 2
    assert [line.get_xdata()[0] for line in axis.lines if line.get_linestyle() == ":"] == [
        pytest.approx(100 * 2 / 12),
        pytest.approx(100 * 2 / 24),
    ]
    (empty,) = accuracy_by_share([Schedule(profile(block()), [], "full")]).axes
    assert not empty.lines
