"""Verdicts: what the records say of each claim, by its rule, corrected for the number of questions asked."""

from collections import Counter
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Literal, get_args

from pat.study.analysis.intervals import Interval, interval
from pat.study.analysis.significance import holm, lies, p_values
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
        p: directional p-value, twice the smaller of those for holding and for failing; None without runs.
        adjusted: the same, adjusted for all parts of the profile (Holm).
        outcome: ``holds`` or ``fails`` if the adjusted p-value decides it, ``open`` if not.
        leaning: what the 95 % interval alone would say of an open part; None if nothing.
    """

    part: Part
    sample: Sample
    interval: Interval | None
    p: float | None
    adjusted: float | None
    outcome: Outcome
    leaning: Literal["holds", "fails"] | None


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
    def tested_parts(self) -> int:
        """How many parts have runs, which Holm's correction counts."""
        return sum(found.outcome != "not run" for verdict in self.verdicts for found in verdict.findings)


def decide(claims: Claims, evidence: Evidence) -> list[Verdict]:
    """Hold every part against its rule.

    A part is decided by t-tests over seeds, one for holding and one for failing, at the claims' level after
    Holm's correction over all parts that have runs. A single seed decides nothing.

    Returns:
        One verdict a claim, in their order.
    """
    parts = [part for claim in claims.claims for part in claim.parts]
    samples = [statistics.compute(part.statistic, evidence, part.arguments) for part in parts]
    tests = {
        index: p_values(list(sample.values.values()), parts[index].region)
        for index, sample in enumerate(samples)
        if sample.values
    }
    adjusted = dict(zip(tests, holm([_directional(*test) for test in tests.values()]), strict=True))
    findings = iter(
        _finding(part, sample, *tests[index], adjusted[index], claims.level)
        if index in tests
        else Finding(part, sample, None, None, None, "not run", None)
        for index, (part, sample) in enumerate(zip(parts, samples, strict=True))
    )
    return [Verdict(claim, tuple(next(findings) for _ in claim.parts)) for claim in claims.claims]


def count(verdicts: Sequence[Verdict]) -> dict[str, int]:
    """How many claims got each verdict, all of :data:`VERDICTS`."""
    found = [verdict.verdict for verdict in verdicts]
    return {name: found.count(name) for name in VERDICTS}


def _directional(inside: float, outside: float) -> float:
    return min(1.0, 2 * min(inside, outside))


def _finding(
    part: Part, sample: Sample, inside: float, outside: float, adjusted: float, level: float
) -> Finding:
    found = interval(sample.values.values())
    p = _directional(inside, outside)
    if adjusted <= level:
        return Finding(part, sample, found, p, adjusted, "holds" if inside < outside else "fails", None)
    side = lies(found, part.region)
    leaning: Literal["holds", "fails"] | None = None if side is None else ("holds" if side else "fails")
    return Finding(part, sample, found, p, adjusted, "open", leaning)
