"""When policies prune and what they lose: made-up sweeps, worked by hand."""

import math
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_analysis import epoch, scored
from test_record import example
from tiny import dense, pruned, recipe

from pat.stability import EarlyPruningIndicator
from pat.study.analysis.grid import accuracy_at, cells
from pat.study.analysis.intervals import interval
from pat.study.analysis.picks import Pick, pick, picks_by_threshold, threshold_difference, tuned_thresholds
from pat.study.analysis.regret import by_seed, picks_specs, policy_regret, regret_difference, regrets
from pat.study.experiments.policies.figures import moments, picked_epochs, regret_by_policy
from pat.study.experiments.policies.tables import (
    OVERALL,
    paper_regrets,
    picks_table,
    policy_table,
    threshold_table,
    triggered_table,
)
from pat.study.paper.numbers import Paper
from pat.study.plan.profile import Cells, Profile, load_profile
from pat.study.plan.spec import AtEpoch, Neurons, Pruning, Tracking
from pat.study.store.record import Record
from pat.study.store.rows import runs_table

EPOCHS = 12  # the pre-defined epoch is 4
TWELVE = recipe(epochs=EPOCHS)
TRACKING = Tracking(ratios=(0.2, 0.5, 0.8), look_back=1)
FIRST, SECOND = "resnet8-bottleneck", "resnet8-basic"

# Channels of one layer by epoch. |a - b| / (a + b) is 1/2 between 1 and 3 and between 3 and 9, 1/4 between 3
# and 5, so that with r = 1 EPI is .5, .5, .5, .75, .75, 1, 1, ... from epoch 1 on.
SETTLES = [1, 3, 9, 3, 5, 3, 3, 3, 3, 3, 3, 3]
NEVER = [1, 3] * 6  # EPI is .5 throughout


def profile(*blocks: Cells, tau: float = 0.7, patience: int = 0) -> Profile:
    """A scale on which EPI looks one epoch back and is not patient."""
    settings = {
        "name": "tiny",
        "dataset": "digits",
        "architectures": (FIRST, SECOND),
        "recipe": TWELVE,
        "tracking": TRACKING,
        "tau": {"gradient": tau, "magnitude": tau},
        "patience": patience,
        "sweeps": {"full": blocks},
    }
    return load_profile("smoke").model_copy(update=settings)


def block(
    epochs: tuple[int, ...] = (0, 4, 8),
    architecture: str = FIRST,
    criterion: Any = "gradient",
    ratios: tuple[float, ...] = (0.5,),
    seeds: tuple[int, ...] = (0,),
) -> Cells:
    return Cells(architecture=architecture, criterion=criterion, ratios=ratios, epochs=epochs, seeds=seeds)


def trunk(counts: list[int] | dict[float, list[int]], **changes: Any) -> Record:
    """A dense run that watched one layer, alike at all ratios or not, alike for both criteria."""
    by_ratio = counts if isinstance(counts, dict) else dict.fromkeys(TRACKING.ratios, counts)
    history = []
    for number in range(len(next(iter(by_ratio.values())))):
        ratios = {f"{ratio:g}": {"counts": [own[number]]} for ratio, own in by_ratio.items()}
        tracked = {criterion: {"ratios": ratios} for criterion in ("gradient", "magnitude")}
        history.append(epoch(number, tracked=tracked))
    spec = dense(**{"architecture": FIRST, "recipe": TWELVE, "tracking": TRACKING, **changes})
    return example(spec, history=tuple(history), layers=("conv",), trunk=None)


def run(
    of: Record, at: int, test: float | None, validation: float | None = None, criterion: str = "gradient",
    ratio: float = 0.5, **changes: Any,
) -> Record:  # fmt: skip
    """A run that goes on from a dense one."""
    fields = {
        name: getattr(of.spec, name) for name in ("architecture", "recipe", "tracking", "seed", "neurons")
    }
    record = scored(pruned(at, criterion, ratio, **(fields | changes)), test, validation)
    *before, last = record.history
    history = (*before, last.model_copy(update={"structure": dict.fromkeys(of.layers, 3)}))
    return record.model_copy(update={"layers": of.layers, "history": history})


