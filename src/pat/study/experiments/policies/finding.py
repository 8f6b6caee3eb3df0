"""What the chapter on policies finds, in a sentence."""

from pat.criteria import Criterion
from pat.study import wording
from pat.study.analysis.intervals import interval
from pat.study.experiments.evidence import Evidence
from pat.study.experiments.policies.statistics import Policy, policy_regret

WORDS: dict[Policy, str] = {
    "epi": "EPI",
    "predefined": "a fixed third of the schedule",
    "init": "initialisation",
    "random": "a random early epoch",
}
"""The policies that need no tuning, the paper's own first."""


def finding(evidence: Evidence) -> str:
    """What each way of choosing the epoch loses, by criterion."""
    texts, behind = [], []
    for criterion in ("gradient", "magnitude"):
        lost = regrets(evidence, criterion)
        if lost:
            told = [
                f"{WORDS[policy]} {wording.amount(interval(own.values()), '')}"
                for policy, own in lost.items()
            ]
            texts.append(f"by the {criterion} criterion {wording.listed(told)}")
            behind += list(lost.values())
    if not texts:
        return wording.NOT_RUN
    return (
        f"Points of accuracy lost against the oracle on `{evidence.architecture('bottleneck')}`, mean over "
        f"the ratios: {'; '.join(texts)} ({wording.seeds(behind)})."
    )


def regrets(evidence: Evidence, criterion: Criterion) -> dict[Policy, dict[int, float]]:
    """Regret of the bottleneck network by policy and seed; empty unless all of :data:`WORDS` have some."""
    found = {
        policy: dict(policy_regret(evidence, "bottleneck", criterion, policy).values) for policy in WORDS
    }
    return found if all(found.values()) else {}
