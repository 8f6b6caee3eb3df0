"""Tables and intervals, against scipy and examples worked by hand."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from test_record import example
from tiny import dense, pruned, recipe

from pat.stability import EarlyPruningIndicator, similarity
from pat.study.analysis.intervals import interval
from pat.study.analysis.runs import by_epoch, paired_difference, summary
from pat.study.analysis.stability import (
    epi_against_ratio,
    epi_epoch,
    one_shot_similarity,
    stability_table,
    structures,
)
from pat.study.experiments.oracle_sweep.figures import accuracy_by_epoch, hover_accuracy
from pat.study.experiments.oracle_sweep.tables import contrasts, early_and_late, oracle
from pat.study.experiments.stability.triggers import epi_epochs
from pat.study.plan.profile import Contrast, load_profile
from pat.study.plan.spec import Tracking
from pat.study.store.record import Epoch, Record, Result
from pat.study.store.rows import runs_table

LAYERS = ("conv", "layer1.0.conv1")
COUNTS = [(4, 8), (5, 7), (6, 6), (6, 6), (6, 5), (6, 5)]


def scored(spec: Any, accuracy: float | None, validation: float | None = None) -> Record:
    """A run with a test accuracy, or a failed one."""
    if accuracy is None:
        return example(spec, status="failed", reason="the loss is nan", result=None, cost=None)
    result = Result(test_accuracy=accuracy, test_loss=1.0, prune_epoch=spec.prune_epoch,
                    validation_accuracy=accuracy if validation is None else validation)  # fmt: skip
    return example(spec, result=result)


def epoch(number: int, phase: Any = "dense", **changes: Any) -> Epoch:
    fields = {"loss": 1.0, "accuracy": 50.0, "validation_loss": 1.0, "validation_accuracy": 50.0}
    return Epoch(epoch=number, phase=phase, learning_rate=0.1, seconds=1.0, **(fields | changes))


def watched(spec: Any = None, counts: list[tuple[int, int]] = COUNTS) -> Record:
    """A dense run that watched gradient scores at ratio 0.5."""
    history = []
    for number, pair in enumerate(counts):
        psi = [None if number < 2 else 0.9, 0.8 + number / 100 if number else None]
        at = {"counts": list(pair), "psi": psi, "hamming": [None, 0.1], "jaccard": [None, 0.7]}  # fmt: skip
        tracked = {"gradient": {"spearman": [None, 0.6], "kendall": [None, 0.4], "ratios": {"0.5": at}}}
        history.append(epoch(number, tracked=tracked))
    spec = spec or dense(recipe=recipe(epochs=len(counts)))
    return example(spec, trunk=None, layers=LAYERS, history=tuple(history))


# Intervals


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=8))
def test_an_interval_is_students(values: list[float]) -> None:
    found = interval(values)
    data = np.array(values)
    assert found.n == len(values)
    assert found.mean == pytest.approx(data.mean())
    scale = stats.sem(data)
    if scale > 0:
        low, high = stats.t.interval(0.95, len(values) - 1, loc=data.mean(), scale=scale)
        assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    else:
        assert found.low == found.high == pytest.approx(data.mean())


def test_an_interval_worked_by_hand() -> None:
    found = interval([80.0, 82.0, 84.0])  # s = 2, t(0.975, 2) = 4.3027
    assert found.mean == 82
    assert found.high == pytest.approx(82 + 4.3027 * 2 / math.sqrt(3), abs=1e-3)
    assert found.text() == "82.0 [77.0, 87.0]"
    assert found.text(2, " %") == "82.00 % [77.03, 86.97]"
    assert found.plus_minus() == "82.0 ± 5.0"


def test_one_value_has_no_interval() -> None:
    found = interval([81.25])
    assert (found.mean, found.low, found.high, found.n) == (81.25, None, None, 1)
    assert found.text(2) == "81.25 (one value)"
    assert found.plus_minus(2) == "81.25"


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [math.inf]])
def test_an_interval_needs_finite_values(values: list[float]) -> None:
    with pytest.raises(ValueError, match="an interval needs finite values"):
        interval(values)


# Tables of runs


def test_a_row_says_what_a_run_was_and_gave() -> None:
    table = runs_table([scored(pruned(2, "magnitude", 0.8), 70.0), scored(dense(seed=1), None)])
    row = table.iloc[0]
    assert (row["criterion"], row["ratio"], row["policy"], row["prune_epoch"]) == (
        "magnitude",
        0.8,
        "epoch",
        2,
    )
    assert (row["test_accuracy"], row["macs_share"], row["training_share"]) == (70.0, 0.4, 0.7)
    failed = table.iloc[1]
    assert (failed["policy"], failed["status"], failed["pruning"]) == ("dense", "failed", "dense")
    assert failed[["criterion", "ratio", "test_accuracy", "macs"]].isna().all()


def test_no_runs_are_an_empty_table() -> None:
    table = runs_table([])
    assert table.empty
    assert list(table.columns) == list(runs_table([example()]).columns)
    assert summary(table, ["architecture"]).empty


def test_a_summary_is_over_seeds_and_leaves_failed_runs_out() -> None:
    records = [scored(pruned(1, seed=seed), value) for seed, value in enumerate((80.0, 82.0, 84.0))]
    records += [scored(pruned(1, seed=3), None), scored(pruned(2), 60.0), scored(dense(), 90.0)]
    found = summary(runs_table(records), ["policy", "prune_epoch"]).set_index(["policy", "prune_epoch"])
    assert list(found.columns) == ["mean", "low", "high", "n"]
    at = found.loc[("epoch", 1)]
    assert (at["mean"], at["n"]) == (82, 3)
    assert (at["low"], at["high"]) == (interval([80, 82, 84]).low, interval([80, 82, 84]).high)
    assert found.loc[("epoch", 2), "n"] == 1
    assert math.isnan(found.loc[("epoch", 2), "low"])
    assert len(found) == 3  # the dense run has no pruning epoch, and is not lost


@pytest.mark.parametrize("seeds", [1, 3])
def test_tables_and_figures_take_one_seed_too(seeds: int) -> None:
    records = [scored(pruned(p, seed=seed), 80.0 + p + seed) for p in (1, 2) for seed in range(seeds)]
    records += [scored(pruned(10, recipe=recipe(epochs=12)), 70.0), scored(dense(), 90.0)]
    records.append(scored(pruned(5, "magnitude", recipe=recipe(epochs=12)), 60.0))
    table = runs_table(records)
    shown = by_epoch(table, "test_accuracy", 1)
    assert list(shown.columns) == ["p = 1", "p = 2", "p = 5", "p = 10"]
    assert shown.loc[("resnet8-basic", "gradient 50 %"), "p = 10"] == "70.0"
    assert ("±" in shown.iloc[0]["p = 1"]) == (seeds > 1)
    figure = accuracy_by_epoch(table, "resnet8-basic")
    assert [axis.get_title() for axis in figure.axes] == ["magnitude criterion", "gradient criterion"]
    text = "−1.0 (one value)" if seeds == 1 else "−1.0 [−1.0, −1.0]"
    effects = early_and_late(table, Contrast(first=1, reference=2, last=5))
    assert effects.to_numpy().tolist() == [
        ["resnet8-basic", "gradient 50 %", text, ""],
        ["resnet8-basic", "magnitude 50 %", "", ""],
    ]


# Paired differences


def test_a_difference_is_paired_over_common_seeds() -> None:
    first = {0: 81.0, 1: 83.0, 2: 80.0, 5: 1.0}
    second = {0: 80.0, 1: 81.0, 2: 77.0, 6: 99.0}
    records = [scored(pruned(1, seed=s), v) for s, v in first.items()]
    records += [scored(pruned(3, seed=s), v) for s, v in second.items()]
    records += [scored(pruned(1, seed=7), None), scored(pruned(3, seed=7), 80.0)]
    table = runs_table(records)
    found = paired_difference(table, {"prune_epoch": 1}, {"prune_epoch": 3})
    assert found == interval([1.0, 2.0, 3.0])
    back = paired_difference(table, {"prune_epoch": 3}, {"prune_epoch": 1})
    assert back.mean == -found.mean


def test_none_selects_what_has_no_value() -> None:
    table = runs_table([scored(dense(), 90.0), scored(pruned(1), 80.0)])
    found = paired_difference(table, {"criterion": None}, {"criterion": "gradient"})
    assert (found.mean, found.n) == (10.0, 1)


def test_a_difference_needs_common_seeds_and_one_run_of_each() -> None:
    table = runs_table([scored(pruned(1), 80.0), scored(pruned(2, seed=1), 80.0), scored(pruned(3), 70.0)])
    with pytest.raises(ValueError, match="no seed has a run of both"):
        paired_difference(table, {"prune_epoch": 1}, {"prune_epoch": 2})
    with pytest.raises(ValueError, match=r"several runs of one seed match {'policy': 'epoch'}"):
        paired_difference(table, {"policy": "epoch"}, {"prune_epoch": 1})


CONTRAST = Contrast(reference=2, last=5)
SIX = recipe(epochs=6)


def test_early_and_late_are_paired_and_at_the_profiles_epochs() -> None:
    # Epochs 1 and 3 are better and worse than all: they are not asked for.
    values = {0: (70.0, 73.0, 70.0), 1: (99.0,) * 3, 2: (80.0, 81.0, 82.0), 3: (1.0,) * 3, 5: (75.0, 76.0)}
    records = [
        scored(pruned(p, seed=seed, recipe=SIX), accuracy)
        for p, accuracies in values.items()
        for seed, accuracy in enumerate(accuracies)
    ]
    records += [scored(pruned(5, seed=2, recipe=SIX), None), scored(dense(recipe=SIX), 90.0)]
    table = runs_table(records)
    (row,) = early_and_late(table, CONTRAST).to_dict("records")
    half = 4.3027 * 2 / math.sqrt(3)  # of -10, -8 and -12: s = 2, t(0.975, 2) = 4.3027
    assert row == {
        "network": "resnet8-basic",
        "pruning": "gradient 50 %",
        "first": f"−10.0 [−{10 + half:.1f}, −{10 - half:.1f}]",
        "last": "−5.0 [−5.0, −5.0]",
    }
    fallen = table.assign(status=table["status"].where(~table["prune_epoch"].isin([0, 2]), "collapsed"))
    (row,) = early_and_late(fallen, CONTRAST).to_dict("records")
    assert (row["first"], row["last"]) == ("both collapsed", "−5.0 [−5.0, −5.0]")
    found = {side: by for _, _, side, by in contrasts(table, CONTRAST)}
    assert found["first"] == interval([-10.0, -8.0, -12.0])
    assert found["last"] == interval([-5.0, -5.0])  # the failed seed is no pair


def test_without_a_pair_there_is_no_early_or_late() -> None:
    at = {(0, 0): 70.0, (0, 1): 71.0, (2, 2): 80.0, (5, 2): 75.0}
    records = [scored(pruned(p, seed=seed, recipe=SIX), value) for (p, seed), value in at.items()]
    records.append(scored(pruned(0, "magnitude", recipe=SIX), 60.0))
    found = early_and_late(runs_table(records), CONTRAST)
    assert found[["first", "last"]].to_numpy().tolist() == [["", "−5.0 (one value)"], ["", ""]]
    empty = early_and_late(runs_table([]), CONTRAST)
    assert empty.empty
    assert list(empty.columns) == ["network", "pruning", "first", "last"]


# The oracle


def test_the_oracle_is_chosen_on_validation() -> None:
    values = {0: (60.0, 61.0), 1: (82.0, 79.0), 2: (80.0, 80.5), 3: (50.0, 20.0)}  # test, validation
    records = [
        scored(pruned(p, seed=seed), test + seed, validation + 1 - seed)
        for p, (test, validation) in values.items()
        for seed in range(3)
    ]
    records += [scored(pruned(p, "magnitude"), 50.0 + p) for p in (0, 1)]
    first, second = oracle(runs_table(records)).to_dict("records")
    assert first == {
        "network": "resnet8-basic",
        "pruning": "gradient 50 %",
        "chosen": "p = 2",
        "accuracy": 81.0,
        "best on test": "p = 1",
        "its accuracy": 83.0,
        "bias": 2.0,
    }
    assert (second["chosen"], second["best on test"], second["bias"]) == ("p = 1", "p = 1", 0.0)


@settings(deadline=None)  # builds runs, which takes time on a busy machine
@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), min_size=1, max_size=4))
def test_the_oracle_on_test_is_never_lower(values: list[tuple[float, float]]) -> None:
    records = [scored(pruned(p), *value) for p, value in enumerate(values)]
    (row,) = oracle(runs_table(records)).to_dict("records")
    assert row["bias"] == row["its accuracy"] - row["accuracy"] >= 0
    assert row["its accuracy"] == max(test for test, _ in values)


def test_the_oracle_leaves_failed_runs_out() -> None:
    failed = [scored(pruned(0, seed=seed), None) for seed in (0, 1)]
    (row,) = oracle(runs_table([*failed, scored(pruned(1), 70.0), scored(pruned(2), 60.0)])).to_dict(
        "records"
    )
    assert (row["chosen"], row["accuracy"], row["bias"]) == ("p = 1", 70.0, 0.0)
    assert oracle(runs_table(failed)).empty
    assert "bias" in oracle(runs_table([])).columns


# A figure with values to point at


def test_the_figure_to_point_at_has_one_line_a_pruning() -> None:
    spread = {0: -1.0, 1: 0.0, 2: 1.0}
    records = [scored(pruned(p, seed=s), 80.0 + p + d) for p in (1, 2) for s, d in spread.items()]
    records += [scored(pruned(1, "magnitude", 0.8), 60.0), scored(dense(), 90.0)]
    records.append(scored(pruned(1, architecture="resnet8-bottleneck"), 10.0))
    figure = hover_accuracy(runs_table(records), "resnet8-basic")
    gradient, magnitude = figure.data
    assert (gradient.name, magnitude.name) == ("gradient 50 %", "magnitude 80 %")
    assert (list(gradient.x), list(gradient.y)) == ([1, 2], [81.0, 82.0])
    assert list(magnitude.y) == [60.0]
    for (low, high, n), mean in zip(gradient.customdata, gradient.y, strict=True):
        expected = interval([mean - 1, mean, mean + 1])
        assert (low, high, n) == (expected.low, expected.high, 3)
    assert gradient.error_y.array[0] == pytest.approx(gradient.error_y.arrayminus[0])
    assert gradient.line.color != magnitude.line.color
    assert "resnet8-basic" in figure.layout.meta["alt"]


# What was watched


def test_the_stability_table_has_every_measure() -> None:
    table = stability_table([watched(), example(pruned(2))])
    assert len(table) == len(COUNTS) * 5
    assert set(table["measure"]) == {"EPI", "Spearman", "Kendall", "mask Hamming", "mask Jaccard"}
    epi = table[table["measure"] == "EPI"].set_index("epoch")
    assert epi["value"].isna().tolist() == [True, True, False, False, False, False]
    assert epi.loc[3, "previous"] == pytest.approx(0.83)
    assert table[table["measure"] == "Kendall"]["previous"].unique().tolist() == [0.4]
    assert stability_table([]).columns.tolist() == table.columns.tolist()


def test_structures_are_epochs_by_layers() -> None:
    table = structures(watched(), "gradient", 0.5)
    assert table.columns.tolist() == list(LAYERS)
    assert table.index.tolist() == list(range(6))
    assert [tuple(row) for row in table.to_numpy()] == COUNTS
    with pytest.raises(ValueError, match=r"did not watch gradient at ratio 0\.7"):
        structures(watched(), "gradient", 0.7)
    with pytest.raises(ValueError, match="did not watch magnitude"):
        structures(watched(), "magnitude", 0.5)


@pytest.mark.parametrize(("look_back", "patience"), [(1, 0), (1, 1), (2, 1), (2, 2), (5, 5)])
@pytest.mark.parametrize("threshold", [0.0, 0.9, 0.97, 1.0])
def test_the_epoch_of_epi_is_the_indicators(threshold: float, look_back: int, patience: int) -> None:
    indicator = EarlyPruningIndicator(threshold, look_back, patience)
    for counts in COUNTS:
        indicator.update(counts)
    expected = None
    if indicator.trigger_epoch is not None and indicator.trigger_epoch + 1 < len(COUNTS):
        expected = indicator.trigger_epoch + 1
    assert epi_epoch(watched(), "gradient", 0.5, threshold, look_back, patience) == expected


def test_the_profiles_patience_and_look_back_decide_where_epi_prunes() -> None:
    settled = [(6, 6)] * 6
    record = watched(dense(recipe=recipe(epochs=6)), settled)
    never = watched(dense(seed=1, recipe=recipe(epochs=6)), [(9, 1), (1, 9)] * 3)
    smoke = load_profile("smoke")
    expected = {(1, 0): "2, –", (1, 2): "4, –", (2, 1): "4, –", (2, 3): "–, –"}
    for (look_back, patience), epochs in expected.items():
        tracking = Tracking(ratios=(0.5,), look_back=look_back)
        settings = {"tau": {"gradient": 0.9}, "tracking": tracking, "patience": patience}
        table = epi_epochs([record, never, example(pruned(1))], smoke.model_copy(update=settings))
        assert table.to_dict("records") == [
            {
                "architecture": "resnet8-basic",
                "criterion": "gradient",
                "threshold": "0.9",
                "ratio": "50 %",
                "epochs": epochs,
            }
        ]


def test_epi_against_the_ratio_is_a_rank_correlation_within_epochs() -> None:
    def rows(seed: int, by_epoch: list[list[float]]) -> pd.DataFrame:
        rows = [
            ("net", seed, epoch, "gradient", ratio, "EPI", value)
            for epoch, values in enumerate(by_epoch)
            for ratio, value in zip((0.2, 0.5, 0.8), values, strict=True)
        ]
        names = ["architecture", "seed", "epoch", "criterion", "ratio", "measure", "value"]
        return pd.DataFrame(rows, columns=names)

    unknown, constant, falling = [math.nan] * 3, [1.0] * 3, [0.9, 0.8, 0.1]
    table = pd.concat(
        [
            rows(0, [unknown, falling, constant, [0.99, 0.98, 0.97]]),
            rows(1, [falling, [0.8, 0.9, 0.1]]),  # -1, and ranks 2, 3, 1: rho = -0.5
            rows(2, [[0.1, 0.2, 0.3], constant]),
            rows(3, [unknown, constant]),
            rows(0, [[0.1, 0.2, 0.3]]).assign(measure="Kendall"),
        ]
    )
    found = epi_against_ratio(table)
    assert found[["architecture", "criterion", "seed"]].to_numpy().tolist() == [
        ["net", "gradient", seed] for seed in (0, 1, 2)
    ]
    assert found["rho"].tolist() == pytest.approx([-1.0, -0.75, 1.0])
    assert epi_against_ratio(stability_table([])).empty


def test_a_trigger_after_the_last_epoch_prunes_nothing() -> None:
    settled = [(9, 1), (1, 9), (9, 1), (1, 9), (5, 5), (5, 5)]
    assert epi_epoch(watched(counts=settled), "gradient", 0.5, 0.99, look_back=1, patience=0) is None
    assert epi_epoch(watched(counts=[*settled, (5, 5)]), "gradient", 0.5, 0.99, 1, 0) == 6


def test_one_shot_similarity_compares_with_what_was_left() -> None:
    settings = recipe(epochs=len(COUNTS))
    left = {"layer1.0.conv1": 4, "conv": 6}
    branch = example(
        pruned(2, recipe=settings), history=(epoch(2, "prune", structure=left), epoch(3, "sparse"))
    )
    at_start = example(pruned(0, recipe=settings), history=(epoch(0, "prune", structure=left),))
    unwatched = example(pruned(2, ratio=0.9, recipe=settings), history=(epoch(2, "prune", structure=left),))
    collapsed = example(pruned(3, recipe=settings), history=(), status="collapsed")
    alone = example(pruned(2, seed=9, recipe=settings), history=(epoch(2, "prune", structure=left),))
    table = one_shot_similarity([branch, at_start, unwatched, collapsed, alone, watched()])
    assert table["id"].tolist() == [branch.id]
    seen = dict(zip(LAYERS, COUNTS[1], strict=True))
    assert table["psi"].tolist() == [pytest.approx(similarity(seen, left))]
    assert isinstance(one_shot_similarity([]), pd.DataFrame)