def sweep_of(
    of: Record, accuracies: dict[int, tuple[float, float]], criterion: str = "gradient", ratio: float = 0.5
) -> list[Record]:
    """The dense run, and runs with test and validation accuracy by pruning epoch."""
    return [of, *(run(of, at, *both, criterion, ratio) for at, both in accuracies.items())]


# What EPI picks


def test_picks_by_threshold_worked_by_hand() -> None:
    found = picks_by_threshold(trunk(SETTLES), "gradient", 0.5, profile=profile())
    assert found == [(0.5, Pick(2, True)), (0.75, Pick(5, True)), (1.0, Pick(7, True))]
    patient = picks_by_threshold(trunk(SETTLES), "gradient", 0.5, profile=profile(), patience=2)
    assert patient == [(0.5, Pick(4, True)), (0.75, Pick(5, True)), (1.0, Pick(7, True))]
    # With r = 2 EPI is undefined before epoch 2, and 1 from epoch 7 on: 3 and 5 are still seen at 6.
    longer = picks_by_threshold(trunk(SETTLES), "gradient", 0.5, profile=profile(), look_back=2)
    assert longer[-1] == (1.0, Pick(8, True))


def test_a_run_that_never_triggers_counts_at_a_third_of_the_schedule() -> None:
    found = picks_by_threshold(trunk(NEVER), "gradient", 0.5, profile=profile())
    assert found == [(0.5, Pick(2, True)), (1.0, Pick(4, False))]
    assert pick(trunk(NEVER), "gradient", 0.5, threshold=0.6, profile=profile()) == Pick(4, False)


def test_a_trigger_after_the_last_epoch_comes_too_late() -> None:
    late = [*NEVER[:-1], NEVER[-2]]  # equal for the first time after epoch 11
    assert picks_by_threshold(trunk(late), "gradient", 0.5, profile=profile())[-1] == (1.0, Pick(4, False))
    assert not pick(trunk(late), "gradient", 0.5, threshold=1.0, profile=profile()).triggered
    in_time = [*NEVER[:-2], NEVER[-3], NEVER[-3]]
    assert pick(trunk(in_time), "gradient", 0.5, threshold=1.0, profile=profile()) == Pick(11, True)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.integers(0, 9), min_size=EPOCHS, max_size=EPOCHS),
    st.floats(0, 1),
    st.integers(1, 4),
    st.integers(0, 4),
)
def test_every_threshold_picks_as_the_indicator_does(
    counts: list[int], threshold: float, look_back: int, patience: int
) -> None:
    record, window = trunk(counts), {"look_back": look_back, "patience": patience}
    by_threshold = picks_by_threshold(record, "gradient", 0.5, profile=profile(), **window)
    indicator = EarlyPruningIndicator(threshold, look_back, patience)
    for count in counts:
        indicator.update([count])
    fired = indicator.trigger_epoch
    expected = Pick(4, False) if fired is None or fired == EPOCHS - 1 else Pick(fired + 1, True)
    assert next(chosen for highest, chosen in by_threshold if threshold <= highest) == expected
    assert pick(record, "gradient", 0.5, threshold=threshold, profile=profile(), **window) == expected
    highest = [value for value, _ in by_threshold]
    assert highest == sorted(set(highest))
    assert highest[-1] == 1


def test_a_ratio_that_was_not_watched_is_refused() -> None:
    with pytest.raises(ValueError, match=r"did not watch gradient at ratio 0\.7"):
        pick(trunk(SETTLES), "gradient", 0.7, threshold=0.5, profile=profile())


# The grid


def test_accuracy_between_epochs_is_linear() -> None:
    accuracies = {8: 80.0, 0: 60.0, 4: 70.0}
    assert [accuracy_at(accuracies, at) for at in (0, 1, 4, 5.5, 8)] == [60.0, 62.5, 70.0, 73.75, 80.0]
    assert [accuracy_at(accuracies, at) for at in (-3, 11)] == [60.0, 80.0]
    with pytest.raises(ValueError, match="expected some epochs to interpolate between, got none"):
        accuracy_at({}, 3)


