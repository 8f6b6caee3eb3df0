"""Others' rules asked of records: made-up runs, worked by hand."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from matplotlib.figure import Figure
from test_analysis import epoch
from test_statistics import evidence
from test_triggers import EPOCHS, FIRST, TRACKING, block, profile, sweep_of, watched

from pat.policy import EPI, NamedPolicy, Seen, Trigger
from pat.rivals.triggers import EarlyBERT, EarlyBird, LossPlateau, OCSPruner, ShareOfSchedule, Spearman
from pat.stability import Structure, similarity
from pat.study.analysis.stability import epi_epoch
from pat.study.experiments.rival_triggers.decisions import TUNED, Sweep, rival_decisions, swept, tuned_rivals
from pat.study.experiments.rival_triggers.figures import rules_side_by_side
from pat.study.experiments.rival_triggers.finding import finding
from pat.study.experiments.rival_triggers.left import (
    LEFT,
    ONE_SHOT,
    grid_signal,
    left_against_one_shot,
    left_decisions,
)
from pat.study.experiments.rival_triggers.rules import askable, rival_rules, rules
from pat.study.experiments.rival_triggers.summaries import (
    instability_spent,
    rival_epochs,
    rival_regrets,
    rival_summary,
    same_cells,
)
from pat.study.experiments.rival_triggers.told import NotRecorded, epochs_told, replay
from pat.study.experiments.stability.triggers import FIXED, trigger_table
from pat.study.plan.profile import load_profile
from pat.study.store import open_store
from pat.study.store.record import Record

DISTANCES = [None, 0.4, 0.3, 0.1, 0.1, 0.05, 0.1, 0.0, *[0.0] * 4]
RESULTS = Path(__file__).resolve().parents[3] / "results"
SWEPT = {0: (40.0, 40.0), 4: (80.0, 80.0), 8: (60.0, 70.0)}


def when(policy: NamedPolicy, record: Record) -> int | None:
    return replay(policy, record, "gradient", 0.5).epoch


def decided(sweep: Sweep) -> pd.DataFrame:
    return rival_decisions(sweep, tuned_rivals(sweep))


# What a record tells


def test_what_a_record_knows_is_told() -> None:
    record = watched(previous={"hamming": DISTANCES}, window={"spearman": [0.25] * EPOCHS})
    counts, seen = list(epochs_told(record, "gradient", 0.5))[3]
    assert counts == {"conv": 3}
    assert seen.loss == 1.0
    assert seen.before == {"spearman": 0.5, "kendall": 0.5, "hamming": 0.1, "jaccard": 0.5}
    assert (seen.window["spearman"], seen.look_back) == (0.25, TRACKING.look_back)
    for gone in (seen.scores, seen.kept):
        asked: list[Callable[[Any], object]] = [lambda of: of["conv"], len, lambda of: list(of.items())]
        for ask in asked:
            with pytest.raises(NotRecorded, match="which records do not keep"):
                ask(gone)
    with pytest.raises(ValueError, match=r"did not watch gradient at ratio 0\.3"):
        next(epochs_told(record, "gradient", 0.3))


def test_the_decision_is_the_policys_own() -> None:
    record = watched(
        previous={"hamming": DISTANCES, "jaccard": [None, *[0.5] * 4, *[0.99] * 7]},
        window={"spearman": [0.1 * at for at in range(EPOCHS)]},
        counts=(1, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2),
    )
    assert when(EarlyBERT(), record) == 4  # 0.1 after epoch 3
    assert when(EarlyBird(), record) == 8  # 0.3 of epoch 2 has left the last five after epoch 7
    assert when(EarlyBird(window=2), record) == 5
    assert when(OCSPruner(apart=1), record) == 8  # three of 0.99 after epoch 7
    assert when(Spearman(0.45, look_back=2), record) == 6
    assert when(LossPlateau(), record) == 5  # the loss never moves
    assert when(EarlyBERT(threshold=0.01, fallback=2), record) == 2
    for tau, patience in ((0.9, 0), (1.0, 2)):
        policy = EPI(tau, TRACKING.look_back, patience)
        assert when(policy, record) == epi_epoch(record, "gradient", 0.5, tau, TRACKING.look_back, patience)
    assert when(ShareOfSchedule(), record) == 4


def test_after_the_last_epoch_there_is_none_to_prune_in() -> None:
    late = watched(previous={"hamming": [None, *[0.5] * (EPOCHS - 2), 0.0]})
    assert when(EarlyBERT(), late) is None


def test_a_loss_that_was_no_number_is_told_as_one_that_is_not_finite() -> None:
    record = watched()
    lost = tuple(entry.model_copy(update={"loss": None}) for entry in record.history)
    assert when(LossPlateau(), record.model_copy(update={"history": lost})) is None


# Which rules


def cell_of(records: list[Record]) -> Any:
    return swept(records, profile()).cells[0]


def test_a_rule_that_needs_masks_is_named_and_its_nearest_is_asked() -> None:
    cell = cell_of(sweep_of(watched(), SWEPT))
    found, refused = askable(profile(), cell)
    names = [rule.name for rule in found]
    assert names[0] == "EPI"
    assert "OCSPruner" not in names
    assert "OCSPruner, 1 apart" in names
    assert refused == {"OCSPruner": "it needs the masks of every epoch, which records do not keep"}
    assert [rule.name for rule in found if not rule.published] == [
        "Kendall's rank correlation",
        "Spearman's rank correlation",
    ]
    table = rival_rules(profile(), [cell], pd.DataFrame(columns=["criterion", "rule", "threshold"]))
    told = table.set_index("rule")["replayed"]
    assert told["OCSPruner, 1 apart"] == "masks one epoch apart, not 2"
    assert told["OCSPruner"].startswith("not asked: it needs the masks")
    assert table.set_index("rule").loc["EPI", "published"] == "0.7"
    assert table.set_index("rule").loc["a third of the schedule", "earliest"] == "4"


def test_a_schedule_that_is_too_short_is_said() -> None:
    short = profile().recipe.model_copy(update={"epochs": 4})
    found, refused = rules(profile().model_copy(update={"recipe": short}), "gradient")
    assert "Early-Bird" not in [rule.name for rule in found]
    assert refused["Early-Bird"].startswith("Early-Bird prunes in epoch 6 at the earliest")


def test_a_plugin_that_watches_is_asked_too(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclasses.dataclass(frozen=True)
    class Third(Trigger):
        kind, title, source = "third", "the third structure", "this test"

        def signal(self, counts: Structure, seen: Seen | None) -> float | None:
            return float(len(self.values))

        def fires(self, value: float) -> bool:
            return value == 2

    from pat.policy import POLICIES

    monkeypatch.setitem(POLICIES._entries, "third", Third)
    records = sweep_of(watched(), SWEPT)
    table = decided(swept(records, profile()))
    own = table[table["rule"] == "the third structure"]
    assert own["epoch"].tolist() == [3]
    assert own["thresholds"].tolist() == [""]


# Decisions


def test_a_pick_between_two_epochs_counts_linearly_and_silence_at_a_third() -> None:
    records = sweep_of(watched(previous={"hamming": [None, *[0.5] * 4, *[0.0] * 7]}), SWEPT)
    table = decided(swept(records, profile()))
    published = table[table["thresholds"] != "tuned"].set_index("rule")
    bert = published.loc["EarlyBERT"]
    assert (bert["epoch"], bert["triggered"], bert["accuracy"], bert["regret"]) == (6, True, 70.0, 10.0)
    assert bert["training"] == pytest.approx(70)  # every made-up run's
    third = published.loc["a third of the schedule"]
    assert (third["epoch"], third["regret"]) == (4, 0)
    silent = published.loc["OCSPruner, 1 apart"]
    assert (silent["epoch"], silent["triggered"], silent["regret"]) == (4, False, 0)
    assert published.loc["initialisation", "regret"] == 40
    assert published.loc["oracle", "epoch"] == 4
    assert math.isnan(published.loc["oracle", "threshold"])


def test_thresholds_are_tuned_in_the_rules_own_unit() -> None:
    # Down to 0.3 it prunes in epoch 3, at 0.2 in epoch 4, the best on validation, at 0.1 in epoch 8.
    distances = [None, 0.4, 0.3, 0.2, 0.2, 0.2, 0.2, 0.1, *[0.1] * 4]
    indices = [None, 0.1, 0.2, 0.3, 0.3, 0.3, 0.3, 0.9, *[0.9] * 4]
    records = sweep_of(watched(previous={"hamming": distances, "jaccard": indices}), SWEPT)
    sweep = swept(records, profile())
    tuned = tuned_rivals(sweep).set_index("rule")["threshold"]
    assert tuned["EarlyBERT"] == 0.2
    own = decided(sweep).set_index(["rule", "thresholds"])
    untuned = rival_decisions(sweep, pd.DataFrame(columns=TUNED))
    published = decided(sweep).query("thresholds != 'tuned'").reset_index(drop=True)
    pd.testing.assert_frame_equal(untuned, published)
    assert own.loc[("EarlyBERT", "tuned"), "epoch"] == 4
    assert own.loc[("EarlyBERT", "tuned"), "threshold"] == 0.2
    assert own.loc[("OCSPruner, 1 apart", "tuned"), "epoch"] == 4  # a mean of 0.2, of three indices
    assert ("Spearman's rank correlation", "published") not in own.index


# Structures that Algorithm 1 left


def test_epi_of_a_few_structures_worked_by_hand() -> None:
    seen = {0: {"a": 4, "b": 4}, 4: {"a": 2, "b": 6}, 6: {"a": 2, "b": 6}, 12: {"a": 2, "b": 6}}
    early = similarity(seen[0], seen[4])
    assert grid_signal(seen, look_back=4, patience=0) == {4: early, 6: 1.0}
    assert grid_signal(seen, look_back=6, patience=2) == {4: early, 6: (1 + early) / 2, 12: 1.0}
    assert grid_signal({0: seen[0], 12: seen[12]}, look_back=6, patience=2) == {}
    falling = {0: seen[4], 1: seen[4], 2: seen[0]}
    assert grid_signal(falling, look_back=1, patience=1) == {1: 1.0}
    assert grid_signal(falling, look_back=1, patience=0) == {1: 1.0, 2: early}


def branches(of: Record, structures: dict[int, int]) -> list[Record]:
    """The sweep with the channels that Algorithm 1 left of the one layer, by epoch."""
    records = sweep_of(of, {at: SWEPT[at] for at in structures})
    left = [
        record.model_copy(update={"history": (epoch(at, "prune", structure={"conv": n}),)})
        for record, (at, n) in zip(records[1:], structures.items(), strict=True)
    ]
    return [records[0], *left]


def test_the_structure_that_is_left_decides_and_the_control_sees_the_one_shot_one() -> None:
    wide = profile().model_copy(update={"tracking": TRACKING.model_copy(update={"look_back": 4})})
    one_shot = (1,) * 4 + (9,) * 4 + (9,) * 4  # Psi of epochs 0 and 4 is 0.2, of 4 and 8 it is 1
    dense = watched(counts=one_shot, tracking=wide.tracking)
    records = branches(dense, {0: 5, 4: 5, 8: 5})
    table = left_decisions(records, swept(records, wide))
    published = table[table["thresholds"] == "published"].set_index("rule")
    assert published.loc[LEFT, "epoch"] == 5  # nothing moves: after epoch 4
    assert published.loc[ONE_SHOT, "epoch"] == 9
    assert published.loc[LEFT, "regret"] == 5  # a quarter of the way from 80 to 60
    compared = left_against_one_shot(pd.concat([table, table.assign(seed=1)]))
    assert compared["more than one-shot"].iloc[0].startswith("−15.0")  # 5 points instead of 20


def test_a_grid_that_is_too_coarse_has_no_such_rule() -> None:
    records = branches(watched(), {0: 5, 4: 5, 8: 5})
    assert left_decisions(records, swept(records, profile())).empty  # r = 2


# Tables and figures


def both_seeds() -> pd.DataFrame:
    return decided(swept(both_seeds_runs(), profile(block(seeds=(0, 1)))))


def both_seeds_runs() -> list[Record]:
    return [
        record
        for seed in (0, 1)
        for record in sweep_of(watched(previous={"hamming": [None, *[0.1 * seed] * 11]}, seed=seed), SWEPT)
    ]


def test_the_finding_says_whose_numbers_decide() -> None:
    found = finding(evidence(*both_seeds_runs(), profile=profile(block(seeds=(0, 1)))))
    assert "EarlyBERT 20.0 [20.0,\N{NO-BREAK SPACE}20.0] in epoch 2" in found
    assert found.endswith(
        "(2 seeds). Between the grid's epochs accuracy is interpolated here; the chapter on policies, which "
        "trained the very epochs, has other numbers, and its word decides."
    )


def test_tables_say_who_was_silent() -> None:
    table = both_seeds()
    rows = rival_summary(table).set_index("rule")
    assert rows.loc["EarlyBERT", ["epoch", "triggered", "training"]].tolist() == ["2.0", "2 of 2", "70"]
    assert rows.loc["EarlyBERT", "regret"] == "20.0 [20.0, 20.0]"
    assert rows.loc["OCSPruner, 1 apart", ["epoch", "triggered"]].tolist() == ["–", "0 of 2"]
    assert rows.loc["EPI", ["epoch", "regret"]].tolist() == ["3.0", "10.0 [10.0, 10.0]"]
    assert rows.loc["EarlyBERT", "more than EPI"] == "10.0 [10.0, 10.0]"
    assert rows.index[-1] == "oracle"
    epochs = rival_epochs(table)
    assert epochs.loc[(FIRST, "gradient", "OCSPruner, 1 apart"), "50 %"] == "– (0 of 2)"
    regrets = rival_regrets(table)
    assert regrets.loc[(FIRST, "gradient", "OCSPruner, 1 apart"), "50 %"] == "0.0 ± 0.0*"
    assert regrets.loc[(FIRST, "gradient", "EPI"), "50 %"] == "10.0 ± 0.0"
    assert "oracle" not in regrets.index.get_level_values("rule")
    assert len(same_cells(table, table[table["seed"] == 1])) == len(table) / 2


def test_the_figure_has_a_row_for_each_rule() -> None:
    table = both_seeds()
    figure = rules_side_by_side(table, FIRST, "gradient")
    assert isinstance(figure, Figure)
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert labels[0] == "EPI"
    assert sorted(labels) == sorted(set(table["rule"]))
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in figure.axes[0].get_yticklabels()]
    assert not any(a.overlaps(b) for at, a in enumerate(boxes) for b in boxes[at + 1 :])
    assert isinstance(rules_side_by_side(table, FIRST, "magnitude"), Figure)  # without any run


def test_what_the_instability_would_cost() -> None:
    # Epochs 0, 4 and 8 of 12: two trainings of 12, of 8 and of 4 epochs.
    assert instability_spent(profile(), "full") == (3, pytest.approx(2 * (12 + 8 + 4) / 12))


# The same by another chapter


def test_on_published_runs_the_stability_chapter_says_the_same() -> None:
    scale = load_profile("digits-24").of_seeds([3])
    store = open_store(RESULTS)
    records = [record for spec in scale.sweep("full") if (record := store.record(spec))]
    if len(records) < 100:
        pytest.skip("the published runs of digits-24 are not there")
    names = {
        "EPI": "EPI",
        "Early-Bird": "mask Hamming",
        "OCSPruner, 1 apart": "mask Jaccard",
        "Kendall's rank correlation": "Kendall",
        "Spearman's rank correlation": "Spearman",
        "a third of the schedule": FIXED,
    }
    here = decided(swept(records, scale))
    here = here[here["rule"].isin(names)].assign(measure=here["rule"].map(names))
    there = trigger_table(records, scale).dropna(subset=["regret"])
    keys = ["architecture", "criterion", "ratio", "seed", "measure", "thresholds"]
    both = here.merge(there, on=keys, how="outer", suffixes=("", "_there"), indicator=True)
    assert set(both["_merge"]) == {"both"}
    assert both["epoch"].tolist() == both["epoch_there"].tolist()
    assert both["regret"].tolist() == both["regret_there"].tolist()
