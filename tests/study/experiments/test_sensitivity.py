"""What hangs on EPI's settings, and what Algorithm 1 leaves: made-up runs, worked by hand."""

from typing import Any

import pytest
from test_analysis import epoch, scored
from test_policies import (
    EPOCHS,
    FIRST,
    NEVER,
    SECOND,
    SETTLES,
    TRACKING,
    TWELVE,
    block,
    profile,
    run,
    sweep_of,
    trunk,
)
from test_record import example
from tiny import dense, pruned, recipe

from pat.study.analysis.intervals import interval
from pat.study.analysis.remains import emptied_table, kept_shares, layers_at_start
from pat.study.experiments.oracle_sweep.figures import accuracy_by_epoch
from pat.study.experiments.oracle_sweep.tables import beside_the_paper
from pat.study.experiments.policies.figures import threshold_curves, window_maps
from pat.study.experiments.policies.sensitivity import (
    settings_table,
    threshold_curve,
    varied_picks,
    varied_picks_table,
    window_table,
)
from pat.study.experiments.window.tables import (
    window_regret_table,
    window_regrets,
    window_specs,
)
from pat.study.paper.numbers import Paper
from pat.study.plan.profile import Contrast, load_profile
from pat.study.plan.settings import Window
from pat.study.plan.spec import AtEpoch, Neurons, Pruning, Variation
from pat.study.store.record import Record
from pat.study.store.rows import runs_table
from pat.study.wording import amount

ACCURACIES = {0: (60.0, 60.0), 4: (72.0, 72.0), 8: (80.0, 80.0)}  # at 2: 66, at 5: 74, at 7: 78
BY_UNIT = Neurons(count="unit")


# Threshold, look-back, patience


def test_regret_against_the_threshold_is_a_step_function() -> None:
    records = sweep_of(trunk(SETTLES), ACCURACIES)
    curve = threshold_curve(records, profile(block()))
    assert curve[["threshold", "regret", "triggered", "epoch"]].to_numpy().tolist() == [
        [0.5, 14.0, 1.0, 2.0],
        [0.75, 6.0, 1.0, 5.0],
        [1.0, 2.0, 1.0, 7.0],
    ]
    # With a run that stays silent above .5 and counts at 4: a second ratio of the same seed.
    mixed = trunk({0.2: NEVER, 0.5: SETTLES, 0.8: NEVER})
    both = sweep_of(mixed, ACCURACIES, ratio=0.2) + sweep_of(mixed, ACCURACIES)
    curve = threshold_curve(both, profile(block(ratios=(0.2, 0.5))))
    assert curve[["threshold", "regret", "triggered", "epoch"]].to_numpy().tolist() == [
        [0.5, 14.0, 1.0, 2.0],
        [0.75, 7.0, 0.5, 4.5],
        [1.0, 5.0, 0.5, 5.5],
    ]


def test_a_pick_that_was_run_counts_by_its_run() -> None:
    of = trunk(SETTLES)
    curve = threshold_curve([*sweep_of(of, ACCURACIES), run(of, 5, 79.0, 99.0)], profile(block()))
    assert curve["regret"].tolist() == pytest.approx([14.0, 1.0, 1 / 3])


def test_look_back_and_patience_move_the_pick() -> None:
    of, second = trunk(SETTLES), trunk(SETTLES, architecture=SECOND)
    records = sweep_of(of, ACCURACIES) + sweep_of(second, ACCURACIES)
    table = window_table(
        records, profile(block(), block(architecture=SECOND), tau=1.0), "full", (1, 2), (0, 5)
    )
    assert table.set_index(["look_back", "patience"])["epoch"].to_dict() == {
        (1, 0): 7, (1, 5): 7, (2, 0): 8, (2, 5): 8
    }  # fmt: skip
    assert table.set_index(["look_back", "patience"])["regret"].to_dict() == {
        (1, 0): 2.0, (1, 5): 2.0, (2, 0): 0.0, (2, 5): 0.0
    }  # fmt: skip
    assert len(table) == 4  # the first network alone