def test_a_cell_needs_its_whole_grid() -> None:
    of = trunk(SETTLES)
    whole = sweep_of(of, {0: (60.0, 61.0), 4: (70.0, 71.0), 8: (80.0, 81.0)})
    scale = profile(block())
    (cell,) = cells(whole, scale)
    assert cell.key == (FIRST, "gradient", 0.5, 0)
    assert cell.test == {0: 60.0, 4: 70.0, 8: 80.0}
    assert cell.validation == {0: 61.0, 4: 71.0, 8: 81.0}
    assert (cell.oracle, cell.predefined, dict(cell.beside)) == (8, 4, {})
    for missing in range(len(whole)):
        assert cells(whole[:missing] + whole[missing + 1 :], scale) == []


def test_a_failed_run_is_no_candidate_and_does_not_hide_the_others() -> None:
    of = trunk(SETTLES)
    records = [of, run(of, 0, 60.0), run(of, 4, None), run(of, 8, 80.0)]
    (cell,) = cells(records, profile(block()))
    assert list(cell.grid) == [0, 8]
    assert cells([of, *(run(of, at, None) for at in (0, 4, 8))], profile(block())) == []
    failed = scored(of.spec, None)
    assert cells([failed, *records[1:]], profile(block())) == []


def test_runs_of_other_experiments_are_passed_over() -> None:
    of = trunk(SETTLES)
    own = sweep_of(of, {0: (60.0, 60.0), 4: (70.0, 70.0), 8: (80.0, 80.0)})
    pruning = Pruning(criterion="gradient", ratio=0.5, policy=AtEpoch(epoch=4))
    by_unit = trunk(NEVER, neurons=Neurons(count="unit"))
    virtual = trunk(NEVER * 2, recipe=recipe(epochs=24, warmup_epochs=2, slices=2))
    others = [
        by_unit,
        virtual,
        trunk(NEVER, profile="other"),
        run(by_unit, 4, 1.0),
        run(of, 4, 2.0, pruning=pruning.model_copy(update={"steps": 5})),
        run(of, 4, 3.0, pruning=pruning.model_copy(update={"rewind": 0})),
        run(of, 0, 4.0, pretrained=True),
    ]
    (cell,) = cells([*others, *own, *others], profile(block()))
    assert cell.dense == of
    assert cell.runs == {at: record.result for at, record in zip((0, 4, 8), own[1:], strict=True)}


def test_blocks_of_the_same_cell_are_one_grid_and_selections_leave_the_others_out() -> None:
    of, other = trunk(SETTLES), trunk(SETTLES, architecture=SECOND)
    records = sweep_of(of, {0: (60.0, 60.0), 4: (70.0, 70.0)})
    records += sweep_of(of, {4: (50.0, 50.0)}, "magnitude") + sweep_of(other, {4: (40.0, 40.0)})
    blocks = [block((0,)), block((4,)), block((4,), criterion="magnitude"), block((4,), SECOND)]
    scale = profile(*blocks)
    assert [list(cell.grid) for cell in cells(records, scale)] == [[0, 4], [4], [4]]
    assert [cell.key[:2] for cell in cells(records, scale, architecture=SECOND)] == [(SECOND, "gradient")]
    assert [cell.key[:2] for cell in cells(records, scale, criterion="magnitude")] == [(FIRST, "magnitude")]
    with pytest.raises(ValueError, match="profile 'tiny' has no sweep 'fulll'; it has full"):
        cells(records, scale, "fulll")


def test_of_equally_good_epochs_the_earliest_is_the_oracle() -> None:
    of = trunk(SETTLES)
    (cell,) = cells(sweep_of(of, {0: (60.0, 70.0), 4: (99.0, 80.0), 8: (70.0, 80.0)}), profile(block()))
    assert cell.oracle == 4


