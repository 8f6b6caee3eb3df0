"""The pages of discussion and practice: hand-made records in, rows and sentences out."""

from pathlib import Path

import pytest
from test_facts import book, claims, records, study
from test_policies import SETTLES, block, profile, sweep_of, trunk
from test_statistics import Shelf
from test_wording import spaced

from pat.files import paths
from pat.study.claims.claims import Claims
from pat.study.claims.verdicts import Study
from pat.study.experiments.evidence import Evidence
from pat.study.report.pages import discussion, practice

__all__ = ["book", "claims"]  # fixtures


def settled() -> Study:
    """One network and criterion, two seeds: the oracle is epoch 8, EPI prunes in 7 and loses three points."""
    scale = profile(block(epochs=(0, 4, 7, 8), seeds=(0, 1)), tau=1.0)
    accuracies = {0: (60.0, 60.0), 4: (72.0, 72.0), 7: (77.0, 77.0), 8: (80.0, 80.0)}
    own = [record for seed in (0, 1) for record in sweep_of(trunk(SETTLES, seed=seed), accuracies)]
    return Study(Evidence(scale, "full", Shelf(own)), [])  # type: ignore[arg-type]


def test_without_runs_the_pages_say_so(claims: Claims, book: Path) -> None:
    empty = [study(claims, [])]
    assert set(discussion.facts(empty, book).values()) == {discussion.NONE}
    assert set(practice.facts(empty).values()) == {practice.NONE}


def test_rules_are_held_against_each_other() -> None:
    found = discussion.facts([settled()], paths.BOOK)
    (row,) = found["rules_table"]
    assert spaced(row["Initialisation"]) == "20.0 [20.0, 20.0]"
    assert spaced(row["EPI"]) == "3.0 [3.0, 3.0]"
    assert spaced(row["EPI's less a third's"]) == "−5.0 [−5.0, −5.0]"
    assert found["rules"].endswith(
        f"EPI loses less than a fixed third on `{row['Network']}` by gradient, more on none."
    )


def test_epis_epochs_stand_beside_the_oracles() -> None:
    (row,) = discussion.facts([settled()], paths.BOOK)["moments"]
    assert row["EPI fires"] == "2 of 2"
    assert row["In epoch"] == "7 (7 to 7)"
    assert row["The oracle's epoch"] == "8 (8 to 8)"
    assert spaced(row["EPI's regret less a third's"]) == "−5.0 [−5.0, −5.0]"


def test_the_structure_left_stands_beside_the_one_watched() -> None:
    (row,) = discussion.facts([settled()], paths.BOOK)["watched"]
    assert set(row) == {"Scale", "Criterion", "50 %"}
    assert 0 <= float(row["50 %"].split()[0]) <= 1


def test_what_initialisation_leaves_is_a_share_of_the_dense_accuracy(claims: Claims, book: Path) -> None:
    text = discussion.facts([study(claims, records())], book)["scale"]
    assert spaced(text).endswith("75 % [73, 77] by gradient.")


def test_the_audit_counts_the_papers_own_numbers() -> None:
    text = discussion.facts([], paths.BOOK)["audit"]
    numbers = [int(word) for word in text.replace(",", "").split() if word.isdigit()]
    assert numbers[0] == sum(numbers[1:])


def test_a_ratio_costs_accuracy_and_saves_training() -> None:
    (row,) = practice.facts([settled()])["ratios"]
    assert row["Pruned"] == "50 %"
    assert row["EPI fires"] == "2 of 2"
    assert row["Time, %"] == "–"
    assert row["Measured step, % of the dense one"] == "–"


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ((0.9, 0.91), "is faster than the dense one at every ratio."),
        ((0.98, 1.04), "is no faster than the dense one at 50 %."),
        ((1.05, 1.051), "is slower than the dense one at 50 %."),
    ],
)
def test_a_step_that_may_be_as_slow_is_no_faster(
    shares: tuple[float, float], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = practice._by_epi(settled()).assign(step_share=shares)
    monkeypatch.setattr(practice, "_by_epi", lambda study: table)
    assert said in practice.facts([settled()])["slower"]