def test_another_window_is_judged_by_its_own_runs() -> None:
    of, scale = trunk(SETTLES), profile(block(), tau=1.0)  # r = 1 prunes in epoch 7, r = 2 in 8
    records = sweep_of(of, ACCURACIES)
    own, other = Window(look_back=1, patience=0), Window(look_back=2, patience=0)
    assert window_specs(records, scale, other) == []  # 8 is on the grid
    (wanted,) = window_specs(records, scale, own)
    assert wanted == run(of, 7, None).spec
    unseen = window_regrets(records, scale, own).set_index("policy")["regret"]
    assert unseen["predefined"] == 8.0
    assert unseen[["epi", "scaled"]].isna().all()  # never 2.0, what lies between the epochs that were run
    records.append(run(of, 7, 78.5))
    table = window_regrets(records, scale, other)
    assert table.set_index("policy")["regret"].to_dict() == {"predefined": 8.0, "epi": 1.5, "scaled": 0.0}
    assert table.set_index("policy")["epoch"].to_dict() == {"predefined": 4.0, "epi": 7.0, "scaled": 8.0}
    shown = window_regret_table(table, scale, other)
    assert shown.index.to_frame().to_numpy().tolist() == [
        ["gradient", FIRST, "EPI, r = 1, m = 0"],
        ["gradient", FIRST, "EPI, r = 2, m = 0"],
        ["gradient", FIRST, "pre-defined"],
    ]
    assert list(shown) == ["epoch", "triggered", "regret", "EPI, r = 2, m = 0, minus this"]
    assert shown.to_numpy().tolist() == [
        ["7.0", "1 of 1", "1.50", "−1.50 (one value)"],
        ["8.0", "1 of 1", "0.00", ""],
        ["4.0", "", "8.00", "−8.00 (one value)"],
    ]


def test_another_window_over_seeds_of_which_one_is_silent_and_one_lacks_a_run() -> None:
    """r = 1 prunes in epoch 7 and r = 2 in 8; NEVER settles for neither and counts at the pre-defined 4."""
    scale, other = profile(block(seeds=(0, 1, 2)), tau=1.0), Window(look_back=2, patience=0)
    records = []
    for seed, (counts, at_7) in enumerate(((SETTLES, 78.5), (NEVER, None), (SETTLES, None))):
        of = trunk(counts, seed=seed)
        records += [*sweep_of(of, ACCURACIES), *([run(of, 7, at_7)] if at_7 else [])]
    table = window_regrets(records, scale, other)
    own, shorter, _ = window_regret_table(table, scale, other).to_dict("records")
    assert (shorter["triggered"], shorter["epoch"]) == ("2 of 3", "8.0")
    assert own["epoch"] == "7.0"  # of seeds 0 and 2: the silent one's 4 is no epoch of EPI's
    assert shorter["regret"] == interval([0.0, 8.0, 0.0]).plus_minus(2)
    assert own["regret"] == interval([1.5, 8.0]).plus_minus(2)
    assert own["EPI, r = 2, m = 0, minus this"] == interval([-1.5, 0.0]).text(2)
    empty = window_regrets([], scale, other)
    assert window_regret_table(empty, scale, other).empty


def test_the_figures_draw_steps_and_frame_the_studys_window() -> None:
    records = sweep_of(trunk(SETTLES), ACCURACIES)
    scale = profile(block())
    figure = threshold_curves(threshold_curve(records, scale), scale.tau, {"gradient": 0.5})
    upper, lower = figure.axes
    (steps,) = [line for line in upper.lines if line.get_drawstyle() == "steps-pre"]
    assert list(steps.get_ydata()) == [14.0, 14.0, 6.0, 2.0]
    assert list(steps.get_xdata())[1:] == [0.5, 0.75, 1.0]
    assert sorted(line.get_xdata()[0] for line in upper.lines if line is not steps) == [0.5, 0.7]
    assert lower.get_xlabel() == "threshold τ"
    maps = window_maps(window_table(records, scale, "full", (1, 2), (0, 1)), (2, 0))
    (frame,) = maps.axes[0].patches
    assert frame.get_xy() == (0, 1)


