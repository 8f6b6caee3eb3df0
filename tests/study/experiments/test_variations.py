"""Other masks: distances to the original mask's run, by hand and against scipy."""

from statistics import stdev
from typing import Any

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from test_analysis import epoch, scored

from pat.study import experiments, figures
from pat.study.experiments.variations.tables import (
    KIND_NAMES,
    trained_beside,
    variation_contrast,
    variation_distance,
    variation_summary,
    variation_table,
    variations_table,
)
from pat.study.paper.numbers import Paper
from pat.study.plan.profile import Profile, load_profile
from pat.study.plan.settings import Experiments, Variations
from pat.study.plan.spec import AtEpoch, Pruning, Spec
from pat.study.store.record import Record

PAPER = Paper.read()
PROFILE: Profile = load_profile("digits-24").model_copy(
    update={
        "experiments": {
            "full": Experiments(
                sweep="quick",
                variations=Variations(ratios=(0.5, 0.8), epoch=5, same=3, other=2, seeds=(0, 1)),
            )
        }
    }
)
SAME = (1.0, -2.0, 3.0)
OTHER = (-4.0, -8.0)


def record(spec: Spec) -> Record:
    """By seed, the original at 80 + seed; draws differ from it as in SAME and OTHER, times 1 + seed."""
    assert spec.pruning is not None
    variation = spec.pruning.variation
    structure = {"conv": 4, "layer1.0.conv1": 8}
    gap = 0.0
    if variation is not None:
        gap = (1 + spec.seed) * (SAME if variation.kind == "same" else OTHER)[variation.draw]
        structure = structure if variation.kind == "same" else {"conv": 2, "layer1.0.conv1": 8}
    found = scored(spec, 80.0 + spec.seed + gap)
    history = (epoch(5, "sparse", structure=structure), epoch(6, "sparse"))
    return found.model_copy(update={"history": history})


def failure(record: Record) -> Record:
    return record.model_copy(update={"status": "failed", "result": None, "cost": None, "history": ()})


SPECS = experiments.specs("variations", PROFILE, "full")
RECORDS = [record(spec) for spec in SPECS]


def plain(spec: Spec) -> Spec:
    assert spec.pruning is not None
    pruning = Pruning(criterion="gradient", ratio=spec.pruning.ratio, policy=AtEpoch(epoch=5))
    return spec.model_copy(update={"pruning": pruning})


def test_differences_are_to_the_original_of_the_same_seed_and_ratio() -> None:
    table = variations_table(RECORDS)
    assert len(table) == len(RECORDS)
    same = table[(table["kind"] == "same") & (table["seed"] == 1) & (table["ratio"] == 0.8)]
    assert same["difference"].tolist() == [2.0, -4.0, 6.0]
    assert set(table.loc[table["kind"] == "original", "difference"]) == {0.0}


def test_the_similarity_is_eq_5_of_the_structures_that_were_trained() -> None:
    table = variations_table(RECORDS).groupby("kind")["psi"].unique()
    assert list(table["same"]) == [1.0]
    assert list(table["other"]) == pytest.approx(
        [1 - (2 / 6 + 0) / 2]
    )  # |4 - 2| / (4 + 2) in one of two layers


def test_a_summary_by_hand() -> None:
    found = variation_summary(variations_table(RECORDS)).set_index(["ratio", "seed", "kind"])
    same = found.loc[(0.5, 0, "same")]
    assert same["distance"] == 2
    assert same["spread"] == pytest.approx(stdev([1, 2, 3]))
    assert same["gain"] == pytest.approx(2 / 3)
    assert same["between"] == pytest.approx(pdist(np.array(SAME)[:, None], "cityblock").mean())
    assert same["excess"] == pytest.approx(same["distance"] - same["between"])
    assert same["draws"] == 3
    assert found.loc[(0.8, 1, "other"), "distance"] == 12


def test_one_draw_has_no_spread() -> None:
    few = [r for r in RECORDS if r.spec.pruning and not (r.spec.pruning.variation and
           r.spec.pruning.variation.draw)]  # fmt: skip
    found = variation_summary(variations_table(few))
    assert found["distance"].notna().all()
    assert found[["spread", "between", "excess"]].isna().all(axis=None)


