"""The book's numbers: hand-made records and claims in, the pages' texts and tables out."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_analysis import scored
from test_policies import SETTLES, block, profile, sweep_of, trunk
from test_record import ORIGIN
from test_statistics import PROFILE, SEEDS, Shelf, runs, spec
from test_wording import spaced
from tiny import dense

from pat.study.analysis.significance import resolvable
from pat.study.claims.claims import Claims, load_claims
from pat.study.claims.verdicts import Study, decide
from pat.study.experiments.evidence import Evidence
from pat.study.plan.profile import Profile, load_profile
from pat.study.report.facts import EVIDENCE, FIGURE, OUTPUT, facts, gather, main
from pat.study.report.pages.cards import lead
from pat.study.report.pages.verdicts import about, counted, evidence_page
from pat.study.store import Published, Store
from pat.study.store.publishing import publish
from pat.study.store.record import Record, claims_checksum

DIFFERENCE = {"network": "bottleneck", "criterion": "gradient", "first": "reference", "second": "first"}


def part(ratio: float, name: str = "gradient", **rule: float) -> dict[str, Any]:
    arguments = DIFFERENCE | {"ratio": ratio}
    return {"name": f"{name} {100 * ratio:g} %", "statistic": "accuracy_difference", "unit": "points",
            "arguments": arguments, **(rule or {"greater": 0})}  # fmt: skip


CLAIMS = [
    {"id": "later", "where": "Sec. 4.1", "claim": "Later is better.", "chapter": "oracle_sweep",
     "paper": {"ResNet50": "table3.30.post_trained"}, "parts": [part(0.5), part(0.3)]},
    {"id": "never", "where": "Sec. 4.2", "claim": "Later is worse.", "chapter": "structure_stability",
     "parts": [part(0.5, less=0)]},
    {"id": "mild", "where": "Sec. 4.3", "claim": "Mild ratios do not matter.", "chapter": "oracle_sweep",
     "parts": [part(0.1)]},
    {"id": "elsewhere", "where": "Appendix", "claim": "It serves detection.", "chapter": "oracle_sweep",
     "untested": "No data."},
]  # fmt: skip


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """A book with claims, the paper's values, and one chapter."""
    folder = tmp_path / "book"
    folder.mkdir()
    (folder / "claims.yaml").write_text(yaml.safe_dump({"level": 0.05, "claims": CLAIMS}), encoding="utf-8")
    paper = {"table3": {30: {"post_trained": 76.18}}}
    (folder / "paper_values.yaml").write_text(yaml.safe_dump(paper), encoding="utf-8")
    contents = {"root": "index", "chapters": [{"file": "executed/smoke/oracle_sweep"}]}
    (folder / "_toc.yml").write_text(yaml.safe_dump(contents), encoding="utf-8")
    return folder


@pytest.fixture
def claims(book: Path) -> Claims:
    return load_claims(book)


def records(second: float = 72.0) -> list[Record]:
    """At 50 and 30 %, the reference epoch is better by 10 points and by ``second`` - 61."""
    found = [watching(record, "0.1", "0.3") for record in runs({None: (80.0, 81.0)})]
    found += runs({0: (60.0, 61.0), 2: (70.0, 71.0), 8: (50.0, None)})
    return found + runs({0: (60.0, 61.0), 2: (71.0, second)}, ratio=0.3)


def watching(record: Record, *ratios: str) -> Record:
    """A dense run that watched these ratios as it did half."""
    first, *rest = record.history
    gradient = first.tracked["gradient"]  # type: ignore[index]
    tracked = {"gradient": {**gradient, "ratios": dict.fromkeys(("0.5", *ratios), gradient["ratios"]["0.5"])}}
    history = (first.model_copy(update={"tracked": tracked}), *rest)
    return record.model_copy(update={"history": history})


def study(claims: Claims, own: Sequence[Record], profile: Profile = PROFILE, preset: str = "full") -> Study:
    evidence = Evidence(profile, preset, Shelf(own))  # type: ignore[arg-type]
    return Study(evidence, decide(claims, evidence))


