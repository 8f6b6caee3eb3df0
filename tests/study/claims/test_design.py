"""A part that a schedule decides by itself is refused before any run."""

import pytest
import yaml

from pat.files.paths import BOOK, NOTEBOOKS
from pat.study.claims.claims import Claims, load_claims
from pat.study.claims.design import check_design, reach
from pat.study.plan.profile import load_profile


def of_part(statistic: str, **rule: float) -> Claims:
    part = {"name": "the part", "statistic": statistic, "unit": "", "arguments": {"ratio": 0.5}, **rule}
    claim = {"id": "a-claim", "where": "Sec. 4.3", "claim": "It costs.", "chapter": "audit", "parts": [part]}
    return Claims.model_validate({"level": 0.05, "claims": [claim]})


@pytest.mark.parametrize("name", ["digits", "cifar10-small"])
def test_the_claims_are_decidable_by_the_design(name: str) -> None:
    check_design(load_claims(BOOK, NOTEBOOKS), load_profile(name))


@pytest.mark.parametrize(
    ("profile", "claims", "message"),
    [
        # (1 + 1/24) / (12/24): a network that costs nothing, pruned as early as EPI can
        ("digits-24", of_part("cost_ratio", greater=2.4), "'the part': it can only fail, .* 1.042 to 2.083"),
        ("digits-24", of_part("cost_ratio", greater=1), "'the part': it can only hold"),
        ("digits-24", of_part("training_saving", greater=0.5), "it can only fail, .* allows 0 to 0.5"),
        ("digits", of_part("training_saving", less=1), "it can only hold, .* allows 0 to 0.8667"),
    ],
)
def test_what_only_one_outcome_can_satisfy_is_refused(profile: str, claims: Claims, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_design(claims, load_profile(profile))


def test_the_paper_s_clock_leaves_both_outcomes() -> None:
    claims, profile = of_part("cost_ratio", greater=2.4), load_profile("digits")
    check_design(claims, profile)
    least, most = reach(claims.claims[0].parts[0], profile)
    assert least < 2.4 < most == pytest.approx((1 + 1 / 90) / (12 / 90))


def test_the_first_round_s_rules_are_kept_as_they_were() -> None:
    content = yaml.safe_load((BOOK / "claims_first_round.yaml").read_text(encoding="utf-8"))
    with pytest.raises(ValueError, match=r"2\.4 times and more"):
        check_design(Claims.model_validate(content), load_profile("digits-24"))
