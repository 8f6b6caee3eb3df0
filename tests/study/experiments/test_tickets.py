"""Lottery tickets: differences to pruning in training, by hand on made-up records of the digits' own runs."""

import pandas as pd
import pytest
from test_analysis import scored

from pat.study import experiments, figures
from pat.study.analysis.intervals import interval
from pat.study.experiments.tickets.tables import (
    ticket_difference,
    ticket_differences,
    ticket_means,
    ticket_table,
    tickets_table,
    weights_of,
)
from pat.study.plan.profile import Contrast, load_profile
from pat.study.plan.spec import Spec
from pat.study.store.record import Record
from pat.study.store.rows import runs_table

DIGITS = load_profile("digits-24")
SEEDS = (3, 4, 5, 6, 7)


def gap(epoch: int, rewind: int, seed: int) -> float:
    """What pruning in training gains in the made-up records."""
    return 40.0 if epoch == 0 else epoch + 10 * rewind + (seed - 5) / 2


def record(spec: Spec) -> Record:
    if spec.pruning is None:
        return scored(spec, 90.0)
    rewind, epoch = spec.pruning.rewind, spec.prune_epoch
    assert epoch is not None
    trained = 80.0 + spec.seed
    return scored(spec, trained if rewind is None else trained - gap(epoch, rewind, spec.seed))


RECORDS = [record(spec) for spec in experiments.specs("tickets", DIGITS, "full")]


def test_every_ticket_is_held_against_the_run_of_its_own_mask_and_seed() -> None:
    found = ticket_differences(tickets_table(RECORDS))
    assert len(found) == sum(r.spec.experiment == "ticket" for r in RECORDS)
    for _, row in found.iterrows():
        assert row["difference"] == pytest.approx(gap(row["epoch"], row["rewind"], row["seed"]))


def test_the_claim_is_decided_at_the_reference_epoch() -> None:
    found = ticket_difference(RECORDS, DIGITS, "full", 0.5, 0)
    assert found.to_dict() == pytest.approx({seed: gap(5, 0, seed) for seed in SEEDS})


@pytest.mark.parametrize("rewind", [0, 2])
def test_all_later_epochs_count_if_the_claim_says_so(rewind: int) -> None:
    found = ticket_difference(RECORDS, DIGITS, "full", 0.5, rewind, "later")
    own = DIGITS.preset("full").tickets
    assert own is not None
    later = [epoch for epoch in own.epochs if epoch > rewind]
    assert found.to_dict() == pytest.approx(
        {seed: sum(gap(epoch, rewind, seed) for epoch in later) / len(later) for seed in SEEDS}
    )


@pytest.mark.parametrize("rewind", [0, 2])
def test_without_masks_of_the_reference_epoch_it_is_the_mean_of_the_later_ones(rewind: int) -> None:
    other = DIGITS.model_copy(update={"contrast": Contrast(reference=6, last=22)})
    found = ticket_difference(RECORDS, other, "full", 0.8, rewind)
    by_hand = {seed: (gap(5, rewind, seed) + gap(11, rewind, seed) + gap(18, rewind, seed)) / 3
               for seed in SEEDS}  # fmt: skip
    assert found.to_dict() == pytest.approx(by_hand)


def test_a_seed_without_a_run_or_with_a_failed_one_is_left_out() -> None:
    def at(record: Record, seed: int) -> bool:
        spec = record.spec
        return bool(spec.pruning and spec.pruning.rewind == 0 and (spec.prune_epoch, spec.seed) == (5, seed))

    some = [scored(r.spec, None) if at(r, 4) else r for r in RECORDS if not at(r, 3)]
    assert list(ticket_difference(some, DIGITS, "full", 0.5, 0).index) == [5, 6, 7]
    assert list(ticket_difference(some, DIGITS, "full", 0.5, 2).index) == list(SEEDS)


def test_no_records_have_no_difference_and_unknown_cells_are_refused() -> None:
    assert ticket_difference([], DIGITS, "study", 0.5, 0).empty
    for ratio, rewind in ((0.3, 0), (0.5, 1)):
        with pytest.raises(ValueError, match=r"preset 'full' has ratios \[0.5, 0.8\], rewound to \[0, 2\]"):
            ticket_difference(RECORDS, DIGITS, "full", ratio, rewind)


def test_runs_of_other_experiments_are_passed_over() -> None:
    everything = [scored(s, 50.0) for s in experiments.specs("variations", DIGITS, "full") if s.pruning
                  and s.pruning.variation] + RECORDS  # fmt: skip
    assert tickets_table(everything).equals(tickets_table(RECORDS))


def test_tables_hold_the_intervals() -> None:
    table = tickets_table(RECORDS)
    text = ticket_table(table)
    assert list(text.columns) == ["p = 0", "p = 5", "p = 11", "p = 18"]
    expected = interval([gap(11, 2, seed) for seed in SEEDS]).text()
    assert text.loc[("80 %", "after 2 epochs"), "p = 11"] == expected
    assert text.loc[("80 %", "after 2 epochs"), "p = 0"] == ""  # nothing to rewind to
    means = ticket_means(table, "test_accuracy", 1)
    trained = interval([80.0 + seed for seed in SEEDS]).plus_minus()
    assert means.loc[("50 %", weights_of(float("nan"))), "p = 18"] == trained
    assert len(means) == len(text) + 2  # pruning in training at either ratio


@pytest.mark.parametrize(("rewind", "text"), [(0, "original initialisation"), (1, "after 1 epoch"),
                                              (3, "after 3 epochs")])  # fmt: skip
def test_weights_have_names(rewind: float, text: str) -> None:
    assert weights_of(rewind) == text


def test_the_figure_has_a_curve_for_each_kind_of_run_in_both_rows() -> None:
    runs = runs_table(RECORDS)
    figure = figures.ticket_curves(tickets_table(RECORDS), runs[runs["policy"] == "dense"])
    assert len(figure.axes) == 4
    upper = figure.axes[0].containers
    assert len(upper) == 3
    ticket, _ = figure.axes[2].containers
    assert list(ticket.lines[0].get_ydata()) == pytest.approx([40, 5, 11, 18])
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    tickets = ["ticket, original initialisation", "ticket, weights after 2 epochs"]
    assert labels == ["pruned in training", *tickets, "dense"]


@pytest.mark.parametrize("number", [0, 1])
def test_few_runs_are_drawn_too(number: int) -> None:
    few = [r for r in RECORDS if r.spec.seed < 3 + number]
    empty = pd.DataFrame(columns=["test_accuracy"])
    figures.ticket_curves(tickets_table(few), empty).canvas.draw()
    assert ticket_table(tickets_table(few)).empty == (number == 0)