def test_the_run_in_which_the_mask_was_found_stands_beside() -> None:
    wanted = trained_beside(RECORDS)
    assert set(wanted) == {plain(spec) for spec in SPECS}
    found_in = {"history": RECORDS[0].history}
    beside = [scored(spec, 79.5 + spec.seed).model_copy(update=found_in) for spec in wanted]
    found = variation_summary(variations_table([*RECORDS, *beside]))
    trained = found[found["kind"] == "trained"]
    assert trained["distance"].tolist() == [0.5] * 4
    # A run of another epoch has no original beside it.
    other = plain(SPECS[0])
    assert other.pruning is not None
    late = other.model_copy(update={"pruning": other.pruning.model_copy(update={"policy": AtEpoch(epoch=8)})})
    assert len(variations_table([*RECORDS, scored(late, 70.0)])) == len(RECORDS)


def test_the_statistics_are_means_of_absolute_differences_by_seed() -> None:
    same = variation_distance(RECORDS, PROFILE, "full", 0.5, "same")
    assert same.to_dict() == {0: 2.0, 1: 4.0}
    assert variation_contrast(RECORDS, PROFILE, "full", 0.5).to_dict() == {0: 4.0, 1: 8.0}


def test_a_seed_needs_all_draws_but_a_failed_one_counts_as_drawn() -> None:
    def drawn(spec: Spec, kind: str, draw: int) -> bool:
        v = spec.pruning.variation if spec.pruning else None
        return v is not None and (spec.seed, v.kind, v.draw) == (0, kind, draw)

    missing = [r for r in RECORDS if not drawn(r.spec, "same", 2)]
    assert list(variation_distance(missing, PROFILE, "full", 0.5, "same").index) == [1]
    assert list(variation_distance(missing, PROFILE, "full", 0.5, "other").index) == [0, 1]
    assert list(variation_contrast(missing, PROFILE, "full", 0.5).index) == [1]
    failed = [failure(r) if drawn(r.spec, "other", 1) else r for r in RECORDS]
    assert variation_distance(failed, PROFILE, "full", 0.5, "other").to_dict() == {0: 4.0, 1: 12.0}
    originals = [r for r in RECORDS if r.spec.experiment != "ticket"]
    assert variation_distance(originals, PROFILE, "full", 0.5, "same").empty


def test_bad_input_is_refused() -> None:
    assert variation_distance([], PROFILE, "full", 0.5, "same").empty
    with pytest.raises(ValueError, match=r"at ratio 0.3; preset 'full' has ratios \[0.5, 0.8\]"):
        variation_distance(RECORDS, PROFILE, "full", 0.3, "same")
    bad: Any = "similar"
    with pytest.raises(ValueError, match="unknown kind of mask 'similar'; known are same, other"):
        variation_distance(RECORDS, PROFILE, "full", 0.5, bad)


def test_the_table_has_our_rows_and_the_papers_at_its_ratio() -> None:
    text = variation_table(variations_table(RECORDS), PAPER)
    assert text.loc[("80 %", KIND_NAMES["same"]), "|difference|"].startswith("3.00 [")
    assert text.loc[("80 %", KIND_NAMES["same"]), "runs (seeds)"] == "6 (2)"
    theirs = text[[("paper" in name) for _, name in text.index]]
    assert [ratio for ratio, _ in theirs.index] == [f"{PAPER.number('similar_structure.ratio').text} %"] * 2
    assert theirs["|difference|"].tolist() == ["0.36", "0.53"]


def test_the_figures_draw_every_run_and_the_paper_at_its_ratio_alone() -> None:
    table = variations_table(RECORDS)
    runs = figures.accuracy_by_mask(table)
    drawn = sum(
        len(line.get_xdata()) for axis in runs.axes for line in axis.lines if line.get_marker() in "oD"
    )
    assert drawn == (len(SAME) + len(OTHER)) * 4
    means = figures.distance_by_kind(table, PAPER)
    diamonds = [sum(line.get_marker() == "D" and line.get_markerfacecolor() == "white" for line in axis.lines)
                for axis in means.axes]  # fmt: skip
    assert diamonds == [2, 0]
    for empty in (figures.accuracy_by_mask(table[:0]), figures.distance_by_kind(table[:0], PAPER)):
        empty.canvas.draw()
