"""Train, prune, finetune against EPI: budgets, differences and what was spent, by hand."""

from statistics import fmean
from typing import Any

import pytest
from test_analysis import epoch, scored
from test_record import ORIGIN

from pat.study import experiments, figures
from pat.study.analysis.intervals import interval
from pat.study.experiments.pretrained.runs import (
    dense_epoch_seconds,
    epochs_of_equal_time,
    pretrained_difference,
    pretrained_differences,
    pretrained_table,
    training_seconds,
    triggered,
)
from pat.study.experiments.pretrained.tables import paper_differences, pretrained_accuracies, spent_table
from pat.study.paper.numbers import Paper
from pat.study.plan.profile import load_profile
from pat.study.plan.settings import Experiments, Pretrained
from pat.study.plan.spec import EPI, Spec
from pat.study.store.record import CostRecord, Epoch, Record, Result
from pat.study.store.rows import runs_table

PAPER = Paper.read()
RATIOS, SEEDS = (0.3, 0.5), (0, 1)
PROFILE = load_profile("digits-24").model_copy(
    update={
        "experiments": {"full": Experiments(sweep="quick", pretrained=Pretrained(ratios=RATIOS, seeds=SEEDS))}
    }
)
LENGTH = PROFILE.recipe.epochs
PRUNED_IN = 11


def lasting(seconds: float, number: int, phase: Any) -> Epoch:
    return epoch(number, phase, epi=0.95).model_copy(update={"seconds": seconds})


def record(spec: Spec) -> Record:
    """Dense epochs take 4 s and sparse ones 2 s; EPI gains ratio points per seed, 2 more at equal time."""
    epochs, by_epi = spec.recipe.epochs, spec.pruning is not None and isinstance(spec.pruning.policy, EPI)
    accuracy = 80.0
    if by_epi and spec.pruning:
        accuracy += 10 * spec.pruning.ratio * (1 + spec.seed) + (0 if epochs == 2 * LENGTH else 2)
    at = epochs if spec.pruning is None else PRUNED_IN if by_epi else 0
    phases: list[Any] = ["dense" if n < at else "prune" if n == at else "sparse" for n in range(epochs)]
    history = tuple(lasting(2.0 if phase == "sparse" else 4.0, n, phase) for n, phase in enumerate(phases))
    cost = CostRecord(dense_macs=100, macs=40, dense_parameters=10, parameters=5, training_share=0.75)
    return Record(
        id=spec.id,
        spec=spec,
        status="done",
        history=history,
        result=Result(test_accuracy=accuracy, test_loss=1.0, validation_accuracy=80.0,
                      prune_epoch=None if spec.pruning is None else at),
        cost=cost,
        provenance=ORIGIN,
    )  # fmt: skip


def everything() -> list[Record]:
    first = [record(spec) for spec in experiments.specs("pretrained", PROFILE, "full")]
    return [record(spec) for spec in experiments.specs("pretrained", PROFILE, "full", first)]


RECORDS = everything()
BUDGET = 4 * LENGTH + 2 * LENGTH  # seconds: a dense run, then finetuning at its median epoch
EQUAL = round(PRUNED_IN + 1 + (BUDGET - 4 * (PRUNED_IN + 1)) / 2)


def test_the_equal_time_is_what_the_epochs_of_both_phases_take() -> None:
    assert epochs_of_equal_time(RECORDS, 0.5) == EQUAL
    assert EQUAL > 2 * LENGTH
    # The order of the records does not matter, though EPI's runs of both lengths are among them.
    assert epochs_of_equal_time(RECORDS[::-1], 0.5) == EQUAL


def test_runs_that_the_equal_time_hangs_on_are_named_when_missing() -> None:
    tuned = next(r for r in RECORDS if r.spec.pretrained)
    with pytest.raises(ValueError, match=f"the dense run of .*{tuned.spec.title}"):
        epochs_of_equal_time([r for r in RECORDS if r.spec.pruning], 0.3)
    without = [r for r in RECORDS if r.spec.recipe.epochs != 2 * LENGTH]
    with pytest.raises(ValueError, match=f"no run of EPI on {2 * LENGTH} epochs beside"):
        epochs_of_equal_time(without, 0.3)


def test_the_table_has_each_method_once_a_ratio_and_seed() -> None:
    table = pretrained_table(RECORDS).set_index(["ratio", "seed", "method"])
    assert len(table) == len(RATIOS) * len(SEEDS) * 3
    tuned = table.loc[(0.5, 1, "finetuned")]
    assert (tuned["epochs"], tuned["test_accuracy"]) == (2 * LENGTH, 80)
    assert tuned["seconds"] == 4 * LENGTH + 4 + 2 * (LENGTH - 1)  # its pruning epoch is a dense one
    assert tuned["training"] == 0.75  # a record's share of a finetuned run has the pretraining in it
    equal = table.loc[(0.5, 1, "epochs")]
    assert (equal["epochs"], equal["training"], equal["prune_epoch"]) == (2 * LENGTH, 1.5, PRUNED_IN)
    timed = table.loc[(0.5, 1, "time")]
    assert timed["epochs"] == EQUAL
    assert timed["seconds"] == pytest.approx(BUDGET, abs=2)


def test_a_run_serves_both_budgets_if_their_lengths_are_the_same() -> None:
    def even(record: Record) -> Record:
        return record.model_copy(
            update={"history": tuple(e.model_copy(update={"seconds": 1.0}) for e in record.history)}
        )

    table = pretrained_table([even(r) for r in RECORDS if r.spec.recipe.epochs != EQUAL])
    assert set(table.loc[table["method"] == "time", "epochs"]) == {2 * LENGTH}


