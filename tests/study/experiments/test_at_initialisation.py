"""Pruning at initialisation: which runs are compared, and tables, sentence and figures of made-up records."""

from collections.abc import Iterable
from pathlib import Path

import pytest
import tiny
from matplotlib.figure import Figure
from test_analysis import epoch
from test_record import ORIGIN
from test_statistics import Shelf
from test_wording import spaced

from pat.rivals.initialisation import FORCE, SNIP, IterativeSNIP, SynFlow
from pat.study import wording
from pat.study.analysis.remains import layers_at_start
from pat.study.experiments.at_initialisation import cells
from pat.study.experiments.at_initialisation.cells import (
    DENSE,
    RULES,
    WAYS,
    Extent,
    by_epi,
    initialisation_records,
    initialisation_specs,
    ratio_of,
    recorded,
    way_of,
)
from pat.study.experiments.at_initialisation.figures import ways_side_by_side, widths_side_by_side
from pat.study.experiments.at_initialisation.finding import finding
from pat.study.experiments.at_initialisation.summaries import (
    REFERENCE,
    initialisation_summary,
    initialisation_table,
    more_than,
    ways_at,
    widths_left,
)
from pat.study.experiments.evidence import Evidence
from pat.study.plan.profile import list_profiles, load_profile
from pat.study.plan.spec import Spec
from pat.study.store import Store, open_store
from pat.study.store.record import CostRecord, Record, Result

PROFILE = load_profile("digits")
WIDTHS = layers_at_start(PROFILE.dataset, PROFILE.architectures[0])["channels"].astype(int).to_dict()
LAYERS = [layer for layer in WIDTHS if layer != "conv1"]
LAST = "layer3.0.conv2"
GAINS = {DENSE: 10.0, by_epi("gradient"): 6.0, FORCE.title: -2.0, IterativeSNIP.title: 1.0}
"""Points beyond the reference; every other way has what it has."""


def record(spec: Spec) -> Record:
    """Accuracy 70 + seed - 300 of the reference; half of each layer is left, of SNIP's last but one none, and
    SynFlow at 80 % collapses."""
    way, ratio = way_of(spec), ratio_of(spec)
    lost = way == SynFlow.title and ratio == 0.8
    left = {layer: WIDTHS[layer] // 2 for layer in LAYERS} | ({LAST: 0} if way == SNIP.title else {})
    alternating = 1.0 if spec.seed % 2 else -1.0  # so that differences have a spread
    accuracy = 70 + (spec.seed - 300) + GAINS.get(way, 0.0) * (1 + alternating / 2)
    small = None if way == DENSE or lost else left
    return Record(
        id=spec.id,
        spec=spec,
        status="collapsed" if lost else "done",
        history=(epoch(0, "sparse", structure=small),),
        result=Result(
            test_accuracy=10.0 if lost else accuracy,
            test_loss=1.0,
            validation_accuracy=accuracy,
            prune_epoch=None if way == DENSE else 11 if way.startswith("EPI") else 0,
        ),
        cost=None
        if lost
        else CostRecord(
            dense_macs=1000,
            macs=1000 if way == DENSE else 400,
            dense_parameters=100,
            parameters=100 if way == DENSE else 30,
            training_share=1.0 if way == DENSE else 0.5,
        ),
        provenance=ORIGIN,
    )


def some(seeds: Iterable[int]) -> list[Record]:
    return [record(spec) for spec in initialisation_specs(PROFILE, "full", seeds)]


RECORDS = some((300, 301))
TABLE = initialisation_table(RECORDS)


# Which runs


def test_every_way_has_its_runs_at_every_ratio_and_seed() -> None:
    specs = initialisation_specs(PROFILE, "full")
    assert len(specs) == len(set(specs)) == 210
    for seed in range(300, 310):
        own = [(way_of(spec), ratio_of(spec)) for spec in specs if spec.seed == seed]
        assert own[0] == (DENSE, None)
        assert sorted(own[1:]) == sorted((way, ratio) for way in WAYS[1:] for ratio in (0.5, 0.8))
    assert {spec.architecture for spec in specs} == {PROFILE.architectures[0]}


def test_schedules_are_their_authors() -> None:
    rules = {spec.method for spec in initialisation_specs(PROFILE, "quick") if spec.method}
    assert rules == {rule(0.5) for rule in RULES}
    assert {FORCE(0.5, steps=60), IterativeSNIP(0.5, steps=60), SynFlow(0.5, steps=100)} <= rules


def test_epi_has_the_published_thresholds() -> None:
    by_criterion = {
        spec.pruning.criterion: spec.pruning.policy.options()
        for spec in initialisation_specs(PROFILE, "quick", (300,))
        if spec.pruning and spec.prune_epoch is None
    }
    assert {name: options["threshold"] for name, options in by_criterion.items()} == PROFILE.tau
    assert {options["fallback"] for options in by_criterion.values()} == {30}


@pytest.mark.parametrize("name", list_profiles())
def test_no_sweep_of_any_profile_has_the_seeds(name: str) -> None:
    seeds = {seed for extent in cells.EXTENTS.values() for seed in extent.seeds}
    profile = load_profile(name)
    swept = {seed for blocks in profile.sweeps.values() for block in blocks for seed in block.seeds}
    others = {
        seed
        for preset in profile.experiments.values()
        for _, own in preset
        for seed in getattr(own, "seeds", ())
    }
    assert not seeds & (swept | others)


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="no preset 'all'; it has full, quick, study"):
        initialisation_specs(PROFILE, "all")
    with pytest.raises(ValueError, match="no seed 200 in preset 'full'"):
        initialisation_specs(PROFILE, "full", (300, 200))


