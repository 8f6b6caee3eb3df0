"""Verdicts: what the records say of each claim, by its rules, corrected for the number of claims."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Literal, get_args

from pat.study.analysis.intervals import Interval, interval
from pat.study.analysis.significance import (
    directional,
    false_discovery,
    holm,
    lies,
    p_values,
    resolvable,
    seeds_needed,
    signed_rank,
)
from pat.study.claims import statistics
from pat.study.claims.claims import Claim, Claims, Part
from pat.study.experiments.evidence import Evidence, Sample
from pat.study.plan.profile import Profile

Outcome = Literal["holds", "fails", "open", "not run"]
"""Of a part."""

REPRODUCED, PARTLY, NOT = "reproduced", "partly reproduced", "not reproduced"
OPEN, NOT_RUN, NOT_TESTED = "not decidable at this scale", "not run", "not tested"
VERDICTS = (REPRODUCED, PARTLY, NOT, OPEN, NOT_RUN, NOT_TESTED)
"""Of a claim."""

DECIDED = (REPRODUCED, PARTLY, NOT, OPEN)
"""The verdicts of claims that have runs."""


@dataclass(frozen=True)
class Finding:
    """What the records say of one part.

    Attributes:
        part: the question.
        sample: one value a seed, with the records behind it.
        interval: mean and 95 % interval by itself; None without runs.
        p: directional p-value of the t-test, twice the smaller of those for holding and for failing; None
            without runs.
        adjusted: that of the claim (in the first round of the part), adjusted for its family.
        rank_p: the same of the signed-rank test, which is shown beside it and decides nothing.
        outcome: ``holds`` or ``fails`` if ``adjusted`` decides it, ``open`` if not.
        leaning: what the 95 % interval alone would say of an open part; None if nothing.
        resolves: distance from the bound that these values would decide, nine times in ten, at the level of
            the claim's family; None for fewer than two values.
        needed: seeds that would decide a part of this mean and spread, likewise.
    """

    part: Part
    sample: Sample
    interval: Interval | None = None
    p: float | None = None
    adjusted: float | None = None
    rank_p: float | None = None
    outcome: Outcome = "not run"
    leaning: Literal["holds", "fails"] | None = None
    resolves: float | None = None
    needed: int | None = None


@dataclass(frozen=True)
class Verdict:
    """A claim, what was found of each part, and what follows."""

    claim: Claim
    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> str:
        """One of :data:`VERDICTS`."""
        return _judge({finding.outcome for finding in self.findings})

    @property
    def uncorrected(self) -> str:
        """The verdict if each part's own 95 % interval decided it, uncorrected for their number."""
        return _judge({finding.leaning or finding.outcome for finding in self.findings})

    @property
    def counts(self) -> str:
        """How the parts came out, where they did not come out alike; empty where they did."""
        found = Counter(finding.outcome for finding in self.findings)
        if len(found) < 2:
            return ""
        plural: dict[Outcome, str] = {"holds": "hold", "fails": "fail"}
        words = [
            (found[outcome], plural.get(outcome, outcome) if found[outcome] > 1 else outcome)
            for outcome in get_args(Outcome)
            if found[outcome]
        ]
        (n, word), rest = words[0], words[1:]
        return ", ".join([f"{n} of {found.total()} parts {word}", *(f"{n} {word}" for n, word in rest)])


def _judge(outcomes: AbstractSet[Outcome]) -> str:
    if not outcomes:
        return NOT_TESTED
    alike: dict[Outcome, str] = {"not run": NOT_RUN, "holds": REPRODUCED, "fails": NOT}
    if len(outcomes) == 1:
        return alike.get(next(iter(outcomes)), OPEN)
    return PARTLY if {"holds", "fails"} <= outcomes else OPEN


@dataclass(frozen=True)
class Study:
    """A profile's records, and what they say of each claim."""

    evidence: Evidence
    verdicts: Sequence[Verdict]

    @property
    def profile(self) -> Profile:
        return self.evidence.profile

    @property
    def tested(self) -> tuple[int, int]:
        """How many claims and how many parts have runs."""
        parts = [[found for found in verdict.findings if found.p is not None] for verdict in self.verdicts]
        return sum(map(bool, parts)), sum(map(len, parts))


def decide(claims: Claims, evidence: Evidence) -> list[Verdict]:
    """Hold every part against its rule, by t-tests over seeds, one for holding and one for failing.

    What is corrected for its number are claims, each as sure as its weakest part (the largest p-value of its
    parts: intersection-union): primary ones by Holm, at the level divided by the number of looks at the data,
    secondary ones by Benjamini and Hochberg. In the first round it was parts, all of them by Holm. What has
    no runs does not count. A single seed decides nothing.

    Returns:
        One verdict per claim, in their order.
    """
    samples = {
        (index, number): statistics.compute(part.statistic, evidence, part.arguments)
        for index, claim in enumerate(claims.claims)
        for number, part in enumerate(claim.parts)
    }
    units: dict[tuple[int, int], list[float]] = defaultdict(list)
    for place, sample in samples.items():
        if sample.values:
            index, number = place
            test = p_values(list(sample.values.values()), claims.claims[index].parts[number].region)
            units[claims.unit(*place)].append(directional(*test))
    adjusted: dict[tuple[int, int], float] = {}
    for family, correct in (("primary", holm), ("secondary", false_discovery)):
        own = [unit for unit in units if claims.claims[unit[0]].family == family]
        adjusted |= zip(own, correct([max(units[unit]) for unit in own]), strict=True)
    return [
        Verdict(
            claim,
            tuple(
                _finding(
                    part, samples[index, number], adjusted.get(claims.unit(index, number)), claims, claim
                )
                for number, part in enumerate(claim.parts)
            ),
        )
        for index, claim in enumerate(claims.claims)
    ]


def _finding(part: Part, sample: Sample, adjusted: float | None, claims: Claims, claim: Claim) -> Finding:
    """What one part's values say, given the adjusted p-value of what is corrected with it."""
    if adjusted is None or not sample.values:
        return Finding(part, sample)
    values, level = list(sample.values.values()), claims.strictest(claim.family)
    mean, (inside, outside) = interval(values), p_values(values, part.region)
    known: dict[str, Any] = {
        "interval": mean,
        "p": directional(inside, outside),
        "rank_p": directional(*p_values(values, part.region, signed_rank)),
        "adjusted": adjusted,
    }
    if len(values) > 1:
        bound = min((b for b in part.region if math.isfinite(b)), key=lambda b: abs(b - mean.mean))
        known |= {"resolves": resolvable(values, level), "needed": seeds_needed(values, bound, level)}
    if adjusted <= claims.level_of(claim.family):
        return Finding(part, sample, outcome="holds" if inside < outside else "fails", **known)
    side = lies(mean, part.region)
    leaning: Literal["holds", "fails"] | None = None if side is None else ("holds" if side else "fails")
    return Finding(part, sample, outcome="open", leaning=leaning, **known)


def count(verdicts: Sequence[Verdict]) -> dict[str, int]:
    """How many claims got each verdict, all of :data:`VERDICTS`."""
    found = [verdict.verdict for verdict in verdicts]
    return {name: found.count(name) for name in VERDICTS}