# Tuned thresholds


def test_the_tuned_threshold_has_the_best_validation_accuracy() -> None:
    of = trunk(SETTLES)  # picks 2 up to .5, 5 up to .75, 7 up to 1
    scale = profile(block())
    by_epoch = {
        0.5: {0: (0.0, 90.0), 4: (0.0, 70.0), 8: (99.0, 60.0)},  # at 2: 80, at 5: 67.5, at 7: 62.5
        0.75: {0: (0.0, 10.0), 4: (0.0, 90.0), 8: (99.0, 10.0)},  # at 2: 50, at 5: 70, at 7: 30
        1.0: {0: (99.0, 10.0), 4: (0.0, 60.0), 8: (0.0, 90.0)},  # at 2: 35, at 5: 67.5, at 7: 82.5
    }
    for expected, accuracies in by_epoch.items():
        assert tuned_thresholds(sweep_of(of, accuracies), scale) == {"gradient": expected}


def test_of_equally_good_thresholds_the_lowest_is_taken() -> None:
    flat = sweep_of(trunk(SETTLES), {0: (0.0, 70.0), 4: (0.0, 70.0), 8: (0.0, 70.0)})
    assert tuned_thresholds(flat, profile(block())) == {"gradient": 0.5}


def test_a_threshold_does_not_win_by_silence() -> None:
    # The pre-defined epoch, where a silent run counts, is the best by far; yet EPI has to pick.
    accuracies = {0: (0.0, 10.0), 4: (0.0, 90.0), 8: (0.0, 10.0)}
    assert tuned_thresholds(sweep_of(trunk(NEVER), accuracies), profile(block())) == {"gradient": 0.5}
    # One of two runs stays silent above .5, where the other one would do better.
    other = trunk(SETTLES, seed=1)
    both = sweep_of(trunk(NEVER), accuracies) + sweep_of(
        other, {0: (0.0, 0.0), 4: (0.0, 0.0), 8: (0.0, 90.0)}
    )
    assert tuned_thresholds(both, profile(block(seeds=(0, 1)))) == {"gradient": 0.5}


def test_thresholds_are_tuned_on_the_first_network_at_ratios_up_to_half() -> None:
    early, late = ({0: (0.0, a), 4: (0.0, 50.0), 8: (0.0, 90.0 - a)} for a in (90.0, 0.0))
    of, second = trunk(SETTLES), trunk(SETTLES, architecture=SECOND)
    records = sweep_of(of, early) + sweep_of(of, late, ratio=0.8) + sweep_of(second, late)
    scale = profile(block(ratios=(0.5, 0.8)), block(architecture=SECOND))
    assert tuned_thresholds(records, scale) == {"gradient": 0.5}
    assert tuned_thresholds(sweep_of(of, late, ratio=0.8), profile(block(ratios=(0.8,)))) == {}


def test_thresholds_are_tuned_on_seeds_that_have_all_ratios() -> None:
    early, late = ({0: (0.0, a), 4: (0.0, 50.0), 8: (0.0, 90.0 - a)} for a in (90.0, 0.0))
    records = sweep_of(trunk(SETTLES), early) + sweep_of(trunk(SETTLES), early, ratio=0.2)
    for seed in (1, 2, 3):  # they would outvote it
        records += sweep_of(trunk(SETTLES, seed=seed), late)
    scale = profile(block(ratios=(0.2, 0.5)), block(seeds=(1, 2, 3)))
    assert tuned_thresholds(records, scale) == {"gradient": 0.5}
    assert tuned_thresholds(records, scale, seed=1) == {}


