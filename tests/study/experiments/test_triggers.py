"""Rules of all stability measures, their triggers and regrets: made-up runs, worked by hand."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from test_analysis import epoch, scored
from test_record import example
from tiny import dense, pruned, recipe

from pat.study.analysis.intervals import interval
from pat.study.analysis.picks import Pick, at_threshold, best_threshold, tuned_thresholds
from pat.study.analysis.stability import stability_table
from pat.study.experiments.stability.figures import signal_curves
from pat.study.experiments.stability.plateau import plateaus
from pat.study.experiments.stability.signals import rule_picks, rules, signal_table
from pat.study.experiments.stability.trigger_figures import trigger_epochs_by_ratio
from pat.study.experiments.stability.triggers import (
    FIXED,
    overall_regret,
    regret_by_ratio,
    rules_table,
    thresholds,
    trigger_epochs,
    trigger_table,
    widest_gaps,
)
from pat.study.plan.profile import Cells, Profile, load_profile
from pat.study.plan.spec import Tracking
from pat.study.store.record import Record

EPOCHS = 12  # the pre-defined epoch is 4
TWELVE = recipe(epochs=EPOCHS)
TRACKING = Tracking(ratios=(0.5, 0.8), look_back=2)
FIRST, SECOND = "resnet8-bottleneck", "resnet8-basic"
GRID = (0, 4, 8)

Series = Sequence[float | None]


def profile(*blocks: Cells) -> Profile:
    """A scale with r = 2 and no patience."""
    fields = {
        "name": "tiny",
        "dataset": "digits",
        "architectures": (FIRST, SECOND),
        "recipe": TWELVE,
        "tracking": TRACKING,
        "tau": {"gradient": 0.7, "magnitude": 0.9},
        "patience": 0,
        "sweeps": {"full": blocks or (block(),)},
    }
    return load_profile("smoke").model_copy(update=fields)


def block(
    architecture: str = FIRST, ratios: tuple[float, ...] = (0.5,), seeds: tuple[int, ...] = (0,)
) -> Cells:
    return Cells(architecture=architecture, criterion="gradient", ratios=ratios, epochs=GRID, seeds=seeds)


def watched(
    previous: Mapping[str, Series] | None = None, window: Mapping[str, Series] | None = None,
    counts: Sequence[int] = (1, 3) * 6, **changes: Any,
) -> Record:  # fmt: skip
    """A dense run of one layer: measures against the epoch before, and means over the window; else 0.5."""

    def pair(measure: str, at: int) -> list[float | None]:
        values = [(series or {}).get(measure, [0.5] * EPOCHS)[at] for series in (window, previous)]
        return [values[0] if at >= TRACKING.look_back else None, values[1] if at else None]

    history = []
    for at in range(EPOCHS):
        masks = {name: pair(name, at) for name in ("psi", "hamming", "jaccard")}
        ratios = {f"{ratio:g}": {"counts": [counts[at]], **masks} for ratio in TRACKING.ratios}
        tracked = {
            "gradient": {"spearman": pair("spearman", at), "kendall": pair("kendall", at), "ratios": ratios}
        }
        history.append(epoch(at, tracked=tracked))
    spec = dense(**{"architecture": FIRST, "recipe": TWELVE, "tracking": TRACKING, **changes})
    return example(spec, history=tuple(history), layers=("conv",), trunk=None)


def sweep_of(of: Record, accuracies: Mapping[int, tuple[float, float]], ratio: float = 0.5) -> list[Record]:
    """The dense run, and runs with test and validation accuracy by pruning epoch."""
    fields = {name: getattr(of.spec, name) for name in ("architecture", "recipe", "tracking", "seed")}
    return [of, *(scored(pruned(at, "gradient", ratio, **fields), *both) for at, both in accuracies.items())]


def signals_of(record: Record, measure: str) -> list[float]:
    table = signal_table([record], profile())
    own = table[(table["measure"] == measure) & (table["ratio"] == 0.5)]
    assert own["epoch"].tolist() == list(range(EPOCHS))
    return [float(value) for value in own["signal"]]


# Signals


def test_the_correlations_signal_is_the_windows_mean() -> None:
    means = [None, None, *(0.1 * t for t in range(2, EPOCHS))]
    found = signals_of(watched(window={"spearman": means}), "Spearman")
    assert [math.isnan(value) for value in found[:2]] == [True, True]
    assert found[2:] == pytest.approx(means[2:])


def test_the_mask_signals_worked_by_hand() -> None:
    distances = [None, 0.4, 0.1, 0.2, 0.05, 0.1, 0.3, *[0.0] * 5]
    record = watched(previous={"hamming": distances, "jaccard": [None, 0.2, 0.4, 0.9, *[1.0] * 8]})
    hamming, jaccard = signals_of(record, "mask Hamming"), signals_of(record, "mask Jaccard")
    # One minus the larger of the last two distances; epoch 0 has none.
    assert hamming[2:8] == [0.6, 0.8, 0.8, 0.9, 0.7, 0.7]
    assert all(math.isnan(value) for value in hamming[:2] + jaccard[:2])
    assert jaccard[2:6] == [0.3, 0.65, 0.95, 1.0]  # the mean of two, since r = 2 is under 3
    assert all(value == 1.0 for value in hamming[8:] + jaccard[5:])  # no rounding under the threshold


def test_windows_are_the_published_ones_where_the_look_back_is_five() -> None:
    known = rules(load_profile("digits-24"))
    assert list(known) == stability_table([watched()])["measure"].drop_duplicates().tolist()
    assert "last 5 distances" in known["mask Hamming"].signal
    assert "last 3 indices" in known["mask Jaccard"].signal
    assert known["EPI"].published == {"magnitude": 0.983, "gradient": 0.944}
    assert known["mask Hamming"].published["gradient"] == 0.9  # a distance of 0.1
    assert known["Spearman"].published == {}


def test_signals_do_not_mix_runs_or_ratios() -> None:
    first = watched(previous={"hamming": [0.9] * EPOCHS})
    second = watched(previous={"hamming": [0.1] * EPOCHS}, seed=1)
    both = signal_table([first, second], profile())
    alone = pd.concat([signal_table([record], profile()) for record in (first, second)], ignore_index=True)
    pd.testing.assert_frame_equal(both, alone)


# When a signal fires


def test_picks_on_a_signal_worked_by_hand() -> None:
    record = watched()
    signal = {0: math.nan, 1: 0.2, 2: 0.6, 3: 0.4, 4: 0.6, 5: 0.8, 11: 1.0}
    found = rule_picks(record, signal)
    # After the last epoch there is none left to prune in, so 1.0 at epoch 11 comes too late.
    assert found == [(0.2, Pick(2, True)), (0.6, Pick(3, True)), (0.8, Pick(6, True)), (1.0, Pick(4, False))]
    assert rule_picks(record, dict.fromkeys(range(EPOCHS), math.nan)) == [(1.0, Pick(4, False))]
    assert rule_picks(record, {5: 1.0, 6: 0.5}) == [(1.0, Pick(6, True))]


WATCHED = watched()


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(-1, 1) | st.just(math.nan), min_size=EPOCHS, max_size=EPOCHS), st.floats(-1, 1))
def test_every_threshold_picks_the_epoch_after_it_is_first_reached(
    values: list[float], threshold: float
) -> None:
    fired = next((t for t, value in enumerate(values[:-1]) if value >= threshold), None)
    expected = Pick(4, False) if fired is None else Pick(fired + 1, True)
    assert at_threshold(rule_picks(WATCHED, dict(enumerate(values))), threshold) == expected


# Triggers and regrets

ACCURACIES = {0: (60.0, 61.0), 4: (80.0, 79.0), 8: (72.0, 70.0)}


def rows(table: pd.DataFrame, measure: str, kind: str, ratio: float = 0.5) -> pd.DataFrame:
    found = table[(table["measure"] == measure) & (table["thresholds"] == kind) & (table["ratio"] == ratio)]
    assert len(found)
    return found


def test_triggers_and_regrets_worked_by_hand() -> None:
    # Hamming's signal is .5 up to epoch 6 and .95 from 7 on, Jaccard's .99 from 3 on; counts 1, 3, 1, 3 leave
    # EPI at .75 from epoch 2 on: (.5 + 1) / 2.
    hamming = [None, *[0.5] * 5, *[0.05] * 6]
    jaccard = [None, 0.5, *[0.99] * 10]
    records = sweep_of(watched(previous={"hamming": hamming, "jaccard": jaccard}), ACCURACIES)
    table = trigger_table(records, profile())
    epi = rows(table, "EPI", "published").iloc[0]
    assert (epi["threshold"], epi["epoch"], epi["triggered"]) == (0.7, 3, True)
    assert epi["accuracy"] == pytest.approx(60 + 0.75 * 20)  # between epochs 0 and 4
    assert epi["regret"] == pytest.approx(5.0)  # the oracle is epoch 4, the best on validation
    late = rows(table, "mask Hamming", "published").iloc[0]
    assert (late["threshold"], late["epoch"], late["accuracy"], late["regret"]) == (0.9, 8, 72.0, 8.0)
    early = rows(table, "mask Jaccard", "published").iloc[0]
    assert (early["epoch"], early["regret"]) == (4, 0.0)
    fixed = rows(table, FIXED, "").iloc[0]
    assert (fixed["epoch"], fixed["triggered"], fixed["regret"]) == (4, False, 0.0)
    assert not len(table[(table["measure"] == "Kendall") & (table["thresholds"] == "published")])
    unpruned = rows(table, "EPI", "published", ratio=0.8).iloc[0]  # watched, but not pruned by the sweep
    assert unpruned["epoch"] == 3
    assert math.isnan(unpruned["accuracy"])
    assert math.isnan(unpruned["regret"])


def test_a_silent_rule_counts_at_the_pre_defined_epoch() -> None:
    table = trigger_table(sweep_of(watched(previous={"jaccard": [0.9] * EPOCHS}), ACCURACIES), profile())
    silent = rows(table, "mask Jaccard", "published").iloc[0]
    assert (silent["epoch"], silent["triggered"], silent["regret"]) == (4, False, 0.0)


def test_tuned_thresholds_are_chosen_alike_for_all_measures() -> None:
    # Kendall's mean rises by .05 an epoch. Epoch 4 is the best on validation: prune after epoch 3, at .15.
    rising = [None, None, *(round(0.05 * t, 2) for t in range(2, EPOCHS))]
    records = sweep_of(watched(window={"kendall": rising}), ACCURACIES)
    table = trigger_table(records, profile())
    by_kind = thresholds(table, profile())
    tuned = by_kind["tuned"]
    assert tuned["Kendall"] == {"gradient": 0.15}
    assert tuned["EPI"] == tuned_thresholds(records, profile())
    assert rows(table, "Kendall", "tuned").iloc[0][["epoch", "regret"]].tolist() == [4, 0.0]
    assert by_kind["published"]["EPI"] == profile().tau
    assert not any(thresholds(trigger_table([], profile()), profile())["tuned"].values())


def test_thresholds_are_tuned_on_the_first_network_at_ratios_up_to_a_half() -> None:
    rising = [None, None, *(round(0.05 * t, 2) for t in range(2, EPOCHS))]
    # At .8 and in the second network the last epoch of the grid would be best.
    late = {0: (10.0, 10.0), 4: (20.0, 20.0), 8: (90.0, 90.0)}
    first, second = (
        watched(window={"kendall": rising}),
        watched(window={"kendall": rising}, architecture=SECOND),
    )
    records = sweep_of(first, ACCURACIES) + sweep_of(first, late, ratio=0.8)[1:] + sweep_of(second, late)
    scale = profile(block(ratios=(0.5, 0.8)), block(SECOND))
    table = trigger_table(records, scale)
    assert thresholds(table, scale)["tuned"]["Kendall"] == {"gradient": 0.15}
    other = table[
        (table["architecture"] == SECOND) & (table["measure"] == "Kendall") & (table["ratio"] == 0.5)
    ]
    assert other["epoch"].tolist() == [4]
    assert other["regret"].tolist() == [70.0]


def test_the_best_threshold_is_the_lowest_of_the_best_that_most_runs_reach() -> None:
    scores = pd.DataFrame(
        [(0.1, 70.0, 1.0), (0.2, 80.0, 1.0), (0.3, 80.0, 1.0), (0.4, 99.0, 0.5)],
        columns=["threshold", "accuracy", "triggered"],
    )
    assert best_threshold(scores) == 0.2
    assert best_threshold(scores.iloc[3:]) == 0.4


def test_only_the_sweeps_own_runs_count() -> None:
    stranger = watched(seed=7)
    longer = watched(recipe=recipe(epochs=EPOCHS, learning_rate=0.3))
    table = trigger_table([*sweep_of(watched(), ACCURACIES), stranger, longer], profile())
    assert set(table["seed"]) == {0}
    assert len(rows(table, "EPI", "published")) == 1
    with pytest.raises(ValueError, match="has no sweep 'ful'; it has full"):
        trigger_table([], profile(), "ful")


# Tables


def two_seeds() -> tuple[list[Record], Profile]:
    """One seed triggers by Hamming distance in epoch 8, the other never."""
    distances = [None, *[0.5] * 5, *[0.05] * 6]
    records = sweep_of(watched(previous={"hamming": distances}), ACCURACIES)
    better = {at: (test + 4, validation) for at, (test, validation) in ACCURACIES.items()}
    return records + sweep_of(watched(seed=1), better), profile(block(seeds=(0, 1)))


def test_trigger_epochs_and_regrets_as_text() -> None:
    records, scale = two_seeds()
    table = trigger_table(records, scale)
    epochs = trigger_epochs(table)
    assert epochs.columns.tolist() == ["50 %", "80 %"]
    assert epochs.loc[("gradient", "mask Hamming", "published"), "50 %"] == "8.0 (1 of 2)"
    assert epochs.loc[("gradient", "mask Jaccard", "published"), "50 %"] == "– (0 of 2)"
    assert epochs.loc[("gradient", "EPI", "published"), "50 %"] == "3.0"
    assert FIXED not in epochs.index.get_level_values("measure")
    regrets = regret_by_ratio(table)
    assert regrets.columns.tolist() == ["50 %"]
    assert regrets.loc[("gradient", "mask Hamming", "published"), "50 %"] == interval([8.0, 0.0]).plus_minus()
    assert regrets.loc[("gradient", FIXED, ""), "50 %"] == "0.0 ± 0.0"
    order = regrets.index.get_level_values("measure").drop_duplicates().tolist()
    assert order == ["EPI", "Spearman", "Kendall", "mask Hamming", "mask Jaccard", FIXED]


def test_the_overall_regret_is_a_mean_over_ratios_of_each_seed() -> None:
    records, _ = two_seeds()
    # At .8 epoch 8 loses 20 for both seeds.
    steep = {0: (60.0, 60.0), 4: (90.0, 90.0), 8: (70.0, 70.0)}
    for record in [record for record in records if record.spec.pruning is None]:
        records += sweep_of(record, steep, ratio=0.8)[1:]
    table = trigger_table(records, profile(block(ratios=(0.5, 0.8), seeds=(0, 1))))
    found = overall_regret(table)
    assert found.columns.tolist() == ["network", "criterion", "measure", "thresholds", "regret", "triggered"]
    named = found.set_index(["measure", "thresholds"])
    assert named.loc[("mask Hamming", "published"), "regret"] == interval([(8 + 20) / 2, 0.0]).text()
    assert named.loc[("mask Hamming", "published"), "triggered"] == "2 of 4"
    assert named.loc[(FIXED, ""), "triggered"] == ""
    told = [row for row in found.itertuples() if row.triggered == "" or int(row.triggered.split()[0]) >= 2]
    assert told[-1].measure == "mask Hamming"  # the largest regret comes last
    assert len(told) < len(found)
    assert [row.measure for row in found.itertuples()][: len(told)] == [row.measure for row in told]
    assert overall_regret(table.iloc[:0]).empty


def test_the_widest_gap_of_each_networks_grid() -> None:
    assert widest_gaps(load_profile("smoke"), "study") == {"resnet8-bottleneck": 2}
    gaps = widest_gaps(load_profile("cifar10-small-30"), "full")
    assert gaps == {"resnet8-bottleneck": 6, "resnet8-basic": 18, "mobilenetv1-tiny": 18}


def test_rules_in_words_have_both_thresholds() -> None:
    table = rules_table(profile(), {"EPI": {"gradient": 0.5}, "Kendall": {"magnitude": 0.7, "gradient": 0.7}})
    by = table.set_index("measure")
    assert by.loc["EPI", "published"] == "0.900 / 0.700"
    assert by.loc["EPI", "tuned"] == "– / 0.500"
    assert by.loc["Kendall", ["published", "tuned"]].tolist() == ["–", "0.700"]
    assert by.loc["mask Hamming", "published"] == "0.900"
    assert by.loc["mask Jaccard", "difference"]


# Plateaus


def test_a_plateau_reaches_as_far_as_all_epochs_are_as_good() -> None:
    # Validation picks epoch 6; its test accuracies 80, 82, 84 have the interval [77.0, 87.0].
    means = {
        0: (79.0, 70.0),
        2: (70.0, 71.0),
        4: (78.0, 72.0),
        6: (82.0, 90.0),
        8: (90.0, 80.0),
        10: (76.9, 60.0),
    }
    epochs = tuple(means)
    scale = profile(block(seeds=(0, 1, 2)).model_copy(update={"epochs": epochs}))
    records = []
    for seed in range(3):
        own = {at: (test + 2 * (seed - 1), validation) for at, (test, validation) in means.items()}
        records += sweep_of(watched(seed=seed), own)
    (row,) = plateaus(records, scale).to_dict("records")
    # Epoch 0 is good enough, but 2 before it is not.
    assert (row["best"], row["first"], row["last"]) == (6, 4, 8)
    assert row["floor"] == pytest.approx(interval([80.0, 82.0, 84.0]).low)
    (alone,) = plateaus(sweep_of(watched(), means), scale.model_copy(
        update={"sweeps": {"full": (block().model_copy(update={"epochs": epochs}),)}}
    )).to_dict("records")  # fmt: skip
    assert (alone["first"], alone["last"], alone["floor"]) == (6, 8, 82.0)  # one seed has no interval
    assert plateaus([], scale).empty


# Figures


def test_marks_of_seeds_and_means_of_those_that_all_trigger() -> None:
    records, scale = two_seeds()
    table = trigger_table(records, scale)
    figure = trigger_epochs_by_ratio(table, plateaus(records, scale), FIRST, EPOCHS)
    titles = [axis.get_title() for axis in figure.axes]
    assert titles == ["gradient criterion, published thresholds", "gradient criterion, tuned thresholds"]
    axis = figure.axes[0]
    drawn = {tuple(line.get_ydata()) for line in axis.lines if len(line.get_ydata()) == 2}
    assert (8, EPOCHS + 1) in drawn  # a seed triggers, the other stays silent
    assert (3, 3) in drawn
    assert len(axis.containers) == 1  # of three measures EPI alone has a mean: all its seeds trigger
    assert len(axis.patches) == 1  # the plateau of the one ratio that is pruned


def test_every_rule_has_a_panel_with_its_thresholds() -> None:
    records, scale = two_seeds()
    both = [record for record in records if record.spec.pruning is None]
    signals = signal_table(both, scale)
    figure = signal_curves(
        signals, FIRST, "gradient", [0.5, 0.8], thresholds(trigger_table(records, scale), scale)
    )
    assert isinstance(figure, Figure)
    titles = [axis.get_title() for axis in figure.axes]
    assert titles == ["EPI", "Spearman", "Kendall", "mask Hamming", "mask Jaccard", ""]
    by = dict(zip(titles, figure.axes, strict=True))
    assert [text.get_text() for text in by["mask Hamming"].texts][-1] == "0.900"
    assert len(by["Spearman"].texts) == 1  # tuned alone, there is no published one
    # Two ratios; the correlation does not depend on them.
    curves = {name: [line for line in by[name].lines if line.get_linestyle() == "-"] for name in by if name}
    assert (len(curves["EPI"]), len(curves["Spearman"])) == (2, 1)
