"""Pruning by EPI against PruneTrain: filters removed, the setting that is compared, differences."""

from typing import Any

import pytest
from test_analysis import epoch
from test_record import ORIGIN

from pat.cost import training_share
from pat.study import experiments, figures
from pat.study.analysis.intervals import interval
from pat.study.analysis.remains import layers_at_start
from pat.study.experiments.in_training.runs import (
    at_epi,
    nearest_share,
    removed_share,
    rival_difference,
    rivals_table,
)
from pat.study.experiments.in_training.tables import literature_table, rival_accuracies, rival_gaps
from pat.study.paper.numbers import Paper
from pat.study.plan.profile import load_profile
from pat.study.plan.settings import Experiments, Rival
from pat.study.plan.spec import Spec, Tracking
from pat.study.store.record import CostRecord, Record, Result

SHARES, SEEDS = (0.1, 0.2), (0, 1)
PROFILE = load_profile("digits-24").model_copy(
    update={
        "tracking": Tracking(ratios=(0.4,)),
        "experiments": {
            "full": Experiments(
                sweep="quick",
                prunetrain=Rival(shares=SHARES, interval=4, threshold=1e-3, ratio=0.4, seeds=SEEDS),
            )
        },
    }
)
OWN = PROFILE.preset("full").prunetrain
assert OWN is not None
NETWORK = PROFILE.architectures[0]
EPOCHS = PROFILE.recipe.epochs
WIDTHS = layers_at_start(PROFILE.dataset, NETWORK)["channels"].astype(int).to_dict()
LAYERS = [layer for layer in WIDTHS if layer != "conv1"]
REMOVED = {0.1: 0.25, 0.2: 0.5}


def structure(removed: float) -> dict[str, int]:
    return {layer: round(WIDTHS[layer] * (1 - removed)) for layer in LAYERS}


def record(spec: Spec) -> Record:
    """Accuracy 80 + seed dense, two points less by EPI, five by PruneTrain; MACs as the filters left."""
    removed, lost = 0.0, 0.0
    history = [epoch(n, tracked=_tracked()) for n in range(EPOCHS)]
    if spec.prunetrain is not None:
        removed, lost = REMOVED[spec.prunetrain.share], 5.0
        for at, share in ((3, removed / 2), (11, removed)):
            history[at] = epoch(at, "prune", structure=structure(share), macs=round(1000 * (1 - share)))
    at = spec.prune_epoch
    if spec.pruning is not None and at is not None:
        removed, lost = 0.5, 2.0
        history = [epoch(at, "prune", structure=structure(removed))]
    macs, dense_epochs = round(1000 * (1 - removed)), EPOCHS if at is None else at + 1
    return Record(
        id=spec.id,
        spec=spec,
        status="done",
        layers=tuple(LAYERS),
        history=tuple(history),
        result=Result(test_accuracy=80 + spec.seed - lost, test_loss=1, validation_accuracy=80,
                      prune_epoch=at),
        cost=CostRecord(
            dense_macs=1000, macs=macs, dense_parameters=10, parameters=5,
            training_share=0.9 if spec.prunetrain else training_share(1000, macs, EPOCHS, dense_epochs),
        ),
        provenance=ORIGIN,
    )  # fmt: skip


def _tracked() -> dict[str, Any]:
    """A structure that never moves, so that EPI triggers as early as it can."""
    at = {"counts": list(structure(0.5).values()), "psi": [1.0, 1.0], "hamming": [0, 0], "jaccard": [1, 1]}
    return {"gradient": {"spearman": [1, 1], "kendall": [1, 1], "ratios": {"0.4": at}}}


FIRST = [record(spec) for spec in experiments.specs("prunetrain", PROFILE, "full")]
RECORDS = [record(spec) for spec in experiments.specs("prunetrain", PROFILE, "full", FIRST)]
TABLE = rivals_table(RECORDS, PROFILE)


def test_every_run_has_a_row_and_epis_are_those_at_its_picks() -> None:
    assert TABLE["method"].value_counts().to_dict() == {"prunetrain": 4, "dense": 2, "epi": 2}
    own = TABLE[TABLE["method"] == "epi"]
    dense = [r for r in RECORDS if r.spec.experiment == "dense"]
    picked = at_epi(dense, PROFILE, 0.4)
    assert own["start"].tolist() == [spec.prune_epoch for spec in picked] == [11, 11]
    assert own["triggered"].tolist() == [True, True]
    assert at_epi(dense, PROFILE, 0.7) == []  # not watched


def test_removed_filters_are_counted_in_every_layer_that_can_go() -> None:
    run = next(r for r in RECORDS if r.spec.prunetrain and r.spec.prunetrain.share == 0.2)
    assert removed_share(run) == pytest.approx(0.5)
    assert removed_share(next(r for r in RECORDS if r.spec.experiment == "dense")) == 0
    assert removed_share(run.model_copy(update={"cost": None})) is None


