"""The front page: an abstract in sentences, and a track for each claim and scale."""

import re

import pytest
from test_facts import book, claims, records, study
from test_policies import NEVER, SETTLES, block, profile, run, sweep_of, trunk
from test_statistics import PROFILE
from test_wording import spaced

from pat.study.claims.claims import Claims, Part
from pat.study.paper.numbers import Paper
from pat.study.plan.settings import Experiments
from pat.study.report.pages.cards import CENTRAL, central
from pat.study.report.pages.front import abstract, forest, standardised
from pat.study.report.pages.verdicts import table

__all__ = ["book", "claims"]  # fixtures


def test_the_abstract_says_what_came_out_and_what_is_open(claims: Claims) -> None:
    text = abstract([study(claims, records(78.0))])
    assert text.startswith(
        f"The paper's claims were held against runs on {PROFILE.title} (9 epochs, 2 seeds,"
    )
    assert "- **Not reproduced**: *Later is worse*.\n" in text
    assert text.endswith(
        "- **Open** on smoke: 1 claim, of the primary ones *Later is better*; the nearest to a decision "
        "would take about 3 seeds."
    )
    assert "Mild ratios" not in text  # it has no runs
    both = abstract([study(claims, records()), study(claims, records())])
    assert both.count(PROFILE.title) == 2
    assert "at both scales" in both


def test_the_abstract_begins_with_the_central_claim_and_names_the_primary_ones_of_many(
    claims: Claims,
) -> None:
    later = claims.claims[0]
    several = [later.model_copy(update={"id": name}) for name in (CENTRAL, "one", "two", "three")]
    several.append(later.model_copy(update={"id": "four", "claim": "Primary.", "family": "primary"}))
    several[1:4] = [claim.model_copy(update={"family": "secondary"}) for claim in several[1:4]]
    many = claims.model_copy(update={"claims": tuple(several)})
    bullets = abstract([study(many, records())]).split("\n\n- ")[1].split("\n- ")
    assert spaced(bullets[0]).startswith(
        "**The central claim.** Later is better. Here: **reproduced**. Measured: gradient 50 % 10.0"
    )
    assert bullets[1] == "**Reproduced**: *Primary*; and 3 secondary claims."


def test_the_central_claim_tells_what_the_two_policies_lose_and_where_epi_was_silent(
    claims: Claims,
) -> None:
    scale = profile(block(seeds=(0, 1))).model_copy(
        update={"experiments": {"full": Experiments(sweep="full")}}
    )
    asked = {"network": "bottleneck", "criterion": "gradient", "ratios": [0.5]}
    part = Part(
        name="gradient 50 %", statistic="regret_margin", unit="points", greater=0,
        arguments={**asked, "policy": "epi", "share": 0.25, "of": "init"},
    )  # fmt: skip
    claim = claims.claims[0].model_copy(update={"id": CENTRAL, "parts": (part,)})
    own = [
        record
        for seed, counts in enumerate((SETTLES, NEVER))
        for record in [
            *sweep_of(trunk(counts, seed=seed), {0: (60.0, 60.0), 4: (80.0 + seed, 80.0), 8: (70.0, 70.0)}),
            run(trunk(counts, seed=seed), 5, 78.0),
        ]
    ]
    found = study(claims.model_copy(update={"claims": (claim,)}), own, scale)
    (text,) = central(found)
    assert "EPI loses 1.0 points [−11.7, 13.7] against the oracle" in spaced(text)
    assert "where initialisation loses 20.5 [14.1, 26.9] and 25 % of that was allowed." in spaced(text)
    shown = table(found, claims, Paper.read(), lambda name: name)
    assert "(EPI silent in 1 of 2 runs, which count at the pre-defined epoch)" in shown


def test_the_abstract_ends_with_what_to_do(claims: Claims) -> None:
    scale = profile(block(seeds=(0, 1))).model_copy(
        update={"experiments": {"full": Experiments(sweep="full")}}
    )
    own = [
        record
        for seed, third in enumerate((72.0, 74.0))
        for record in [
            *sweep_of(trunk(SETTLES, seed=seed), {0: (60.0, 60.0), 4: (third, third), 8: (80.0, 80.0)}),
            run(trunk(SETTLES, seed=seed), 5, 76.0),
        ]
    ]
    *_, saved, last = abstract([study(claims, own, scale)]).splitlines()
    assert spaced(saved) == (
        "- EPI **saves of the training** on tiny, half of the filters by the gradient criterion: "
        "30 % [30, 30] of its multiply-accumulates."
    )  # the store has no measured steps
    assert spaced(last) == (
        "- **In practice** (tiny): against a fixed third of the schedule, which needs neither indicator nor "
        "threshold, EPI loses 3.0 points [−9.7, 15.7] less (or nothing) by the gradient criterion; see "
        "[](practice.md)."
    )


def test_a_claim_with_runs_has_a_track_for_each_scale(claims: Claims) -> None:
    own = study(claims, records())
    tracks = forest([own, own])
    rows = re.findall(r"<tr><td>(.*?)</td>(.*?)</tr>", tracks)
    assert [name for name, _ in rows] == ["Later is better.", "Later is worse."]
    for _, cells in rows:
        assert cells.count('class="track" role="img" aria-label="gradient 50 %: 10.0') == 2
    assert tracks.count('evidence.html#evidence-smoke-later"') == 2
    assert "\n\n" not in tracks  # Markdown ends a block of HTML there


def test_marks_lie_on_the_side_where_a_part_holds(claims: Claims) -> None:
    (first, second), (worse,) = (verdict.findings for verdict in study(claims, records(78.0)).verdicts[:2])
    assert standardised(first) == (3.0, 0.0)  # both seeds gain 10 points
    assert standardised(worse) == (-3.0, 0.0)
    at, half = standardised(second)  # 11 and 17 points
    assert at == pytest.approx(14 / 18**0.5)
    assert half == pytest.approx(12.706 / 2**0.5, rel=1e-3)  # Student's t of one degree of freedom
