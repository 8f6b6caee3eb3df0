"""The front page: an abstract in sentences, and a track for each claim and scale."""

import re

import pytest
from test_facts import book, claims, records, study
from test_statistics import PROFILE

from pat.study.claims.claims import Claims
from pat.study.report.pages.front import abstract, forest, standardised

__all__ = ["book", "claims"]  # fixtures


def test_the_abstract_says_what_came_out_and_what_is_open(claims: Claims) -> None:
    text = abstract([study(claims, records(78.0))])
    assert text.startswith(
        f"The paper's claims were held against runs on {PROFILE.title} (9 epochs, 2 seeds,"
    )
    assert "- **Not reproduced**: *Later is worse*.\n" in text
    assert text.endswith("- **Open** on smoke: 1 claim; the nearest to a decision would take about 3 seeds.")
    assert "Mild ratios" not in text  # it has no runs
    both = abstract([study(claims, records()), study(claims, records())])
    assert both.count(PROFILE.title) == 2
    assert "at both scales" in both


def test_a_claim_with_runs_has_a_track_for_each_scale(claims: Claims) -> None:
    own = study(claims, records())
    table = forest([own, own])
    rows = re.findall(r"<tr><td>(.*?)</td>(.*?)</tr>", table)
    assert [name for name, _ in rows] == ["Later is better.", "Later is worse."]
    for _, cells in rows:
        assert cells.count('class="track" role="img" aria-label="gradient 50 %: 10.0') == 2
    assert table.count('evidence.html#evidence-smoke-later"') == 2
    assert "\n\n" not in table  # Markdown ends a block of HTML there


def test_marks_lie_on_the_side_where_a_part_holds(claims: Claims) -> None:
    (first, second), (worse,) = (verdict.findings for verdict in study(claims, records(78.0)).verdicts[:2])
    assert standardised(first) == (3.0, 0.0)  # both seeds gain 10 points
    assert standardised(worse) == (-3.0, 0.0)
    at, half = standardised(second)  # 11 and 17 points
    assert at == pytest.approx(14 / 18**0.5)
    assert half == pytest.approx(12.706 / 2**0.5, rel=1e-3)  # Student's t of one degree of freedom