def rows(table: str) -> list[list[str]]:
    """Cells of a Markdown table, below its head."""
    lines = [line for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


# The front page


def test_what_the_pages_quote(claims: Claims, book: Path) -> None:
    found = facts([study(claims, records())], claims, book)
    texts = ["summary", "lead", "scale", "verdicts", "decided", "checksums", "hours", "splits"]
    texts += ["abstract", "forest", "protocol", "first_round"]
    assert {name for name, value in found.items() if isinstance(value, str)} == set(texts)
    tables = {"outcomes", "cost", "runs", "environment", "licences", "licences_indirect"}
    assert set(found) - set(texts) == {
        *tables,
        "faults",
        "gpu",
        "networks",
        "benchmarks",
        "discussion",
        "practice",
    }
    assert "make test-faults" in found["faults"]["summary"]  # no bench was run for these
    assert json.loads(json.dumps(found)) == found
    for text in (PROFILE.title, "9 epochs, 2 seeds, 12 runs", "No number measured here is the paper's"):
        assert text in found["summary"]
    for name in (*PROFILE.architectures, "for ResNet50", "for MobileNetV1", PROFILE.purpose):
        assert name in found["scale"]
    assert "level 0.05" in found["decided"]
    assert "(here 3)" in found["decided"]


def test_the_lead_says_when_epi_can_act_late(claims: Claims, book: Path) -> None:
    of = trunk(SETTLES)
    own = sweep_of(of, {0: (60.0, 60.0), 4: (72.0, 72.0), 8: (80.0, 80.0)})
    found = facts([study(claims, own, profile(block(), tau=1.0, patience=3))], claims, book)["lead"]
    assert "EPI can prune in epoch 5 of 12 at the earliest, after the pre-defined epoch 4;" in found
    early = facts([study(claims, own, profile(block(), tau=1.0, patience=2))], claims, book)["lead"]
    assert "at the earliest" not in early


def test_an_earlier_round_is_told_by_its_own_claims(claims: Claims, book: Path) -> None:
    before = study(claims, records())
    found = facts([before], claims, book, [before, before])
    assert found["first_round"].splitlines() == [f"- {found['summary'].split(chr(10))[-1]}"] * 2
    assert facts([before], claims, book)["first_round"] == "Nothing."


def test_what_held_and_what_did_not_is_said_first(claims: Claims) -> None:
    found = study(claims, records())
    assert [verdict.verdict for verdict in found.verdicts] == [
        "reproduced",
        "not reproduced",
        "not run",
        "not tested",
    ]
    assert counted(found.verdicts) == (
        "Of 2 claims tested at this scale, 1 are reproduced, 0 partly, 1 not, and 0 are undecided; "
        "1 not run, 1 not tested."
    )
    cards = re.findall(r"\{grid-item-card\} (.+)\n:class-card: (\S+)\n\n((?:.+\n)+?)::::", lead(found))
    assert cards == [
        ("Reproduced: 1", "reproduced", "- Later is better. (bottleneck)\n"),
        ("Not reproduced: 1", "not-reproduced", "- Later is worse. (bottleneck)\n"),
    ]
    assert lead(found).count("Not run at this scale: ") == 1


def test_undecided_claims_say_what_their_intervals_alone_would(claims: Claims, book: Path) -> None:
    strict = claims.model_copy(update={"level": 1e-9})
    own = runs({0: (60.0, 61.0), 2: (70.0, 71.1)}) + runs({0: (60.0, 61.0), 2: (71.0, 72.1)}, ratio=0.3)
    found = study(strict, own)
    text = lead(found)
    assert "Undecided: 2" in text
    assert "All parts would hold by their own 95 % intervals (1):\n\n- Later is better. (bottleneck)" in text
    assert "All would fail by their own 95 % intervals (1):\n\n- Later is worse. (bottleneck)" in text
    assert "clear side" not in text
    first, second, *_ = rows(facts([found], strict, book)["verdicts"])
    assert first[3].endswith("<br>[uncorrected: reproduced]{.where}")
    assert second[3].endswith("<br>[uncorrected: not reproduced]{.where}")
    wide = runs({0: (60.0, 61.0), 2: (70.0, 10.0)})
    text = lead(study(claims, wide))
    assert "With at least one part that has no clear side (2):\n\n- Later is better. (bottleneck)" in text


def test_a_row_a_claim(claims: Claims, book: Path) -> None:
    table = spaced(facts([study(claims, records(78.0))], claims, book)["verdicts"])
    first, second, third, fourth = rows(table)
    assert first[0] == (
        "Later is better.<br>[Sec. 4.1]{.where}<br>[Oracle sweep](executed/smoke/oracle_sweep.ipynb)"
    )
    assert second[0].endswith("<br>Structure stability")  # the book has no such chapter
    assert first[1] == "[ResNet50: 76.18]{.part}"
    assert second[1] == "–"
    measured = "{ref}`10.0 [10.0, 10.0] points <evidence-smoke-later-1>`, n = 2"
    assert first[2].startswith(f"[gradient 50 %: {measured}; claimed above 0 points: **holds**]{{.part}}")
    half = 12.7062 * 3  # of 11 and 17: s = 3 * sqrt(2), t(0.975, 1) = 12.7062
    wide = f"14.0 [−{half - 14:.1f}, {14 + half:.1f}] points"
    assert f"gradient 30 %: {{ref}}`{wide} <evidence-smoke-later-2>`, n = 2" in first[2]
    assert first[3] == (
        "[undecided]{.verdict .not-decidable-at-this-scale}<br>1 of 2 parts holds, 1 open"
        "<br>[2 seeds; about 3 needed]{.where}"
    )
    assert "claimed below 0 points: **fails**" in second[2]
    assert second[3] == "[not reproduced]{.verdict .not-reproduced}"
    assert third[2:] == ["[gradient 10 %: not run]{.part}", "[not run]{.verdict .not-run}"]
    assert fourth[2:] == ["[No data.]{.part}", "[not tested]{.verdict .not-tested}"]


def test_seeds_out_of_reach_are_not_counted() -> None:
    assert [about(seeds) for seeds in (30.2, 1000, 193_485)] == ["about 30", "about 1,000", "more than 1,000"]


def test_another_record_changes_its_claim_and_no_other(claims: Claims, book: Path) -> None:
    before, after = (facts([study(claims, records(second))], claims, book) for second in (72.0, 30.0))
    changed = [
        old[0][:16]
        for old, new in zip(rows(before["verdicts"]), rows(after["verdicts"]), strict=True)
        if old != new
    ]
    assert changed == ["Later is better."]
    assert before["lead"] != after["lead"]
    assert before["runs"] == after["runs"]


def test_a_second_scale_has_only_the_claims_with_runs(claims: Claims, book: Path) -> None:
    other = PROFILE.model_copy(update={"name": "other", "title": "Another scale"})
    policy = {r.spec.prune_epoch: r for r in runs({0: (60.0,), 2: (70.0,)})}
    own = [
        scored(r.spec.model_copy(update={"profile": "other", "seed": seed}), r.result.test_accuracy)
        for r in policy.values()
        if r.result
        for seed in SEEDS
    ]
    found = facts([study(claims, records()), study(claims, own, other)], claims, book)
    main_table, second_table = found["verdicts"].split("**Another scale**")
    assert len(rows(main_table)) == 4
    assert [row[0][:15] for row in rows(second_table)] == ["Later is better", "Later is worse."]
    assert "executed/other" not in second_table
    assert [row["Scale"] for row in found["outcomes"]] == ["smoke", "other"]
    assert found["outcomes"][0]["Reproduced"] == "1"
    assert "(here 3 and 2)" in found["decided"]


def test_exploratory_runs_are_called_so(claims: Claims, book: Path) -> None:
    texts = [facts([study(claims, records(), preset=p)], claims, book)["summary"] for p in ("study", "full")]
    assert "`study`, are exploratory" in texts[0]
    assert "exploratory" not in texts[1]


def test_a_pipe_does_not_end_a_cell(claims: Claims, book: Path) -> None:
    odd = claims.claims[0].model_copy(update={"claim": "a | b"})
    found = facts([study(claims.model_copy(update={"claims": (odd,)}), records())], claims, book)
    (line,) = [line for line in found["verdicts"].splitlines() if line.startswith("| a")]
    assert line.startswith("| a \\| b<br>")


def test_claims_in_families_are_told_by_their_own_rules(claims: Claims, book: Path) -> None:
    own = [claim.model_copy(update={"because": "It names no size."}) for claim in claims.claims]
    own[1] = own[1].model_copy(update={"family": "secondary"})
    families = Claims(level=0.05, looks=2, corrected="claims", claims=tuple(own))
    found = study(families, records())
    told = facts([found], families, book)
    assert "by Holm (here 1), at the level 0.025; all others are *secondary*" in told["decided"]
    assert "Benjamini and Hochberg (here 1) at a false discovery rate of 0.05" in told["decided"]
    assert "seeds 0 to 2" not in told["decided"]
    assert "[Sec. 4.1; primary]{.where}" in told["verdicts"]
    assert "[Sec. 4.2; secondary]{.where}" in told["verdicts"]
    page = evidence_page(found, families, book)
    assert page.count("Why these bounds: It names no size.") == len(own)
    assert "the claim's 0, corrected for 1 secondary claim: **fails**." in page
    page = evidence_page(study(families, records(78.0)), families, book)
    distance = resolvable([11.0, 17.0], 0.025 / 3)  # the level that decides one of three, whatever the others
    assert (
        f"So many such values decide about nine times in ten at {distance:.2f} points from the bound." in page
    )


# The page of evidence


def test_every_number_leads_to_its_records(claims: Claims, book: Path, tmp_path: Path) -> None:
    publish(records(), tmp_path / "results")
    evidence = Evidence(PROFILE, "full", Published(tmp_path / "results"))
    found = Study(evidence, decide(claims, evidence))
    page = evidence_page(found, claims, book)
    targets = re.findall(r"^\((\S+)\)=$", page, re.MULTILINE)
    assert len(targets) == len(set(targets))
    quoted = re.findall(r"<(evidence-[^>]+)>`", facts([found], claims, book)["verdicts"])
    assert len(quoted) == 3
    assert set(quoted) <= set(targets)
    blocks = page.split("(evidence-smoke-later-1)=")[1].split("(evidence-smoke-later-2)=")[0]
    links = re.findall(r"\[(\w{8})\]\(<path:([^>]+)> \"([^\"]+)\"\)", blocks)
    assert {(short, (book / path).resolve()) for short, path, _ in links} == {
        (spec(at, seed).id[:8], (tmp_path / "results" / "smoke" / f"{spec(at, seed).id}.json").resolve())
        for at in (0, 2)
        for seed in SEEDS
    }
    assert all((book / path).is_file() for _, path, _ in links)
    assert "resnet8-bottleneck gradient 50 % at epoch 2, seed 1" in {title for *_, title in links}
    assert "| 0 | 10.00 |" in blocks
    assert "accuracy_difference <pat.study.experiments.oracle_sweep.statistics.accuracy_difference>" in blocks
    told = (
        "Mean 10.0 [10.0, 10.0] points, n = 2; p = 0 (signed rank 0.5), 0 corrected for 3 parts: **holds**."
    )
    assert f"claimed above 0 points. {told}" in spaced(blocks)


def test_the_records_of_a_seed_lead_to_its_pack(claims: Claims, book: Path, tmp_path: Path) -> None:
    publish(records(), tmp_path / "results", packed=True)
    evidence = Evidence(PROFILE, "full", Published(tmp_path / "results"))
    page = evidence_page(Study(evidence, decide(claims, evidence)), claims, book)
    block = page.split("(evidence-smoke-later-1)=")[1].split("(evidence-smoke-later-2)=")[0]
    (row,) = (line for line in block.splitlines() if line.startswith("| 1 |"))
    (path,) = re.findall(r"\[seed-0001\.jsonl\.xz\]\(<path:([^>]+)>\)", row)
    assert (book / path).is_file()
    assert set(re.findall(r"`(\w{8})`", row)) == {spec(at, 1).id[:8] for at in (0, 2)}


def test_evidence_of_what_was_not_run(claims: Claims, book: Path) -> None:
    page = evidence_page(study(claims, records()), claims, book)
    mild = page.split("(evidence-smoke-mild-1)=")[1].split("(evidence-smoke-elsewhere)=")[0]
    assert "There are no runs for it." in mild
    assert "dropdown" not in mild
    assert "No data." in page.split("(evidence-smoke-elsewhere)=")[1]


# Runs, cost, origin


def test_records_are_counted_by_the_checksum_of_the_claims(claims: Claims, book: Path) -> None:
    present = claims_checksum(book)
    assert present
    own = records()
    stamped = [
        r.model_copy(update={"provenance": ORIGIN.model_copy(update={"claims": checksum})})
        for r, checksum in zip(own, [present] * 3 + ["0" * 64] + [None] * len(own), strict=False)
    ]
    text = facts([study(claims, stamped)], claims, book)["checksums"]
    assert text.startswith("Of 12 runs that claims are decided from, 3 carry the checksum of the claims file")
    assert "8 carry none and 1 another version's; those are exploratory" in text
    whole = [r.model_copy(update={"provenance": ORIGIN.model_copy(update={"claims": present})}) for r in own]
    assert "exploratory" not in facts([study(claims, whole)], claims, book)["checksums"]


def test_cost_is_device_hours_by_kind_of_run(claims: Claims, book: Path) -> None:
    slow = ORIGIN.model_copy(update={"seconds": 1800.0})
    own = [r.model_copy(update={"provenance": slow}) for r in records()]
    found = facts([study(claims, own)], claims, book)
    assert found["hours"].startswith("Training the runs behind the verdicts took 6.0 device-hours for smoke")
    assert [(row["Runs of"], row["Number"], row["Device-hours"]) for row in found["cost"]] == [
        ("dense", "2", "1.00"),
        ("sweep", "10", "5.00"),
    ]
    assert found["cost"][0]["Device"] == "a processor, 1 thread"


def test_runs_are_counted_by_their_end(claims: Claims, book: Path) -> None:
    own = records()
    collapsed = own[2].model_copy(update={"status": "collapsed", "cost": None, "history": ()})
    found = facts([study(claims, [*own[:2], collapsed, *own[3:]])], claims, book)["runs"]
    table = {(row["Network"], row["Pruning"]): row for row in found}
    row = table["resnet8-bottleneck", "gradient 50 %"]
    assert [row[name] for name in ("Runs", "Done", "Collapsed", "Failed")] == ["6", "4", "1", "1"]
    assert row["Minutes of training"] == f"{6 * ORIGIN.seconds / 60:.1f}"
    assert table["resnet8-bottleneck", "dense"]["Runs"] == "2"
    assert sum(int(row["Runs"]) for row in found) == len(own)


def test_each_environment_is_listed_once(claims: Claims, book: Path) -> None:
    other = ORIGIN.model_copy(update={"commit": "0123456789abcdef+", "hardware": "another processor"})
    third = ORIGIN.model_copy(update={"commit": None})
    own = records()
    own[0], own[1] = (
        r.model_copy(update={"provenance": p}) for r, p in zip(own, (other, third), strict=False)
    )
    table = facts([study(claims, own)], claims, book)["environment"]
    by_commit = {row["Commit (+: with changes)"]: row for row in table}
    assert set(by_commit) == {"0123456789ab+", "–", "abc++"}
    assert by_commit["0123456789ab+"]["Hardware"] == "another processor"
    rest = by_commit["abc++"]
    assert (rest["Packages"], rest["Python"], rest["System"]) == ("torch 2", "3.12", "Linux")
    assert [by_commit[key]["Runs"] for key in ("0123456789ab+", "–", "abc++")] == [
        "1",
        "1",
        str(len(own) - 2),
    ]


# Which runs


def test_the_confirmatory_preset_goes_before_the_exploratory_one(claims: Claims) -> None:
    profile = PROFILE.model_copy(
        update={"sweeps": {"full": PROFILE.sweeps["full"][1:2], "study": PROFILE.sweeps["full"][:1]}}
    )
    study_runs, full_runs = runs({0: (60.0,)}), runs({0: (60.0,)}, criterion="magnitude")
    both = Shelf([*study_runs, *full_runs])
    assert gather(profile, both, claims).evidence.preset == "full"  # type: ignore[arg-type]
    only = Shelf(study_runs)
    assert gather(profile, only, claims).evidence.preset == "study"  # type: ignore[arg-type]
    assert gather(profile, both, claims, "study").evidence.preset == "study"  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no run of profile 'smoke', preset full or study, in shelf"):
        gather(profile, Shelf([]), claims)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="preset full, in"):
        gather(profile, only, claims, "full")  # type: ignore[arg-type]