def test_an_unfinished_experiment_has_no_rows_of_equal_time() -> None:
    tuned_alone = [r for r in RECORDS if r.spec.pruning is None or r.spec.pretrained]
    assert set(pretrained_table(tuned_alone)["method"]) == {"finetuned"}
    assert pretrained_differences(pretrained_table(tuned_alone)).empty


def test_the_differences_are_paired_and_averaged_over_the_ratios() -> None:
    found = pretrained_difference(RECORDS, PROFILE, "full", "epochs")
    assert found.to_dict() == pytest.approx({seed: fmean([3, 5]) * (1 + seed) for seed in SEEDS})
    timed = pretrained_difference(RECORDS, PROFILE, "full", "time")
    assert (timed - found).tolist() == pytest.approx([2, 2])


def test_a_seed_without_a_ratio_is_left_out() -> None:
    def lost(record: Record) -> bool:
        return record.spec.seed == 0 and record.spec.pretrained and record.spec.pruning.ratio == 0.3  # type: ignore[union-attr]

    missing = [r for r in RECORDS if not lost(r)]
    failed = [scored(r.spec, None) if lost(r) else r for r in RECORDS]
    for records in (missing, failed):
        assert list(pretrained_difference(records, PROFILE, "full", "epochs").index) == [1]


def test_bad_input_is_refused() -> None:
    assert pretrained_difference([], PROFILE, "study", "time").empty
    bad: Any = "money"
    with pytest.raises(ValueError, match="unknown budget 'money'; known are epochs, time"):
        pretrained_difference(RECORDS, PROFILE, "full", bad)
    bare = PROFILE.model_copy(update={"experiments": {"full": Experiments(sweep="quick")}})
    with pytest.raises(ValueError, match="preset 'full' has no runs of pretrained networks"):
        pretrained_difference(RECORDS, bare, "full", "time")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.90, 0.95, 0.95], True),
        ([0.96, 0.95, 0.95], False),  # under one of the two before
        ([0.90, 0.91, 0.94], False),  # under the threshold
        ([None, 0.95, 0.95], False),  # a value before is not defined
        ([0.95], False),
        ([], False),
    ],
)
def test_whether_epi_had_triggered_is_read_off_its_values(values: list[float | None], expected: bool) -> None:
    policy = EPI(threshold=0.944, patience=2, fallback=len(values))
    spec = PROFILE.spec(seed=0, criterion="gradient", ratio=0.5, policy=policy)
    history = [epoch(n, epi=value) for n, value in enumerate(values)] + [epoch(len(values), "prune")]
    result = Result(test_accuracy=80, test_loss=1, validation_accuracy=80, prune_epoch=len(values))
    own = record(spec).model_copy(update={"history": tuple(history), "result": result})
    assert triggered(own) is expected
    assert triggered(own.model_copy(update={"result": None})) is False
    assert triggered(next(r for r in RECORDS if r.spec.pretrained)) is None


def test_disturbed_epochs_do_not_count() -> None:
    own = next(r for r in RECORDS if r.spec.pretrained)
    history = list(own.history)
    history[5] = history[5].model_copy(update={"seconds": 500.0})
    assert training_seconds(own.model_copy(update={"history": tuple(history)})) == training_seconds(own)


def test_the_seconds_of_a_dense_epoch_are_of_the_runs_that_have_some() -> None:
    found = dense_epoch_seconds(RECORDS)
    assert set(found.index) == {
        r.id for r in RECORDS if not r.spec.pretrained
    }  # finetuned ones prune at once
    assert set(found) == {4.0}


def test_tables_hold_ours_and_the_papers() -> None:
    table = pretrained_table(RECORDS)
    text = pretrained_accuracies(table, PAPER)
    ours = text.loc[("50 %", "ours")]
    assert ours["EPI, equal epochs"] == interval([85.0, 90.0]).plus_minus()
    assert ours["EPI, equal epochs: difference"] == interval([5.0, 10.0]).text()
    assert text.loc[("all of these", "ours"), "EPI, equal time: difference"] == interval([6.0, 10.0]).text()
    theirs = text.loc[("30 %", "paper: ResNet50, ImageNet")].tolist()
    assert theirs == ["76.18", "76.23", "76.55", "0.05", "0.37"]
    assert len(paper_differences(PAPER)) == 6
    spent = spent_table(table)
    assert spent.loc[("30 %", "EPI, equal time"), "epochs"] == f"{EQUAL}"
    assert spent.loc[("30 %", "EPI, equal epochs"), "pruned in epoch"] == f"{PRUNED_IN}, {PRUNED_IN}"
    assert spent_table(table[:0]).empty


def test_the_figure_has_every_method_and_the_papers_ratios() -> None:
    runs = runs_table(RECORDS)
    table = pretrained_table(RECORDS)
    figure = figures.pretrained_by_ratio(table, runs[runs["policy"] == "dense"], PAPER)
    left, right = figure.axes
    assert len(left.containers) == len(RATIOS) * 3
    assert len(right.containers) == len(RATIOS) * 2
    assert [label.get_text() for label in right.get_xticklabels()] == ["10 %", "20 %", "30 %", "50 %"]
    figures.pretrained_by_ratio(table[:0], runs[:0], PAPER).canvas.draw()
