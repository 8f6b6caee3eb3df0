"""Comparisons: which runs stand where, and tables, sentence and figures of made-up records."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
from test_analysis import epoch
from test_record import ORIGIN
from test_statistics import Shelf
from test_wording import spaced

from pat.rivals.gpwp import GradualPruningSettings
from pat.rivals.initialisation import FORCE, SNIP, IterativeSNIP, SynFlow
from pat.rivals.lfpc import LearnedCriteriaSettings
from pat.study import wording
from pat.study.analysis.remains import layers_at_start
from pat.study.experiments.comparisons.along_the_way import ALONG_THE_WAY
from pat.study.experiments.comparisons.at_initialisation import AT_INITIALISATION, RULES
from pat.study.experiments.comparisons.catalogue import COMPARISONS
from pat.study.experiments.comparisons.chapter import Chapter
from pat.study.experiments.comparisons.comparison import (
    DENSE,
    Cell,
    Comparison,
    Extent,
    algorithm1,
    at_a_third,
    by_epi,
    recorded,
)
from pat.study.experiments.comparisons.finding import finding
from pat.study.experiments.comparisons.networks import NETWORKS, OTHER_NETWORKS
from pat.study.experiments.comparisons.recipes import OTHER_RECIPES
from pat.study.experiments.comparisons.summaries import (
    comparison_summary,
    comparison_table,
    more_than,
    panels_of,
    ways_of,
    widths_left,
)
from pat.study.experiments.evidence import Evidence
from pat.study.plan.profile import list_profiles, load_profile
from pat.study.store import Published, Store, open_store
from pat.study.store.record import CostRecord, Record, Result

PROFILE = load_profile("digits")
WIDTHS = layers_at_start(PROFILE.dataset, PROFILE.architectures[0])["channels"].astype(int).to_dict()
LAYERS = [layer for layer in WIDTHS if layer != "conv1"]
LAST = "layer3.0.conv2"
REFERENCE = algorithm1("gradient")
GAINS = {DENSE: 10.0, by_epi("gradient"): 6.0, FORCE.title: -2.0, IterativeSNIP.title: 1.0}
"""Points beyond the reference; every other way has what it has."""
WAYS = list(AT_INITIALISATION.ways)


def record(cell: Cell) -> Record:
    """Accuracy 70 + seed - 300 of the reference; half of each layer is left, of SNIP's last but one none, and
    SynFlow at 80 % collapses."""
    way, spec = cell.way, cell.spec
    lost = way == SynFlow.title and cell.panel == "80 %"
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


def some(comparison: Comparison, seeds: Iterable[int]) -> tuple[list[Cell], list[Record]]:
    cells = comparison.cells(PROFILE, "full", seeds)
    return cells, list({cell.spec: record(cell) for cell in cells}.values())


CELLS, RECORDS = some(AT_INITIALISATION, (300, 301))
TABLE = comparison_table(CELLS, RECORDS)


# Which runs


@pytest.mark.parametrize("comparison", COMPARISONS.values(), ids=COMPARISONS)
def test_every_panel_has_every_way_with_every_seed(comparison: Comparison) -> None:
    cells = comparison.cells(PROFILE, "full")
    panels = comparison.extent("full").panels
    assert [(cell.panel, cell.way, cell.spec.seed) for cell in cells] == [
        (panel, way, seed) for seed in range(300, 310) for panel in panels for way in comparison.ways
    ]
    runs = comparison.runs(PROFILE, "full")
    assert len(runs) == len(set(runs))
    assert {cell.spec for cell in cells} == set(runs)
    assert {comparison.reference[0], *comparison.told} <= set(comparison.ways)


def test_a_dense_run_stands_at_all_ratios() -> None:
    assert len(AT_INITIALISATION.runs(PROFILE, "full")) == 210  # 10 seeds: a dense one, and 10 ways twice
    assert len({cell.spec for cell in CELLS if cell.way == DENSE}) == 2
    assert sum(cell.way == DENSE for cell in CELLS) == 4


def test_published_runs_of_the_comparison_are_still_its_own() -> None:
    """Their ids are hashes of their specs: what is refactored leaves them."""
    from pat.files import paths

    store = Published(paths.RESULTS)
    assert len(recorded(AT_INITIALISATION.runs(PROFILE, "full"), store)) >= 82


def test_schedules_are_their_authors() -> None:
    rules = {spec.method for spec in AT_INITIALISATION.runs(PROFILE, "quick") if spec.method}
    assert rules == {rule(0.5) for rule in RULES}
    assert {FORCE(0.5, steps=60), IterativeSNIP(0.5, steps=60), SynFlow(0.5, steps=100)} <= rules


def test_epi_has_the_published_thresholds_and_waits_to_a_third() -> None:
    by_criterion = {
        spec.pruning.criterion: spec.pruning.policy.options()
        for spec in AT_INITIALISATION.runs(PROFILE, "quick", (300,))
        if spec.pruning and spec.prune_epoch is None
    }
    assert {name: options["threshold"] for name, options in by_criterion.items()} == PROFILE.tau
    assert {options["fallback"] for options in by_criterion.values()} == {30}


def test_gradual_steps_and_learned_criteria_fit_the_schedule() -> None:
    methods = {
        cell.way: cell.spec.method for cell in ALONG_THE_WAY.cells(PROFILE, "quick") if cell.spec.method
    }
    gradual, learned = methods[GradualPruningSettings.title], methods[LearnedCriteriaSettings.title]
    assert isinstance(gradual, GradualPruningSettings)
    assert list(gradual.ends) == [9, 19, 29, 39, 49, 59]
    assert learned == LearnedCriteriaSettings(0.5, epoch=30)


def test_networks_and_recipes_differ_in_one_thing_each() -> None:
    dense = {c.panel: c.spec for c in OTHER_RECIPES.cells(PROFILE, "quick", (300,)) if c.way == DENSE}
    usual = dense["as in the paper"]
    assert usual == PROFILE.spec(seed=300)
    assert (dense["AdamW"].recipe.optimizer, dense["constant rate"].recipe.schedule) == ("adamw", "constant")
    assert dense["half of the images"].recipe.slices == 2 * usual.recipe.slices
    assert dense["digits of 8 pixels"].dataset == "digits"
    assert {spec.recipe.epochs for spec in dense.values()} == {90}
    networks = {c.panel: c.spec for c in OTHER_NETWORKS.cells(PROFILE, "quick", (300,)) if c.way == DENSE}
    assert {panel: spec.architecture for panel, spec in networks.items()} == {
        panel: network.architecture for panel, network in NETWORKS.items()
    }


@pytest.mark.parametrize("name", list_profiles())
def test_no_sweep_of_any_profile_has_the_seeds(name: str) -> None:
    seeds = {seed for own in COMPARISONS.values() for extent in own.extents.values() for seed in extent.seeds}
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
        AT_INITIALISATION.runs(PROFILE, "all")
    with pytest.raises(ValueError, match="no seed 200 in preset 'full'"):
        AT_INITIALISATION.runs(PROFILE, "full", (300, 200))


# What they gave


def test_a_row_a_cell_in_the_order_of_panels_and_ways() -> None:
    assert panels_of(TABLE) == ["50 %", "80 %"]
    assert [way for way, _ in ways_of(TABLE, "80 %")] == WAYS
    assert len(TABLE) == 44
    own = TABLE[(TABLE["way"] == SNIP.title) & (TABLE["panel"] == "50 %")].iloc[0]
    numbers = own[["seed", "epoch", "macs", "parameters", "training", "emptied"]].tolist()
    assert numbers == [300, 0, 40, 30, 50, 1]
    lost = TABLE[(TABLE["way"] == SynFlow.title) & (TABLE["panel"] == "80 %")].iloc[0]
    assert (lost["status"], lost["accuracy"]) == ("collapsed", 10.0)
    assert lost[["macs", "parameters", "training", "emptied"]].isna().all()
    assert comparison_table(CELLS, []).empty


def test_differences_are_paired_by_seed() -> None:
    assert more_than(TABLE, FORCE.title, REFERENCE, "50 %").to_dict() == {300: -1.0, 301: -3.0}
    assert more_than(TABLE, DENSE, REFERENCE, "80 %").to_dict() == {300: 5.0, 301: 15.0}
    lacking = TABLE[(TABLE["way"] != REFERENCE) | (TABLE["seed"] != 301)]
    assert more_than(lacking, FORCE.title, REFERENCE, "50 %").to_dict() == {300: -1.0}
    assert more_than(TABLE, FORCE.title, REFERENCE, "30 %").empty


def test_the_summary_has_a_row_a_way() -> None:
    cells, records = some(AT_INITIALISATION, (300, 301, 302))
    found = comparison_summary(comparison_table(cells, records), "80 %", REFERENCE).set_index("way")
    assert list(found.index) == WAYS
    assert found.loc[DENSE, ["pruning epoch", "MACs", "emptied layers"]].tolist() == ["–", "100.0 ± 0.0", "–"]
    assert found.loc[FORCE.title, "test accuracy"] == "69.3 ± 3.8"
    assert found.loc[REFERENCE, "minus the reference"] == ""
    assert found.loc[by_epi("gradient"), "pruning epoch"] == "11"
    assert found.loc[FORCE.title, "minus the reference"] == "−1.7 [−4.5, 1.2]"
    assert found.loc[SynFlow.title, ["test accuracy", "MACs", "collapsed"]].tolist() == [
        "10.0 ± 0.0", "–", "3 of 3",
    ]  # fmt: skip


def test_widths_are_shares_of_the_dense_layers() -> None:
    found = widths_left(CELLS, RECORDS, "80 %")
    assert list(found.index) == LAYERS
    assert found["channels"].to_dict() == {layer: WIDTHS[layer] for layer in LAYERS}
    assert set(found["GraSP"]) == {50.0}
    assert found.loc[LAST, SNIP.title] == 0
    assert DENSE not in found
    assert SynFlow.title not in found
    assert widths_left(CELLS, RECORDS, "30 %").empty


def test_the_finding_is_a_sentence_with_intervals() -> None:
    store = Shelf(record(cell) for cell in CELLS if cell.panel == "50 %")
    assert spaced(finding(AT_INITIALISATION, Evidence(PROFILE, "full", store))) == (  # type: ignore[arg-type]
        "Against Algorithm 1 in epoch 0 by the gradient criterion, on `resnet8-bottleneck`: FORCE loses 2.0 "
        "points [−10.7, 14.7] (or nothing) at 50 %; iterative SNIP gains 1.0 points [−5.4, 7.4] (or nothing) "
        "at 50 %; leaving random channels gains 0.0 points [0.0, 0.0] (or nothing) at 50 %; waiting for EPI "
        "gains 6.0 points [−32.1, 44.1] (or nothing) at 50 % (2 seeds). The best of the other methods at "
        "50 %, picked afterwards, is iterative SNIP: it gains 1.0 points [−5.4, 7.4] (or nothing) and leaves "
        "40 % of the multiply-accumulates, where Algorithm 1 in epoch 0 by the gradient criterion leaves "
        "40 %."
    )
    nothing = Evidence(PROFILE, "full", Shelf([]))  # type: ignore[arg-type]
    assert finding(AT_INITIALISATION, nothing) == wording.NOT_RUN
    _, records = some(OTHER_NETWORKS, (300, 301))
    several = finding(OTHER_NETWORKS, Evidence(PROFILE, "full", Shelf(records)))  # type: ignore[arg-type]
    assert "waiting for EPI gains 6.0 points" in spaced(several)
    assert "on ConvNeXt" in several
    assert "on `" not in several  # of several networks none is the sentence's
    assert "best" not in several  # it has no panel for that


def test_a_chapter_says_what_is_missing_and_on_what_scale() -> None:
    chapter = Chapter(AT_INITIALISATION, PROFILE, "full", Shelf(RECORDS), RECORDS)  # type: ignore[arg-type]
    assert "*168 of 210 runs of this comparison are not run yet.*" in chapter.lead()
    assert "no claim is decided from these runs" in chapter.scale()
    assert [str(styler.caption)[:5] for styler in chapter.summaries()] == ["50 %.", "80 %."]
    assert chapter.cost().startswith("**Cost.** 42 runs, ")


# Training them


def test_a_published_store_gives_what_it_has(tmp_path: Path) -> None:
    from pat.study.store.publishing import publish

    publish(RECORDS[:5], tmp_path / "results")
    found = AT_INITIALISATION.records(PROFILE, "full", open_store(tmp_path / "results"))
    assert {r.id for r in found} == {r.id for r in RECORDS[:5]}


@pytest.mark.parametrize(
    ("comparison", "panel", "ways"),
    [
        (AT_INITIALISATION, "50 %", (DENSE, by_epi("gradient"), REFERENCE, SNIP.title)),
        (ALONG_THE_WAY, "50 %", tuple(ALONG_THE_WAY.ways)),
        (OTHER_NETWORKS, "ConvNeXt", (DENSE, at_a_third("gradient"))),
        (OTHER_RECIPES, "AdamW", (DENSE, REFERENCE)),
        (OTHER_RECIPES, "digits of 8 pixels", (DENSE, at_a_third("gradient"))),
    ],
    ids=lambda value: value.name if isinstance(value, Comparison) else None,
)
def test_a_working_store_trains_them(
    comparison: Comparison, panel: str, ways: tuple[str, ...], tmp_path: Path
) -> None:
    few = replace(
        comparison,
        extents={"study": Extent((panel,), (300,))},
        specs=lambda *where: {w: s for w, s in comparison.specs(*where).items() if w in ways},
    )
    changes = {"dataset": "digits", "recipe": tiny.recipe(epochs=5)}
    smoke, store = load_profile("smoke").model_copy(update=changes), Store(tmp_path)
    records = few.records(smoke, "study", store)
    assert recorded(few.runs(smoke, "study"), store) == records
    table = comparison_table(few.cells(smoke, "study"), records)
    assert sorted(table["way"]) == sorted(ways)
    assert table["accuracy"].notna().all()
