"""Claims: the file is checked against what it names; verdicts follow from samples by the written rules."""

import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from scipy import stats
from test_statistics import PROFILE, evidence, runs

from pat.files.paths import BOOK
from pat.study.analysis.intervals import interval
from pat.study.claims import statistics
from pat.study.claims.claims import Claim, Claims, Part, load_claims
from pat.study.claims.verdicts import VERDICTS, Finding, Verdict, count, decide
from pat.study.experiments.evidence import Evidence, Sample
from pat.study.paper.numbers import Paper

ARGUMENTS = {
    "network": "bottleneck",
    "criterion": "gradient",
    "ratio": 0.5,
    "first": "reference",
    "second": "first",
}
PART = {"name": "gradient 50 %", "statistic": "accuracy_difference", "unit": "points", "arguments": ARGUMENTS}
CLAIM: dict[str, Any] = {
    "id": "later-is-better",
    "where": "Sec. 4.1",
    "claim": "Later is better.",
    "chapter": "oracle_sweep",
    "paper": {"ResNet50": "table3.30.post_trained"},
    "parts": [PART | {"greater": 0}],
}
PAPER = {"table3": {30: {"post_trained": 76.18, "epochs": "ninety"}, "many": [1, 2]}}


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """A book with paper values, and a folder with one notebook."""
    book, notebooks = tmp_path / "book", tmp_path / "notebooks"
    book.mkdir()
    notebooks.mkdir()
    (notebooks / "oracle_sweep.py").touch()
    (book / "paper_values.yaml").write_text(yaml.safe_dump(PAPER), encoding="utf-8")
    return book, notebooks


def load(folders: tuple[Path, Path], *claims: dict[str, Any], **fields: Any) -> Claims:
    content = {"level": 0.05, "claims": list(claims)} | fields
    (folders[0] / "claims.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return load_claims(*folders)


# The file


def test_a_sound_file_is_read_as_it_stands(folders: tuple[Path, Path]) -> None:
    untested = {**CLAIM, "id": "elsewhere", "untested": "No data."}
    del untested["parts"], untested["paper"]
    found = load(folders, CLAIM, untested)
    assert found.level == 0.05
    assert [claim.id for claim in found.claims] == ["later-is-better", "elsewhere"]
    assert found.claims[0].parts[0].region == (0, math.inf)
    assert found.claims[1].untested == "No data."
    assert Paper.read(folders[0]).number(found.claims[0].paper["ResNet50"]).value == 76.18


@pytest.mark.parametrize(
    ("rule", "region"),
    [
        ({"greater": 0.5}, (0.5, math.inf)),
        ({"less": 0.5}, (-math.inf, 0.5)),
        ({"no_worse": 2}, (-2, math.inf)),
        ({"within": 2}, (-2, 2)),
        ({"less": -1}, (-math.inf, -1)),
    ],
)
def test_a_rule_is_a_region(rule: dict[str, float], region: tuple[float, float]) -> None:
    assert Part.model_validate(PART | rule).region == region


def part(**changes: Any) -> dict[str, Any]:
    fields = PART | {"greater": 0} | changes
    return {**CLAIM, "parts": [{key: value for key, value in fields.items() if value is not None}]}


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        (part(less=1), "claim 'later-is-better': parts.0: expected one rule .* got greater and less"),
        (part(greater=None), "claim 'later-is-better': parts.0: expected one rule .* got none"),
        (part(greater=None, within=0), "within: .*greater than 0"),
        (part(greater=None, no_worse=-1), "no_worse: .*greater than or equal to 0"),
        (part(statistic="accuracy"), "unknown statistic 'accuracy'; known are"),
        (part(arguments=ARGUMENTS | {"first": "second"}), "statistic accuracy_difference: first.* 'second'"),
        (part(arguments={"network": "basic"}), "statistic accuracy_difference: criterion: Field required"),
        (part(unit="percent"), r"unit: .*\(got 'percent'\)"),
        (part(bound=1), "parts.0.bound: Extra inputs"),
        ({**CLAIM, "untested": "why"}, "later-is-better.*expected parts, or the reason"),
        ({**CLAIM, "parts": []}, "later-is-better.*expected parts, or the reason"),
        ({**CLAIM, "id": "Later"}, "id: .*pattern"),
        ({**CLAIM, "chapter": "oracle"}, "claim 'later-is-better': no notebook 'oracle' in"),
        (
            {**CLAIM, "paper": {"x": "table3.40.post_trained"}},
            "paper: x: 'table3.40.post_trained' leads nowhere.*'40'",
        ),
        ({**CLAIM, "paper": {"x": "table3.30.epochs"}}, "expected a number of the paper, got 'ninety'"),
        ({**CLAIM, "paper": {"x": "table3.30"}}, "expected a number of the paper"),
        ({**CLAIM, "paper": {"x": "table3.many.0"}}, "leads nowhere"),
    ],
)
def test_what_is_wrong_is_named_with_its_claim(
    claim: dict[str, Any], message: str, folders: tuple[Path, Path]
) -> None:
    with pytest.raises(ValueError, match=message) as refusal:
        load(folders, claim)
    assert str(refusal.value).startswith(str(folders[0] / "claims.yaml"))
    assert "\n" not in str(refusal.value)