def test_thresholds_by_seed_and_their_difference() -> None:
    early, late = ({0: (0.0, a), 4: (0.0, 50.0), 8: (0.0, 90.0 - a)} for a in (90.0, 0.0))
    records = []
    for seed, magnitude in ((0, late), (1, early)):
        of = trunk(SETTLES, seed=seed)
        records += sweep_of(of, early) + sweep_of(of, magnitude, "magnitude")
    alone = trunk(SETTLES, seed=2)
    records += sweep_of(alone, early)
    scale = profile(block(seeds=(0, 1, 2)), block(criterion="magnitude", seeds=(0, 1, 2)))
    assert tuned_thresholds(records, scale, seed=0) == {"gradient": 0.5, "magnitude": 1.0}
    assert tuned_thresholds(records, scale, seed=2) == {"gradient": 0.5}
    assert threshold_difference(records, scale).to_dict() == {0: 0.5, 1: 0.0}


# Runs that the policies need


def test_picks_beside_the_grid_are_the_runs_that_are_needed() -> None:
    of = trunk(SETTLES)
    accuracies = {0: (60.0, 60.0), 4: (70.0, 70.0), 8: (80.0, 80.0)}
    scale = profile(block())  # EPI at .7 picks 5; tuned, at 1, 7
    records = sweep_of(of, accuracies)
    assert picks_specs(records, scale) == [run(of, at, 0.0).spec for at in (5, 7)]
    assert picks_specs(records, scale, [{"gradient": 0.4}]) == [run(of, 2, 0.0).spec]
    assert picks_specs(records, scale, [{"magnitude": 0.4}]) == []
    on_grid = sweep_of(of, accuracies | {5: (75.0, 75.0), 7: (77.0, 77.0)})
    assert picks_specs(on_grid, profile(block((0, 4, 5, 7, 8)))) == []


def test_a_grid_without_the_heuristics_epochs_needs_them_too() -> None:
    of = trunk(NEVER)
    records = sweep_of(of, {2: (60.0, 60.0), 8: (70.0, 70.0)})
    assert picks_specs(records, profile(block((2, 8)))) == [run(of, at, 0.0).spec for at in (0, 4)]


# Regrets


def test_regrets_worked_by_hand() -> None:
    of = trunk(SETTLES)
    accuracies = {0: (60.0, 50.0), 2: (72.0, 70.0), 4: (81.0, 74.0), 8: (78.0, 79.0), 10: (10.0, 20.0)}
    records = sweep_of(of, accuracies)
    scale = profile(block((0, 2, 4, 8, 10)))  # EPI at .7 picks 5; validation is best at 7: tuned
    table = regrets(records, scale).set_index("policy")
    assert table["epoch"].to_dict() == pytest.approx(
        {"random": math.nan, "oracle": 8, "init": 0, "predefined": 4, "epi": 5, "tuned": 7}, nan_ok=True
    )
    assert table["triggered"].to_dict() == {
        "random": None, "oracle": None, "init": None, "predefined": None, "epi": True, "tuned": True
    }  # fmt: skip
    assert table["accuracy"].to_dict() == pytest.approx(
        {"random": 71.0, "oracle": 78, "init": 60, "predefined": 81, "epi": math.nan, "tuned": math.nan},
        nan_ok=True,
    )
    whole = regrets([*records, run(of, 5, 79.5), run(of, 7, 82.0)], scale).set_index("policy")
    assert whole["regret"].to_dict() == {
        "random": 7.0, "oracle": 0.0, "init": 18.0, "predefined": -3.0, "epi": -1.5, "tuned": -4.0
    }  # fmt: skip
    assert whole["regret_on_test"].to_dict() == {
        "random": 10.0, "oracle": 3.0, "init": 21.0, "predefined": 0.0, "epi": 1.5, "tuned": -1.0
    }  # fmt: skip


def test_a_pick_beside_the_grid_is_no_candidate_for_the_oracle_nor_for_random() -> None:
    of = trunk(SETTLES)
    records = sweep_of(of, {0: (60.0, 60.0), 4: (70.0, 70.0), 8: (80.0, 80.0)})
    scale = profile(block())
    better = [run(of, at, 99.0, 99.0) for at in (2, 3, 5, 7)]
    table = regrets([*records, *better], scale).set_index("policy")
    assert (table.loc["oracle", "epoch"], table.loc["random", "accuracy"]) == (8, 65.0)
    assert table.loc["epi", "regret"] == -19.0