def test_the_papers_formula_leaves_out_the_pruning_epoch() -> None:
    own = TABLE[TABLE["method"] == "epi"]
    gap = own["paper_saving"] - own["saving"]
    assert gap.tolist() == pytest.approx([(1 - share) / EPOCHS for share in own["macs_share"]])
    assert TABLE.loc[TABLE["method"] == "prunetrain", "paper_saving"].isna().all()


def test_the_setting_nearest_in_size_is_compared_whatever_its_accuracy() -> None:
    assert nearest_share(TABLE, OWN, NETWORK) == 0.2  # 0.5 is nearer to 0.4 than 0.25
    worse = TABLE.assign(test_accuracy=TABLE["test_accuracy"].where(TABLE["share"] != 0.2, 10.0))
    assert nearest_share(worse, OWN, NETWORK) == 0.2
    even = TABLE.assign(removed=TABLE["removed"].where(TABLE["share"] != 0.1, 0.3))
    assert nearest_share(even, OWN, NETWORK) == 0.1  # as near, and smaller
    missing = TABLE[(TABLE["share"] != 0.1) | (TABLE["seed"] != 1)]
    assert nearest_share(missing, OWN, NETWORK) is None


def test_the_differences_are_by_seed() -> None:
    assert rival_difference(RECORDS, PROFILE, "full", "accuracy").to_dict() == {0: 3.0, 1: 3.0}
    saved = rival_difference(RECORDS, PROFILE, "full", "saving")
    exact = 1 - training_share(1000, 500, EPOCHS, 12)
    assert saved.to_dict() == pytest.approx(dict.fromkeys(SEEDS, exact - 0.1))


def test_what_is_missing_is_left_out() -> None:
    def lost(record: Record) -> bool:
        return record.spec.seed == 1 and record.spec.experiment == "sweep"

    some = [r for r in RECORDS if not lost(r)]
    assert list(rival_difference(some, PROFILE, "full", "accuracy").index) == [0]
    costless = [r.model_copy(update={"cost": None}) if lost(r) else r for r in RECORDS]
    assert list(rival_difference(costless, PROFILE, "full", "saving").index) == [0]
    assert list(rival_difference(costless, PROFILE, "full", "accuracy").index) == [0, 1]
    assert rival_difference(FIRST, PROFILE, "full", "accuracy").empty
    assert rival_difference([], PROFILE, "study", "accuracy").empty


def test_bad_input_is_refused() -> None:
    bad: Any = "speed"
    with pytest.raises(ValueError, match="unknown value 'speed'; known are accuracy, saving"):
        rival_difference(RECORDS, PROFILE, "full", bad)
    bare = PROFILE.model_copy(update={"experiments": {"full": Experiments(sweep="quick")}})
    with pytest.raises(ValueError, match="preset 'full' has no runs of PruneTrain"):
        rival_difference(RECORDS, bare, "full", "saving")


def test_tables_name_what_they_compare() -> None:
    text = rival_accuracies(TABLE)
    methods = ["dense", "PaT, EPI, 40 %", "PruneTrain, ρ = 0.1", "PruneTrain, ρ = 0.2"]
    assert list(text.index) == [(NETWORK, method) for method in methods]
    ours = text.loc[(NETWORK, "PaT, EPI, 40 %")]
    assert (ours["test accuracy"], ours["start epoch"]) == (interval([78.0, 79.0]).plus_minus(), "11, 11")
    rival = text.loc[(NETWORK, "PruneTrain, ρ = 0.1")]
    assert (rival["start epoch"], rival["by the paper's formula"]) == ("3, 3", "")
    gaps = rival_gaps(TABLE, OWN, NETWORK)
    assert list(gaps.index) == ["PaT, EPI, 40 % minus PruneTrain, ρ = 0.2"]
    assert gaps.iloc[0]["test accuracy"] == "3.0 [3.0, 3.0]"
    assert rival_gaps(TABLE[TABLE["share"] != 0.1], OWN, NETWORK).empty
    assert rival_accuracies(TABLE[:0]).empty


def test_the_literature_stands_as_printed() -> None:
    table = literature_table(Paper.read())
    assert table.loc[("ResNet50", "PruneTrain")].tolist() == ["74.73", "2.303", "–", "30.0"]
    assert table.loc[("ResNet34", "PaT")].tolist() == ["73.50", "2.911", "11", "25.6"]
    assert len(table) == 5


def test_the_figure_has_a_point_for_each_setting() -> None:
    (axis,) = figures.accuracy_by_computation(TABLE).axes
    assert len(axis.containers) == 4
    assert {text.get_text() for text in axis.texts} == {"", "40 %", "0.1", "0.2"}
    figures.accuracy_by_computation(TABLE[:0]).canvas.draw()