# What they gave


def test_a_row_a_run_in_the_order_of_the_ways() -> None:
    assert list(dict.fromkeys(TABLE["way"])) == list(WAYS)
    assert len(TABLE) == 42
    own = TABLE[(TABLE["way"] == SNIP.title) & (TABLE["ratio"] == 0.5)].iloc[0]
    assert own[["seed", "epoch", "macs", "parameters", "training", "emptied"]].tolist() == [
        300,
        0,
        40,
        30,
        50,
        1,
    ]
    lost = TABLE[(TABLE["way"] == SynFlow.title) & (TABLE["ratio"] == 0.8)].iloc[0]
    assert (lost["status"], lost["accuracy"]) == ("collapsed", 10.0)
    assert lost[["macs", "parameters", "training", "emptied"]].isna().all()


def test_differences_are_paired_by_seed() -> None:
    assert more_than(TABLE, FORCE.title, REFERENCE, 0.5).to_dict() == {300: -1.0, 301: -3.0}
    assert more_than(TABLE, DENSE, REFERENCE, 0.8).to_dict() == {300: 5.0, 301: 15.0}
    lacking = TABLE[(TABLE["way"] != REFERENCE) | (TABLE["seed"] != 301)]
    assert more_than(lacking, FORCE.title, REFERENCE, 0.5).to_dict() == {300: -1.0}
    assert more_than(TABLE, FORCE.title, REFERENCE, 0.3).empty


def test_the_summary_has_a_row_a_way() -> None:
    found = initialisation_summary(TABLE, 0.8).set_index("way")
    assert list(found.index) == list(WAYS)
    assert found.loc[DENSE, ["pruning epoch", "MACs", "emptied layers"]].tolist() == ["–", "100.0 ± 0.0", "–"]
    assert found.loc[REFERENCE, "minus the reference"] == ""
    assert found.loc[by_epi("gradient"), "pruning epoch"] == "11"
    assert found.loc[FORCE.title, "minus the reference"] == "-2.0 [-14.7, 10.7]"
    assert found.loc[SynFlow.title, ["test accuracy", "MACs", "collapsed"]].tolist() == [
        "10.0 ± 0.0", "–", "2 of 2",
    ]  # fmt: skip
    assert [way for way, _ in ways_at(TABLE, 0.3)] == [DENSE]


def test_widths_are_shares_of_the_dense_layers() -> None:
    found = widths_left(RECORDS, 0.8)
    assert list(found.index) == LAYERS
    assert found["channels"].to_dict() == {layer: WIDTHS[layer] for layer in LAYERS}
    assert set(found["GraSP"]) == {50.0}
    assert found.loc[LAST, SNIP.title] == 0
    assert DENSE not in found
    assert SynFlow.title not in found
    assert widths_left(RECORDS, 0.3).empty


def test_the_finding_is_a_sentence_with_intervals() -> None:
    store = Shelf([r for r in RECORDS if ratio_of(r.spec) in (None, 0.5)])
    assert spaced(finding(Evidence(PROFILE, "full", store))) == (  # type: ignore[arg-type]
        "Against Algorithm 1 in epoch 0 by the gradient criterion, on `resnet8-bottleneck`: FORCE loses 2.0 "
        "points [−10.7, 14.7] (or nothing) at 50 %; iterative SNIP gains 1.0 points [−5.4, 7.4] (or nothing) "
        "at 50 %; leaving random channels gains 0.0 points [0.0, 0.0] (or nothing) at 50 %; waiting for EPI "
        "gains 6.0 points [−32.1, 44.1] (or nothing) at 50 % (2 seeds)."
    )
    assert finding(Evidence(PROFILE, "full", Shelf([]))) == wording.NOT_RUN  # type: ignore[arg-type]


def test_the_figures_draw_what_there_is() -> None:
    whole = ways_side_by_side(TABLE)
    assert len(whole.axes) == 4
    assert [text.get_text() for text in whole.axes[0].get_yticklabels()] == list(WAYS)
    assert isinstance(ways_side_by_side(TABLE.iloc[:0]), Figure)
    assert isinstance(ways_side_by_side(TABLE[TABLE["way"] == DENSE]), Figure)
    widths = widths_left(RECORDS, 0.5)
    drawn = widths_side_by_side(widths)
    assert [text.get_text() for text in drawn.axes[0].get_xticklabels()] == list(WAYS[1:])
    assert isinstance(widths_side_by_side(widths_left([], 0.5)), Figure)


# Training them


def test_a_published_store_gives_what_it_has(tmp_path: Path) -> None:
    from pat.study.store.publishing import publish

    publish(RECORDS[:5], tmp_path / "results")
    found = initialisation_records(PROFILE, "full", open_store(tmp_path / "results"))
    assert [r.id for r in found] == [r.id for r in RECORDS[:5]]


def test_a_working_store_trains_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cells.EXTENTS, "study", Extent(ratios=(0.5,), seeds=(300,)))
    monkeypatch.setattr(cells, "RULES", (SNIP,))
    monkeypatch.setattr(cells, "CRITERIA", ("gradient",))
    changes = {"dataset": "digits", "recipe": tiny.recipe(epochs=5)}
    smoke, store = load_profile("smoke").model_copy(update=changes), Store(tmp_path)
    records = initialisation_records(smoke, "study", store)
    assert recorded(initialisation_specs(smoke, "study"), store) == records
    table = initialisation_table(records)
    assert table["way"].tolist() == [DENSE, by_epi("gradient"), REFERENCE, SNIP.title]
    assert table["accuracy"].notna().all()
    assert "waiting for EPI" in finding(Evidence(smoke, "study", store))
