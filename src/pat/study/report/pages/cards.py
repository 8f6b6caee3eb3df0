"""What held and what did not, to be read in a minute: the central claim, and a card a verdict."""

from collections.abc import Sequence

from pat.study.analysis.intervals import interval
from pat.study.claims.verdicts import DECIDED, NOT, NOT_RUN, OPEN, PARTLY, REPRODUCED, Finding, Study, Verdict
from pat.study.experiments.policies.finding import WORDS
from pat.study.experiments.policies.statistics import policy_regret
from pat.study.report.pages.verdicts import css, measured, rule, word
from pat.study.wording import amount, percent

CENTRAL = "epi-is-the-oracle"
"""Id of the claim that the paper stands on."""


def lead(study: Study) -> str:
    """The central claim, and a card a verdict."""
    cards = []
    for verdict in (REPRODUCED, PARTLY, NOT, OPEN):
        own = [item for item in study.verdicts if item.verdict == verdict]
        if own:
            text = _undecided(own) if verdict == OPEN else _bullets(own)
            title = f"{word(verdict).capitalize()}: {len(own)}"
            width = ":columns: 12\n" if verdict == OPEN else ""  # the longest list
            cards.append(
                f"::::{{grid-item-card}} {title}\n{width}:class-card: {css(verdict)}\n\n{text}\n::::"
            )
    texts = central(study)
    if cards:
        grid = [":::::{grid} 1 1 2 2", ":gutter: 3", ":class-container: lead", "", *cards, ":::::"]
        texts.append("\n".join(grid))
    if rest := [item for item in study.verdicts if item.verdict == NOT_RUN]:
        texts.append("Not run at this scale: " + " ".join(item.claim.claim for item in rest))
    return "\n\n".join(texts)


def central(study: Study) -> list[str]:
    """The paper's main claim, with what was measured of it; nothing where it was not."""
    return [
        f"**The central claim.** {item.claim.claim} Here: **{word(item.verdict)}**. "
        + " ".join(_part(study, finding) for finding in item.findings if finding.interval is not None)
        for item in study.verdicts
        if item.claim.id == CENTRAL and item.verdict in DECIDED
    ]


def _part(study: Study, finding: Finding) -> str:
    """A part's outcome, and what the two policies that it compares lose, if it does compare two."""
    part, asked = finding.part, finding.part.arguments
    if part.statistic != "regret_margin":
        return f"Measured: {part.name} {measured(finding)}, claimed {rule(part)}: {finding.outcome}."
    where = {key: asked[key] for key in ("network", "criterion", "ratios")}
    less, more = (
        policy_regret(study.evidence, policy=asked[name], **where).values.values()
        for name in ("policy", "of")
    )
    ratios = " and ".join(percent(ratio) for ratio in asked["ratios"])
    return (
        f"By {asked['criterion']} at {ratios} it **{finding.outcome}**: {WORDS[asked['policy']]} loses "
        f"{amount(interval(less))} against the oracle, where {WORDS[asked['of']]} loses "
        f"{amount(interval(more), '')} and {percent(asked['share'])} of that was allowed."
    )


def _bullets(verdicts: Sequence[Verdict]) -> str:
    return "\n".join(f"- {item.claim.claim}{_networks(item)}" for item in verdicts)


def _networks(verdict: Verdict) -> str:
    """The networks that a claim was held against, where its parts name them."""
    named = [str(part.arguments["network"]) for part in verdict.claim.parts if "network" in part.arguments]
    return f" ({', '.join(dict.fromkeys(named))})" if named else ""


def _undecided(verdicts: Sequence[Verdict]) -> str:
    """Claims that are open, by what their parts' own intervals would say."""
    texts = []
    for verdict, words in (
        (REPRODUCED, "all parts would hold"),
        (PARTLY, "some would hold, some fail"),
        (NOT, "all would fail"),
    ):
        own = [item for item in verdicts if item.uncorrected == verdict]
        if own:
            texts.append(f"{words.capitalize()} by their own 95 % intervals ({len(own)}):\n\n{_bullets(own)}")
    rest = [item for item in verdicts if item.uncorrected == OPEN]
    texts += (
        [f"With at least one part that has no clear side ({len(rest)}):\n\n{_bullets(rest)}"] if rest else []
    )
    return "\n\n".join(texts)