def test_a_silent_run_counts_at_the_pre_defined_epoch() -> None:
    records = sweep_of(trunk(NEVER), {0: (60.0, 60.0), 4: (70.0, 70.0), 8: (80.0, 80.0)})
    table = regrets(records, profile(block())).set_index("policy")
    assert table.loc["epi", ["epoch", "triggered", "accuracy"]].tolist() == [4, False, 70.0]


def test_random_epochs_between_those_of_the_grid_count_linearly() -> None:
    of = trunk(SETTLES)
    records = sweep_of(of, {0: (60.0, 60.0), 4: (80.0, 70.0), 8: (40.0, 80.0)})
    scale = profile(block()).model_copy(update={"random_epochs": (1, 5)})
    table = regrets(records, scale).set_index("policy")
    assert table.loc["random", "accuracy"] == pytest.approx((65 + 70 + 75 + 80 + 70) / 5)


def test_without_an_early_epoch_on_the_grid_random_has_no_value() -> None:
    table = regrets(sweep_of(trunk(SETTLES), {8: (80.0, 80.0)}), profile(block((8,)))).set_index("policy")
    assert math.isnan(table.loc["random", "regret"])


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), min_size=3, max_size=3))
def test_against_the_best_on_test_nothing_on_the_grid_is_better(both: list[tuple[float, float]]) -> None:
    records = sweep_of(trunk(NEVER), dict(zip((0, 4, 8), both, strict=True)))
    table = regrets(records, profile(block(), tau=1.0)).set_index("policy")
    assert (table["regret_on_test"].drop("tuned") >= -1e-9).all()
    bias = table["regret_on_test"] - table["regret"]
    assert bias.dropna().to_numpy() == pytest.approx(table.loc["oracle", "regret_on_test"])


def test_no_runs_are_an_empty_table() -> None:
    table = regrets([], profile(block()))
    assert table.empty
    assert {"architecture", "policy", "regret", "regret_on_test"} <= set(table.columns)
    assert by_seed(table).empty
    assert policy_regret(table, profile(block()), "bottleneck", "gradient", "epi").empty


def two_ratios(second: bool = True) -> list[Record]:
    """Two seeds; regret of initialisation: 10 and 20 for seed 0, 30 and 50 for seed 1."""
    records = []
    for seed, low, high in ((0, 10.0, 20.0), (1, 30.0, 50.0)):
        of = trunk(NEVER, seed=seed)
        for ratio, lost in ((0.2, low), (0.5, high)):
            if seed == 0 or ratio == 0.2 or second:
                accuracies = {0: (80 - lost, 80 - lost), 4: (80.0, 80.0), 8: (79.0, 79.0)}
                records += sweep_of(of, accuracies, ratio=ratio)
    return records


def test_a_policys_regret_is_averaged_over_ratios_by_seed() -> None:
    scale = profile(block(ratios=(0.2, 0.5), seeds=(0, 1)))
    table = regrets(two_ratios(), scale)
    found = policy_regret(table, scale, "bottleneck", "gradient", "init")
    assert found.to_dict() == {0: 15.0, 1: 40.0}
    random = policy_regret(table, scale, "bottleneck", "gradient", "random")
    assert random.to_dict() == {0: 7.5, 1: 20.0}
    difference = regret_difference(table, scale, "bottleneck", "gradient", "init", "random")
    assert difference.to_dict() == {0: 7.5, 1: 20.0}
    assert policy_regret(table, scale, "bottleneck", "gradient", "oracle").to_dict() == {0: 0, 1: 0}