def test_the_claim_named_is_the_one_that_is_wrong(folders: tuple[Path, Path]) -> None:
    sound = [{**CLAIM, "id": f"claim-{i}"} for i in range(11)]
    with pytest.raises(ValueError, match=r"claim 'claim-10': parts\.0"):
        load(folders, *sound[:10], {**part(less=1), "id": "claim-10"})


def test_an_id_is_there_once(folders: tuple[Path, Path]) -> None:
    with pytest.raises(ValueError, match="the id 'later-is-better' is there twice"):
        load(folders, CLAIM, CLAIM)


@pytest.mark.parametrize(("level", "ok"), [(0, False), (1, False), (0.01, True)])
def test_the_level_is_a_probability(level: float, ok: bool, folders: tuple[Path, Path]) -> None:
    if ok:
        assert load(folders, CLAIM, level=level).level == level
    else:
        with pytest.raises(ValueError, match="level"):
            load(folders, CLAIM, level=level)


def test_a_file_that_is_none_is_named(folders: tuple[Path, Path]) -> None:
    with pytest.raises(ValueError, match=r"claims\.yaml"):
        load_claims(*folders)
    for text in ("[1, 2]", "a: [", ""):
        (folders[0] / "claims.yaml").write_text(text)
        with pytest.raises(ValueError, match=r"claims\.yaml"):
            load_claims(*folders)
    with pytest.raises(ValueError, match=r"paper_values\.yaml"):
        Paper.read(folders[1])


def test_the_books_claims_are_sound() -> None:
    found = load_claims()
    assert len(found.claims) >= 18
    paper = Paper.read(BOOK)
    for claim in found.claims:
        assert all(math.isfinite(paper.number(path).value) for path in claim.paper.values())


# Verdicts


def claims(*parts: tuple[str, float], level: float = 0.05) -> Claims:
    """One claim with a part for each rule; part i asks for ratio i of the sweep."""
    own = tuple(
        Part.model_validate(PART | {"arguments": ARGUMENTS | {"ratio": ratio}, rule: bound})
        for ratio, (rule, bound) in zip((0.5, 0.3, 0.1), parts, strict=False)
    )
    return Claims(level=level, claims=(Claim(**{**CLAIM, "parts": own}),))


def found(*differences: tuple[float, ...]) -> Evidence:
    """Records in which ``reference`` minus ``first`` is this by seed, at ratios 50, 30 and 10 %."""
    seeds = range(max(len(values) for values in differences))
    wide = PROFILE.sweeps["full"][0].model_copy(update={"seeds": tuple(seeds)})
    profile = PROFILE.model_copy(update={"sweeps": {"full": (wide,)}})
    records = [
        record
        for ratio, values in zip((0.5, 0.3, 0.1), differences, strict=False)
        for record in runs({0: (50.0,) * len(values), 2: tuple(50.0 + v for v in values)}, ratio=ratio)
    ]
    return evidence(*records, profile=profile)


ABOVE = (3.0, 3.5, 4.0, 3.0, 3.5)
BELOW = tuple(-v for v in ABOVE)
NEAR = (0.1, -0.1, 0.05, 0.0, -0.05)
WIDE = (-20.0, 30.0, 1.0, -9.0, 12.0)