# Pruning steps and neurons


def with_steps(of: Record, steps: int, test: float) -> Record:
    pruning = Pruning(criterion="gradient", ratio=0.5, policy=AtEpoch(epoch=4), steps=steps)
    return run(of, 4, test, pruning=pruning)


def test_settings_are_compared_over_paired_seeds() -> None:
    seeds = [trunk(SETTLES, seed=seed) for seed in range(3)]
    records = [run(of, 4, 80.0 + of.spec.seed) for of in seeds]
    records += [with_steps(of, 1, 70.0 + 2 * of.spec.seed) for of in seeds[:2]]
    alone = [run(of, 8, 50.0) for of in seeds]  # no other setting in that epoch
    by_unit = run(trunk(SETTLES, neurons=BY_UNIT), 4, 10.0)
    rewound = Pruning(criterion="gradient", ratio=0.5, policy=AtEpoch(epoch=4), steps=1, rewind=0)
    others = [
        run(seeds[0], 4, 1.0, pruning=rewound),
        with_steps(trunk(SETTLES, recipe=recipe(epochs=9)), 1, 1.0),
    ]
    rows = settings_table([*records, *records, *alone, by_unit, *others], profile(), "steps").to_dict(
        "records"
    )
    assert [row.pop("MACs left") for row in rows] == pytest.approx([0.4, 0.4])
    assert rows == [
        {
            "network": FIRST, "pruning": "gradient 50 %", "epoch": 4, "steps": 1, "seeds": 2,
            "accuracy": interval([70.0, 72.0]).plus_minus(),
            "difference": amount(interval([-10.0, -9.0]), ""),
        },
        {
            "network": FIRST, "pruning": "gradient 50 %", "epoch": 4, "steps": 30, "seeds": 2,
            "accuracy": interval([80.0, 81.0]).plus_minus(), "difference": "",
        },
    ]  # fmt: skip


def test_the_neuron_count_is_a_setting_too_and_failed_runs_are_missing() -> None:
    of, by_unit = trunk(SETTLES), trunk(SETTLES, neurons=BY_UNIT)
    found = settings_table(
        [run(of, 4, 80.0), run(by_unit, 4, 75.0), run(by_unit, 8, None)], profile(), "count"
    )
    assert found[["count", "accuracy", "difference"]].to_numpy().tolist() == [
        ["filter", "80.0", ""],
        ["unit", "75.0", "−5.0 (one value)"],
    ]
    assert settings_table([run(of, 4, 80.0)], profile(), "count").empty
    assert settings_table([], profile(), "steps").empty


# Virtual epochs


def sliced(counts: list[int], **changes: Any) -> Record:
    return trunk(counts, recipe=recipe(epochs=2 * EPOCHS, warmup_epochs=2, slices=2), **changes)