def test_a_seed_that_lacks_a_ratio_is_left_out_and_a_ratio_that_no_seed_has_leaves_nothing() -> None:
    scale = profile(block(ratios=(0.2, 0.5), seeds=(0, 1)))
    found = policy_regret(regrets(two_ratios(second=False), scale), scale, "bottleneck", "gradient", "init")
    assert found.to_dict() == {0: 15.0}
    more = profile(block(ratios=(0.2, 0.5, 0.8), seeds=(0, 1)))
    assert policy_regret(regrets(two_ratios(), more), more, "bottleneck", "gradient", "init").empty
    table = regrets(two_ratios(), scale)
    assert policy_regret(table, scale, "basic", "gradient", "init").empty
    assert policy_regret(table, scale, "mobilenet", "gradient", "init").empty


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"network": "resnet50"}, "unknown network 'resnet50'; known are bottleneck, basic, mobilenet"),
        ({"criterion": "taylor"}, "unknown criterion 'taylor'; known are"),
        ({"policy": "EPI"}, "unknown policy 'EPI'; known are oracle, random, init, predefined, epi, tuned"),
    ],
)
def test_unknown_names_are_refused(wrong: dict[str, Any], message: str) -> None:
    arguments = {"network": "bottleneck", "criterion": "gradient", "policy": "epi"} | wrong
    scale = profile(block())
    with pytest.raises(ValueError, match=message):
        policy_regret(regrets([], scale), scale, **arguments)


# Tables


def test_table_one_stands_above_the_papers() -> None:
    second = trunk(NEVER, architecture=SECOND, seed=0)
    records = two_ratios() + sweep_of(second, {0: (75.0, 75.0), 4: (80.0, 80.0), 8: (70.0, 70.0)})
    scale = profile(block(ratios=(0.2, 0.5), seeds=(0, 1)), block(architecture=SECOND))
    table = policy_table(regrets(records, scale), scale, Paper.read())
    assert list(table.index) == [
        ("gradient", FIRST),
        ("gradient", "ResNet50, ImageNet (paper)"),
        ("gradient", SECOND),
        ("gradient", "ResNet34, ImageNet (paper)"),
        ("gradient", OVERALL),
        ("gradient", "overall, ImageNet (paper)"),
    ]
    ours = table["initialisation"]
    assert ours.iloc[0] == interval([15.0, 40.0]).plus_minus(2)
    assert ours.iloc[2] == "5.00"
    assert ours.iloc[4] == "10.00"  # seed 0, the only one that both have
    assert ours.iloc[1] == "2.738"
    assert table["EPI, tuned τ"].iloc[1] == ""


def test_the_papers_values_come_as_printed_and_a_dash_is_none() -> None:
    printed = paper_regrets(load_profile("digits-24"), Paper.read())
    mobile = printed[(printed["network"] == "MobileNetV1") & (printed["criterion"] == "magnitude")]
    assert dict(zip(mobile["policy"], mobile["text"], strict=True)) == {
        "random": "6.285", "predefined": "0.135", "epi": "0.135"
    }  # fmt: skip
    assert set(printed["architecture"]) == {*load_profile("digits-24").architectures, OVERALL}


def test_tables_keep_the_order_of_the_profile() -> None:
    blocks = [
        block((4,), FIRST, ratios=(0.2, 0.5)),
        block((4,), SECOND),
        block((4,), FIRST, "magnitude"),
    ]
    records = []
    for seed in (0, 1):
        first = trunk(SETTLES, seed=seed)
        other = trunk(SETTLES, seed=seed, architecture=SECOND)
        one = {4: (70.0, 70.0)}
        records += sweep_of(first, one, ratio=0.5) + sweep_of(first, one, ratio=0.2)
        records += sweep_of(first, one, "magnitude") + sweep_of(other, one)
    scale = profile(*(cells.model_copy(update={"seeds": (0, 1)}) for cells in blocks))
    table = regrets(records, scale)
    assert picks_table(table).index.tolist() == [
        (FIRST, "gradient", "20 %"),
        (FIRST, "gradient", "50 %"),
        (FIRST, "magnitude", "50 %"),
        (SECOND, "gradient", "50 %"),
    ]
    assert picks_table(table[::-1].reset_index(drop=True)).equals(picks_table(table))
    assert triggered_table(table).index.tolist() == [
        ("gradient", FIRST),
        ("gradient", SECOND),
        ("magnitude", FIRST),
    ]