@pytest.mark.parametrize(
    ("rule", "bound", "values", "outcome"),
    [
        ("greater", 0, ABOVE, "holds"),
        ("greater", 0, BELOW, "fails"),
        ("greater", 0, WIDE, "open"),
        ("greater", 5, ABOVE, "fails"),
        ("less", 0, ABOVE, "fails"),
        ("less", 0, BELOW, "holds"),
        ("less", 5, ABOVE, "holds"),
        ("no_worse", 2, NEAR, "holds"),
        ("no_worse", 2, ABOVE, "holds"),
        ("no_worse", 2, BELOW, "fails"),
        ("no_worse", 2, WIDE, "open"),
        ("within", 2, NEAR, "holds"),
        ("within", 2, ABOVE, "fails"),
        ("within", 2, BELOW, "fails"),
        ("within", 2, WIDE, "open"),
        ("within", 5, ABOVE, "holds"),
        ("greater", 0, (1.0, 1.0, 1.0), "holds"),  # no spread: by the sign
        ("greater", 0, (-1.0, -1.0, -1.0), "fails"),
        ("greater", 0, (0.0, 0.0, 0.0), "open"),
        ("greater", 0, (50.0,), "open"),  # one seed decides nothing
        ("within", 2, (0.0,), "open"),
    ],
)
def test_each_rule_decides_by_its_side(
    rule: str, bound: float, values: tuple[float, ...], outcome: str
) -> None:
    ((finding,),) = [verdict.findings for verdict in decide(claims((rule, bound)), found(values))]
    assert finding.outcome == outcome
    expected = interval(values)
    assert finding.interval is not None
    assert finding.interval.n == expected.n
    assert finding.interval.mean == pytest.approx(expected.mean)
    assert finding.interval.low == (expected.low and pytest.approx(expected.low))


def test_the_p_value_is_twice_the_smaller_one_sided_one() -> None:
    values = (1.0, 2.0, -0.5, 1.5, 0.5)
    ((finding,),) = [verdict.findings for verdict in decide(claims(("greater", 0)), found(values))]
    assert finding.p == pytest.approx(stats.ttest_1samp(values, 0).pvalue)  # the two-sided test
    assert finding.adjusted == finding.p
    assert finding.outcome == "open"
    assert finding.leaning is None


def test_holm_counts_all_parts_that_have_runs() -> None:
    values = (1.0, 2.0, 1.5)  # p = .037
    p = stats.ttest_1samp(values, 0).pvalue
    assert 0.025 < p < 0.05
    (alone,) = decide(claims(("greater", 0)), found(values))
    assert alone.findings[0].outcome == "holds"
    (among,) = decide(claims(("greater", 0), ("greater", 0)), found(values, values))
    first, second = among.findings
    assert first.p == pytest.approx(p)
    assert first.adjusted == second.adjusted == pytest.approx(2 * p)
    assert (first.outcome, first.leaning) == ("open", "holds")
    (unrun,) = decide(claims(("greater", 0), ("greater", 0)), found(values))
    assert unrun.findings[0].adjusted == pytest.approx(p)
    assert unrun.findings[1].outcome == "not run"


def test_an_open_part_says_what_its_interval_alone_would() -> None:
    values = (1.0, 2.0, 1.5)
    (verdict,) = decide(claims(("greater", 0), ("less", 0), level=0.01), found(values, values))
    assert [f.leaning for f in verdict.findings] == ["holds", "fails"]
    assert verdict.verdict == "not decidable at this scale"
    assert verdict.uncorrected == "partly reproduced"


def test_the_level_is_the_files() -> None:
    values = (1.0, 2.0, 1.5)
    assert decide(claims(("greater", 0), level=0.05), found(values))[0].verdict == "reproduced"
    assert decide(claims(("greater", 0), level=0.03), found(values))[0].verdict == OPEN


def family(name: str, *ratios: float) -> dict[str, Any]:
    """A claim whose parts ask whether the differences at these ratios are above 0."""
    parts = [PART | {"arguments": ARGUMENTS | {"ratio": ratio}, "greater": 0} for ratio in ratios]
    return CLAIM | {"id": name.replace(" ", "-"), "family": name.split(maxsplit=1)[0], "parts": parts}


def test_claims_are_corrected_by_family_and_as_sure_as_their_weakest_part() -> None:
    strong, weak, none = (5.0, 5.1, 4.9, 5.2), (1.0, 2.0, 1.5, 0.2), (1.0, -1.0, 1.5, -1.0)
    file = Claims.model_validate(
        {
            "level": 0.05,
            "looks": 2,
            "corrected": "claims",
            "claims": [
                family("primary both", 0.5, 0.3),
                family("primary one", 0.5),
                family("secondary one", 0.3),
                family("secondary two", 0.1),
            ],
        }
    )
    both, one, second, third = decide(file, found(strong, weak, none))
    p = [2 * stats.ttest_1samp(values, 0, alternative="greater").pvalue for values in (strong, weak, none)]
    assert both.findings[0].adjusted == both.findings[1].adjusted == pytest.approx(p[1])  # Holm: the last
    assert one.findings[0].adjusted == pytest.approx(2 * p[0])  # Holm: the first of two
    assert second.findings[0].adjusted == pytest.approx(min(2 * p[1], p[2]))  # Benjamini and Hochberg
    assert (file.level_of("primary"), file.strictest("primary")) == (0.025, 0.0125)
    assert (file.level_of("secondary"), file.strictest("secondary")) == (0.05, 0.025)
    assert p[1] > 0.025
    assert [v.verdict for v in (both, one, third)] == [OPEN, "reproduced", OPEN]
    assert both.findings[0].leaning == "holds"  # a strong part, open with its claim