def test_the_command_writes_below_the_book(
    book: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    smoke, store = load_profile("smoke"), Store(tmp_path / "runs")
    found = [scored(s, 50.0 + s.seed) for s in smoke.sweep("study") if s.pruning is not None]
    for record in [*found, scored(dense(seed=7), 1.0)]:  # a run of another profile
        store.write(record)
    arguments = ["--profile", "smoke", "digits", "--store", str(store.root), "--book", str(book)]
    assert main(arguments) == 0
    assert "no run of profile 'digits', preset full or study" in capsys.readouterr().err
    written = json.loads((book / OUTPUT).read_text())
    own = gather(smoke, store, load_claims(book))
    assert written == facts([own], load_claims(book), book)
    assert f"{len(found)} runs" in written["summary"]
    assert (book / EVIDENCE).read_text() == evidence_page(own, load_claims(book), book)
    assert "<svg" in (book / FIGURE).read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--profile", "digit"], "unknown profile 'digit'; known are"),
        (["--profile", "smoke", "digit"], "unknown profile 'digit'; known are"),
        (["--profile", "smoke", "--preset", "all"], "profile 'smoke' has no sweep 'all'"),
        (["--profile", "smoke"], "no run of profile 'smoke'"),
    ],
)
def test_bad_input_has_exit_code_2_and_writes_nothing(
    arguments: list[str], message: str, book: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--store", str(tmp_path / "runs"), "--book", str(book)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("facts: ")
    assert message in said
    assert not (book / OUTPUT).parent.exists()


def test_claims_that_are_unsound_are_refused(
    book: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (book / "claims.yaml").write_text("level: 2\nclaims: []\n", encoding="utf-8")
    assert main(["--store", str(tmp_path / "runs"), "--book", str(book)]) == 2
    assert "level" in capsys.readouterr().err