def test_silence_is_counted_and_shown() -> None:
    accuracies = {0: (60.0, 60.0), 4: (70.0, 70.0), 8: (80.0, 80.0)}
    records = sweep_of(trunk(SETTLES), accuracies) + sweep_of(trunk(NEVER, seed=1), accuracies)
    scale = profile(block(seeds=(0, 1)))
    table = regrets(records, scale)
    assert triggered_table(table).to_numpy().tolist() == [["1 of 2", "2 of 2"]]
    shown = picks_table(table)
    assert shown.index.tolist() == [(FIRST, "gradient", "50 %")]
    assert shown.iloc[0].to_dict() == {"oracle": "8, 8", "EPI, paper's τ": "5, (4)", "EPI, tuned τ": "2, 2"}
    (row,) = threshold_table(records, scale).to_dict("records")
    assert row == {
        "criterion": "gradient", "paper": "0.7", "tuned": "0.500", "by seed": "1.000, 0.500",
        "triggered, paper": "1 of 2", "triggered, tuned": "2 of 2",
    }  # fmt: skip


# Figures


def test_the_figures_show_each_policy_and_who_stayed_silent() -> None:
    accuracies = {0: (60.0, 60.0), 4: (70.0, 70.0), 8: (80.0, 80.0)}
    records = sweep_of(trunk(SETTLES), accuracies) + sweep_of(trunk(NEVER, seed=1), accuracies)
    table = regrets(records, profile(block(seeds=(0, 1))))
    (axis,) = picked_epochs(table, FIRST).axes
    marks = [line for line in axis.lines if len(line.get_xdata()) and line.get_marker() == "^"]
    assert [(list(m.get_xdata()), m.get_markerfacecolor() == "white") for m in marks] == [
        ([5.0], False),
        ([4.0], True),
    ]
    assert marks[1].get_zorder() > marks[0].get_zorder()
    assert marks[1].get_markeredgecolor() == marks[0].get_markerfacecolor()
    (legend,) = axis.figure.legends
    faces = {line.get_label(): line.get_markerfacecolor() for line in legend.get_lines()}
    assert faces["EPI stayed silent"] == "white"
    printed = pd.DataFrame(
        [(FIRST, "gradient", "epi", "0.092")], columns=["architecture", "criterion", "policy", "text"]
    )
    (axis,) = regret_by_policy(table, printed).axes
    diamonds = [line for line in axis.lines if line.get_marker() == "D" and len(line.get_ydata())]
    assert [list(line.get_ydata()) for line in diamonds] == [[0.092]]
    assert axis.get_title() == "gradient criterion"
    means = {float(line.get_ydata()[0]) for line in axis.lines if line.get_marker() == "s"}
    assert means == {20.0}


def test_the_moments_stand_below_the_accuracies() -> None:
    scale = profile(block(seeds=(0, 1)))
    records = [
        record
        for seed, counts in enumerate((SETTLES, NEVER))
        for record in sweep_of(trunk(counts, seed=seed), {0: (60.0, 60.0), 4: (72.0, 72.0), 8: (80.0, 80.0)})
    ]
    records.append(run(trunk(SETTLES), 5, 74.0))
    above, below = moments(runs_table(records), regrets(records, scale), FIRST).axes
    assert above.get_title() == "gradient criterion"
    assert below.get_xlabel() == "pruning epoch"
    assert [label.get_text() for label in below.get_yticklabels()] == ["oracle", "EPI", "a third"]
    marks = [(*line.get_xydata()[0], line.get_markerfacecolor() == "none") for line in below.lines]
    # Both oracles in epoch 8, EPI in 5 or silent, both thirds in 4, the larger for two.
    assert sorted(marks) == [(4.0, 1.0, True), (4.0, 2.0, False), (5.0, 1.0, False), (8.0, 0.0, False)]
    sizes = {tuple(line.get_xydata()[0]): line.get_markersize() for line in below.lines}
    assert sizes[8.0, 0.0] > sizes[5.0, 1.0]
