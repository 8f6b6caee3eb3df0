"""The book's numbers, from hand-made records."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from test_analysis import epoch, scored
from test_record import ORIGIN, example
from tiny import dense, pruned, recipe

from pat.stability import similarity
from pat.study import facts as module
from pat.study.analysis import interval, runs_table
from pat.study.facts import OUTPUT, facts, main
from pat.study.profile import Contrast, Profile, load_profile
from pat.study.record import Record
from pat.study.spec import Tracking
from pat.study.store import Store

EPOCHS = recipe(epochs=6)
LAYERS = ("conv", "layer1.0.conv1")
SETTLED = [(6, 6)] * 6
RESTLESS = [(9, 3), (3, 9)] * 3
LEFT = {"conv": 4, "layer1.0.conv1": 8}
ACCURACIES = {0: (70.0, 73.0, 70.0), 2: (80.0, 81.0, 82.0), 5: (75.0, 77.0)}
SAYS, WHAT, MEASURED = "The paper says", "Pruning", "Measured here [95 % interval]"


@pytest.fixture(scope="module")
def profile() -> Profile:
    settings = {
        "architectures": ("resnet8-basic", "resnet8-bottleneck"),
        "recipe": EPOCHS,
        "tracking": Tracking(ratios=(0.5, 0.8), look_back=1),
        "patience": 1,
        "tau": {"magnitude": 0.983, "gradient": 0.944},
        "contrast": Contrast(reference=2, last=5),
    }
    return load_profile("smoke").model_copy(update=settings)


def watched(seed: int, values: tuple[float, float], **changes: Any) -> Record:
    """A dense run: at 50 % settled from the start, at 80 % never; ``values``: EPI at both ratios."""
    history = []
    for number in range(6):
        at = {
            ratio: {"counts": list(counts[number]), "psi": [value if number else None] * 2,
                    "hamming": [None, 0.1], "jaccard": [None, 0.7]}
            for ratio, counts, value in zip(("0.5", "0.8"), (SETTLED, RESTLESS), values, strict=True)
        }  # fmt: skip
        row = {"spearman": [None, 0.6], "kendall": [None, 0.4], "ratios": at}
        history.append(epoch(number, tracked={"gradient": row, "magnitude": row}))
    spec = dense(seed=seed, recipe=EPOCHS, **changes)
    return example(spec, trunk=None, layers=LAYERS, history=tuple(history))


def branch(at: int, seed: int, accuracy: float | None) -> Record:
    history = (epoch(at, "prune", structure=LEFT),) if accuracy is not None else ()
    spec = pruned(at, seed=seed, recipe=EPOCHS)
    return scored(spec, accuracy).model_copy(update={"history": history})


@pytest.fixture(scope="module")
def records() -> list[Record]:
    """Three seeds, the third without a run at epoch 5; another network with more seeds."""
    found = [watched(seed, (0.9, 0.8)) for seed in (0, 1)] + [watched(2, (0.8, 0.9))]
    for at, accuracies in ACCURACIES.items():
        found += [branch(at, seed, accuracy) for seed, accuracy in enumerate(accuracies)]
    found.append(branch(5, 2, None))
    others = {"architecture": "resnet8-bottleneck", "recipe": EPOCHS}
    return found + [scored(pruned(at, seed=s, **others), 10.0) for at in (0, 2) for s in range(5)]


def findings(records: list[Record], profile: Profile, statement: str) -> list[dict[str, str]]:
    return [row for row in facts(records, profile)["findings"] if statement in row[SAYS]]


def test_what_the_pages_quote(records: list[Record], profile: Profile) -> None:
    found = facts(records, profile)
    assert list(found) == ["scale", "findings", "runs", "environment"]
    assert json.loads(json.dumps(found)) == found
    for text in (profile.name, profile.title, "resnet8-basic, resnet8-bottleneck", "6 epochs", "5 seeds"):
        assert text in found["scale"]
    assert f"; {len(records)} runs." in found["scale"]


def test_early_and_late_with_their_own_number_of_pairs(records: list[Record], profile: Profile) -> None:
    (early,) = findings(records, profile, "at initialisation")
    half = 4.3027 * 2 / math.sqrt(3)  # of -10, -8 and -12: s = 2, t(0.975, 2) = 4.3027
    assert early[WHAT] == "gradient 50 %"
    assert early[MEASURED] == f"p = 0 against p = 2: -10.0 [{-10 - half:.1f}, {-10 + half:.1f}] points"
    assert early["n"] == "3"
    (late,) = findings(records, profile, "late costs")
    assert late[MEASURED] == f"p = 5 against p = 2: {interval([-5.0, -4.0]).text()} points"
    assert late["n"] == "2"  # the third seed's run failed
    assert "oracle_sweep" in late["Chapter"]


def test_a_statement_without_a_pair_is_left_out(records: list[Record], profile: Profile) -> None:
    fewer = [record for record in records if record.spec.prune_epoch != 5]
    assert findings(fewer, profile, "late costs") == []
    assert len(findings(fewer, profile, "at initialisation")) == 1


def test_epi_and_the_ratio(records: list[Record], profile: Profile) -> None:
    rows = findings(records, profile, "EPI falls")
    assert [row[WHAT] for row in rows] == ["gradient, all ratios", "magnitude, all ratios"]
    text = interval([-1.0, -1.0, 1.0]).text(2)
    assert {row[MEASURED] for row in rows} == {f"rank correlation of EPI with the ratio {text}"}
    assert {row["n"] for row in rows} == {"3"}


def test_where_epi_prunes(records: list[Record], profile: Profile) -> None:
    rows = {row[WHAT]: row for row in findings(records, profile, "published threshold")}
    assert set(rows) == {f"{c} {r}" for c in ("gradient", "magnitude") for r in ("50 %", "80 %")}
    # Settled: values from epoch 1, one earlier value needed, triggers after 2, prunes in 3.
    assert "prunes in epoch 3, 3, 3 of 6" in rows["gradient 50 %"][MEASURED]
    assert "prunes in epoch –, –, – of 6" in rows["magnitude 80 %"][MEASURED]
    assert {row["n"] for row in rows.values()} == {"3"}


def test_the_structure_that_is_left(records: list[Record], profile: Profile) -> None:
    (row,) = findings(records, profile, "Algorithm 1 leaves")
    psi = similarity(dict(zip(LAYERS, SETTLED[0], strict=True)), LEFT)
    assert 0 < psi < 1
    assert row[MEASURED] == f"Ψ = {interval([psi] * 3).text(2)}"
    assert row["n"] == "3"
    # Without its dense run a seed's structure has nothing to be compared with.
    fewer = [r for r in records if r.spec.pruning is not None or r.spec.seed != 2]
    (row,) = findings(fewer, profile, "Algorithm 1 leaves")
    assert row["n"] == "2"


def test_another_record_gives_another_text(records: list[Record], profile: Profile) -> None:
    before = facts(records, profile)
    at = next(i for i, r in enumerate(records) if r.spec.prune_epoch == 0 and r.spec.seed == 1)
    changed = [*records[:at], branch(0, 1, 74.0), *records[at + 1 :]]
    after = facts(changed, profile)
    different = [i for i, row in enumerate(before["findings"]) if row != after["findings"][i]]
    assert [before["findings"][i][SAYS] for i in different] == [
        "Pruning at initialisation is worse than a few epochs later (Sec. 4.1)"
    ]
    assert f"{interval([-10.0, -7.0, -12.0]).text()} points" in after["findings"][different[0]][MEASURED]
    assert after["runs"] == before["runs"]


def test_runs_are_counted_by_their_end(records: list[Record], profile: Profile) -> None:
    changes = {"status": "collapsed", "cost": None, "history": ()}
    collapsed = scored(pruned(4, recipe=EPOCHS), 10.0).model_copy(update=changes)
    rows = facts([*records, collapsed], profile)["runs"]
    table = {(row["Network"], row["Pruning"]): row for row in rows}
    row = table["resnet8-basic", "gradient 50 %"]
    assert [row[name] for name in ("Runs", "Done", "Collapsed", "Failed")] == ["10", "8", "1", "1"]
    assert row["Minutes of training"] == f"{10 * ORIGIN.seconds / 60:.1f}"
    assert table["resnet8-basic", "dense"]["Runs"] == "3"
    assert sum(int(row["Runs"]) for row in rows) == len(runs_table(records)) + 1


def test_each_environment_is_listed_once(records: list[Record], profile: Profile) -> None:
    other = ORIGIN.model_copy(update={"commit": "0123456789abcdef+", "hardware": "another processor"})
    third = ORIGIN.model_copy(update={"commit": None})
    changed = [records[0].model_copy(update={"provenance": other}),
               records[1].model_copy(update={"provenance": third}), *records[2:]]  # fmt: skip
    first, second, rest = facts(changed, profile)["environment"]
    assert (first["Hardware"], first["Commit (+: with changes)"]) == ("another processor", "0123456789ab+")
    assert second["Commit (+: with changes)"] == "–"
    assert (rest["Packages"], rest["Python"], rest["System"]) == ("torch 2", "3.12", "Linux")
    assert [row["Runs"] for row in (first, second, rest)] == ["1", "1", str(len(records) - 2)]


def test_without_a_run_there_are_no_facts(profile: Profile) -> None:
    with pytest.raises(ValueError, match="no run of profile 'smoke'"):
        facts([], profile)


# The command


def test_the_command_writes_below_the_book(tmp_path: Path) -> None:
    smoke = load_profile("smoke")
    store = Store(tmp_path / "runs")
    found = [scored(spec, 50.0 + spec.seed) for spec in smoke.sweep("study") if spec.pruning is not None]
    for record in [*found, scored(dense(seed=7), 1.0)]:  # a run of another profile
        store.write(record)
    arguments = ["--profile", "smoke", "--store", str(store.root), "--book", str(tmp_path / "book")]
    assert main(arguments) == 0
    assert json.loads((tmp_path / "book" / OUTPUT).read_text()) == facts(found, smoke)
    assert f"; {len(found)} runs." in module.facts(found, smoke)["scale"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--profile", "digit"], "unknown profile 'digit'; known are"),
        (["--profile", "smoke", "--preset", "all"], "profile 'smoke' has no sweep 'all'"),
        (["--profile", "smoke"], "no run of profile 'smoke'"),
    ],
)
def test_bad_input_has_exit_code_2_and_writes_nothing(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    book = tmp_path / "book"
    assert main([*arguments, "--store", str(tmp_path / "runs"), "--book", str(book)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("facts: ")
    assert message in said
    assert not book.exists()