def test_virtual_epochs_are_mapped_back_to_passes() -> None:
    of = trunk(SETTLES)
    twice = [*SETTLES, *[3] * EPOCHS]  # at .7 picked in virtual epoch 5: after 2.5 passes
    unit = trunk(NEVER, neurons=BY_UNIT)
    other = [sliced(twice, seed=1), trunk(twice, recipe=recipe(epochs=24, warmup_epochs=2))]
    records = [*sweep_of(of, ACCURACIES), sliced(twice), unit, *other]
    picks = varied_picks([*records, *records], profile(block()))
    rows = picks.set_index(["count", "slices"])
    assert rows["epoch"].to_dict() == {("filter", 1): 5, ("filter", 2): 2.5, ("unit", 1): 4}
    assert rows["triggered"].to_dict() == {("filter", 1): True, ("filter", 2): True, ("unit", 1): False}
    assert rows.loc[("filter", 1), "regret"] == 6.0
    assert rows.loc[("filter", 2), "regret"] == 80 - (60 + 2.5 * 3)
    assert rows.loc[("unit", 1), "regret"] != rows.loc[("unit", 1), "regret"]  # another grid would be needed
    (texts,) = varied_picks_table(picks, "slices").to_dict("records")
    assert texts == {
        "whole passes": "5", "regret, whole passes": "6.0 (one value)",
        "2 slices a pass": "2.5", "regret, 2 slices a pass": "12.5 (one value)",
    }  # fmt: skip
    (texts,) = varied_picks_table(picks, "count").to_dict("records")
    assert texts == {"by filter": "5", "by unit": "(4)"}


def test_a_profile_of_slices_counts_its_own_epochs() -> None:
    scale = profile(block())
    halves = scale.recipe.model_copy(update={"slices": 2})
    record = trunk(SETTLES, recipe=halves)
    (row,) = varied_picks(
        sweep_of(record, ACCURACIES), scale.model_copy(update={"recipe": halves})
    ).itertuples()
    assert (row.epoch, row.regret) == (5, 6.0)


def test_silence_in_virtual_epochs_counts_after_a_third_of_the_passes() -> None:
    records = [*sweep_of(trunk(SETTLES), ACCURACIES), sliced(NEVER * 2)]
    row = varied_picks(records, profile(block())).set_index("slices").loc[2]
    assert (row["epoch"], row["triggered"], row["regret"]) == (4.0, False, 8.0)


def test_without_other_runs_there_is_nothing_to_set_beside() -> None:
    picks = varied_picks(sweep_of(trunk(SETTLES), ACCURACIES), profile(block()))
    assert len(picks) == 1
    assert varied_picks_table(picks, "slices").empty
    assert varied_picks_table(picks, "count").empty
    assert varied_picks_table(varied_picks([], profile(block())), "count").empty


def test_seeds_without_a_run_of_each_value_are_left_out_of_the_table() -> None:
    records = sweep_of(trunk(SETTLES), ACCURACIES) + sweep_of(trunk(NEVER, seed=1), ACCURACIES)
    picks = varied_picks([*records, sliced(NEVER * 2, seed=1)], profile(block(seeds=(0, 1))))
    (texts,) = varied_picks_table(picks, "slices").to_dict("records")
    assert (texts["whole passes"], texts["2 slices a pass"]) == ("(4)", "(4)")


# What Algorithm 1 leaves


def left(
    structure: dict[str, int] | None, at: int = 0, criterion: str = "gradient", **changes: Any
) -> Record:
    """A pruned run, or one that collapsed."""
    fields = {"architecture": FIRST, "recipe": TWELVE, "tracking": TRACKING} | changes
    record = scored(pruned(at, criterion, **fields), 50.0)
    if structure is None:
        return record.model_copy(update={"status": "collapsed", "history": (), "cost": None})
    return record.model_copy(
        update={"history": (epoch(at, "prune", structure=structure), epoch(at + 1, "sparse"))}
    )


def test_layers_of_a_fresh_network() -> None:
    table = layers_at_start("digits", FIRST)
    assert table["channels"].to_dict()["layer1.0.conv1"] == 8
    assert table.loc["layer3.0.conv3", "channels"] == 128
    # Coupled layers share a score; fan-out initialisation makes wide layers with large kernels small.
    initial = table["initial magnitude"]
    assert initial["layer2.0.conv3"] == initial["layer2.0.downsample.0"]
    assert initial.idxmin() == "layer3.0.conv2"
    assert initial["layer3.0.conv2"] == pytest.approx((2 / (32 * 9)) ** 0.5, rel=0.05)