def test_what_the_seeds_resolve_stands_beside_and_the_rank_test_decides_nothing() -> None:
    values = (1.0, 2.0, 1.5, 0.2, 3.0)
    (verdict,) = decide(claims(("greater", 0)), found(values))
    (finding,) = verdict.findings
    wilcoxon = stats.wilcoxon(values, alternative="greater").pvalue
    assert finding.rank_p == pytest.approx(2 * wilcoxon)
    quantiles = stats.t.ppf(1 - 0.05 / 2, 4) + stats.t.ppf(0.9, 4)
    assert finding.resolves == pytest.approx(quantiles * stats.sem(values))
    normal = stats.norm.ppf(1 - 0.05 / 2) + stats.norm.ppf(0.9)
    deviation = stats.tstd(values)
    assert finding.needed == math.ceil((normal * deviation / 1.54) ** 2)
    (single,) = decide(claims(("greater", 0)), found((1.0,)))[0].findings
    assert (single.resolves, single.needed) == (None, None)


def test_parts_are_corrected_in_one_family() -> None:
    with pytest.raises(ValueError, match="corrected by parts there is one family, primary"):
        Claims.model_validate({"level": 0.05, "claims": [family("secondary one", 0.5)]})


OPEN = "not decidable at this scale"


def verdict(*outcomes: Any) -> Verdict:
    claim = claims(*[("greater", 0)] * 3).claims[0]
    one = Part.model_validate(PART | {"greater": 0})
    return Verdict(claim, tuple(Finding(one, Sample(), outcome=o) for o in outcomes))


@pytest.mark.parametrize(
    ("outcomes", "expected", "counts"),
    [
        (("holds", "holds"), "reproduced", ""),
        (("fails", "fails"), "not reproduced", ""),
        (("holds", "fails"), "partly reproduced", "1 of 2 parts holds, 1 fails"),
        (("holds", "fails", "open"), "partly reproduced", "1 of 3 parts holds, 1 fails, 1 open"),
        (("holds", "open", "open"), OPEN, "1 of 3 parts holds, 2 open"),
        (("open", "holds", "holds"), OPEN, "2 of 3 parts hold, 1 open"),
        (("fails", "open", "fails"), OPEN, "2 of 3 parts fail, 1 open"),
        (("holds", "not run"), OPEN, "1 of 2 parts holds, 1 not run"),
        (("open", "open"), OPEN, ""),
        (("not run", "not run"), "not run", ""),
        ((), "not tested", ""),
    ],
)
def test_a_claim_follows_from_its_parts(outcomes: Any, expected: str, counts: str) -> None:
    assert verdict(*outcomes).verdict == expected
    assert verdict(*outcomes).counts == counts


def test_verdicts_come_in_the_files_order_and_are_counted() -> None:
    tested = claims(("greater", 0)).claims[0]
    untested = Claim(**{**CLAIM, "id": "no", "parts": (), "untested": "No data."})
    unrun = Claim(
        **{
            **CLAIM,
            "id": "later",
            "parts": (Part(**{**PART, "arguments": ARGUMENTS | {"ratio": 0.1}, "less": 0}),),
        }
    )
    file = Claims(level=0.05, claims=(untested, tested, unrun))
    verdicts = decide(file, found(ABOVE))
    assert [v.claim.id for v in verdicts] == ["no", "later-is-better", "later"]
    assert [v.verdict for v in verdicts] == ["not tested", "reproduced", "not run"]
    counted = count(verdicts)
    assert list(counted) == list(VERDICTS)
    assert {name: n for name, n in counted.items() if n} == {"reproduced": 1, "not run": 1, "not tested": 1}
    assert sum(count([]).values()) == 0


def test_another_record_gives_another_verdict() -> None:
    before, after = (
        decide(claims(("greater", 0)), found(values))[0] for values in (ABOVE, (*ABOVE[:4], -9.0))
    )
    assert (before.verdict, after.verdict) == ("reproduced", OPEN)
    assert set(before.findings[0].sample.records) == set(range(5))


def test_every_known_statistic_is_used_by_a_claim() -> None:
    both = (load_claims(), load_claims(name="claims_first_round"))
    used = {part.statistic for claims in both for claim in claims.claims for part in claim.parts}
    assert used == set(statistics.STATISTICS)