def test_kept_shares_are_means_over_seeds() -> None:
    whole = {
        name: int(n) for name, n in layers_at_start("digits", FIRST)["channels"].items() if name != "conv1"
    }
    one, other = whole | {"layer1.0.conv1": 0}, whole | {"layer1.0.conv1": 4}
    records = [left(one), left(other, seed=1), left(whole, 5), left(None, criterion="magnitude")]
    records += [left(one, ratio=0.8), left(one, architecture=SECOND), example(dense())]
    rewound = Pruning(criterion="gradient", ratio=0.5, policy=AtEpoch(epoch=0), rewind=0)
    records.append(
        left(one, pruning=rewound.model_copy(update={"variation": Variation(kind="same", draw=1)}))
    )
    table = kept_shares(records, FIRST, ("magnitude", "gradient"), 0.5, (0, 5))
    assert list(table.columns) == ["channels", "initial magnitude", "gradient, p = 0", "gradient, p = 5"]
    assert table.loc["layer1.0.conv1"].tolist()[2:] == [25.0, 100.0]
    assert (table.drop("layer1.0.conv1").iloc[:, 2:] == 100).all().all()
    assert "conv1" not in table.index  # the stem is no neuron
    assert kept_shares(records, "mobilenetv1-tiny", ("gradient",), 0.5, (0,)).empty


def test_emptied_layers_and_collapsed_networks_are_counted() -> None:
    records = [
        left({"a": 0, "b": 0}), left({"a": 0, "b": 1}, seed=1), left(None, seed=2),
        left({"a": 1, "b": 1}, 4), left(None, 5), scored(pruned(3), None), example(dense()),
    ]  # fmt: skip
    rows = emptied_table(records).to_dict("records")
    assert [(row["network"], row["epoch"], row["runs"], row["collapsed"], row["failed"]) for row in rows] == [
        ("resnet8-basic", 3, 1, 0, 1),
        (FIRST, 0, 3, 1, 0),
        (FIRST, 5, 1, 1, 0),
    ]
    assert rows[1]["empty layers"] == 1.5
    assert emptied_table([]).empty


# The sweep beside the paper


def test_what_the_paper_prints_stands_beside_ours() -> None:
    scale = load_profile("digits-24").model_copy(update={"contrast": Contrast(reference=4, last=8)})
    records = [scored(dense(architecture=FIRST, seed=seed), 80.0 + seed) for seed in (0, 1)]
    records += [scored(pruned(4, architecture=FIRST, recipe=TWELVE, seed=seed), 78.0) for seed in (0, 1)]
    table = beside_the_paper(runs_table(records), scale, Paper.read()).set_index("quantity")
    assert table["paper"].tolist() == ["77.32", "74.36", "72.93", "3.34"]
    assert table["here"].tolist() == [
        interval([80.0, 81.0]).text(), "", "", interval([2.0, 3.0]).text()
    ]  # fmt: skip
    none = beside_the_paper(runs_table([]), scale, Paper.read())
    assert none["here"].tolist() == ["", "", "", ""]


def test_epis_epochs_are_marked_under_the_curves_and_collapsed_runs_crossed() -> None:
    from pat.study.analysis.regret import regrets

    of, silent = trunk(SETTLES), trunk(NEVER, seed=1)
    records = sweep_of(of, ACCURACIES) + sweep_of(silent, ACCURACIES)
    policies = regrets(records, profile(block(seeds=(0, 1))))
    broken = records[1].model_copy(update={"status": "collapsed"})
    panel, strip = accuracy_by_epoch(runs_table([broken, *records[2:]]), FIRST, policies).axes
    marks = [line for line in strip.lines if line.get_marker() == "^"]
    assert [list(line.get_xdata()) for line in marks] == [[5.0]]  # nothing for the silent run
    crosses = [line for line in panel.lines if line.get_marker() == "x"]
    assert [list(line.get_xdata()) for line in crosses] == [[0]]
