"""How a claim is decided, in words: the rules of a file of claims, and what so many seeds can decide."""

from collections.abc import Sequence
from statistics import stdev
from typing import get_args

from scipy import stats

from pat.study.analysis.significance import resolvable
from pat.study.claims.claims import Claims, Family
from pat.study.claims.verdicts import Study
from pat.study.report.pages.verdicts import seeds, tested_in
from pat.study.wording import many


def told(claims: Claims, studies: Sequence[Study]) -> str:
    """The rules, and the effect that each study's seeds can decide."""
    return _by_parts(claims, studies) if claims.corrected == "parts" else _by_claims(claims, studies)


def _by_claims(claims: Claims, studies: Sequence[Study]) -> str:
    primary, secondary = (
        " and ".join(str(tested_in(family, study.verdicts)) for study in studies)
        for family in get_args(Family)
    )
    looks = (
        "Primary claims that are open after the first look may be decided once more, on more seeds, so "
        f"that each look has {claims.level_of('primary'):g} of {claims.level:g}. "
        if claims.looks > 1
        else ""
    )
    return (
        "Each claim has parts, each part a statistic that gives one number per seed, and a rule. All of "
        "them, the profiles, the images and the code that decides were fixed before any run that decides "
        "was made, see [](protocol.md). By a t-test over seeds a part *holds* or *fails*. A claim is "
        "as sure as its weakest part: its p-value is the largest of its parts'. *Primary* claims, those "
        f"that the paper's argument rests on, are corrected for their number by Holm (here {primary}), at "
        f"the level {claims.level_of('primary'):g}; all others are *secondary*, and corrected by Benjamini "
        f"and Hochberg (here {secondary}) at a false discovery rate of {claims.level:g}. {looks}A part "
        "that is not decided so is *open*, and where its own 95 % interval would have decided it, that is "
        "said. A claim is *reproduced* if all its parts hold, *not reproduced* if all fail, *partly "
        "reproduced* if some hold and the others fail, and *undecided* as long as one is open. A "
        "signed-rank test of the same values stands beside each t-test and decides nothing. "
        + " ".join(_tells(claims, study) for study in studies)
    ).strip()


def _tells(claims: Claims, study: Study) -> str:
    """How far from its bound a mean is decided."""
    n = seeds(study)
    if n < 2:
        return ""
    primary, secondary = (
        resolvable(range(n), claims.strictest(family)) / stdev(range(n)) for family in get_args(Family)
    )
    return (
        f"With {many(n, 'seed')} ({study.profile.name}) a part is decided nine times in ten if its mean lies "
        f"{primary:.1f} standard deviations over the seeds from the bound (primary claims), or "
        f"{secondary:.1f} (secondary ones, if half of them are decided). A claim of several parts needs more."
    )


def _by_parts(claims: Claims, studies: Sequence[Study]) -> str:
    numbers = " and ".join(str(study.tested[1]) for study in studies)
    return (
        "Each claim has parts, each part a statistic that gives one number per seed, and a rule that was "
        "fixed before the runs that decide it (seeds 0 to 2 of the digits had been seen, and are left "
        f"out). A part *holds* or *fails* if a t-test over seeds says so at the level {claims.level:g}, "
        f"after Holm's correction for all parts that have runs at its scale (here {numbers}); otherwise it "
        "is *open*, and where its own 95 % interval would have decided it, that is said. A claim is "
        "*reproduced* if all its parts hold, *not reproduced* if all fail, *partly reproduced* if some "
        "hold and some fail, and otherwise *undecided*. A signed-rank test of the same values stands "
        "beside each t-test and decides nothing. " + " ".join(_power(claims, study) for study in studies)
    )


def _power(claims: Claims, study: Study) -> str:
    """How large an effect has to be for the first part to be decided."""
    n, (_, parts) = seeds(study), study.tested
    if n < 2 or not parts:
        return ""
    needed = stats.t.ppf(1 - claims.level / (2 * parts), n - 1) / n**0.5
    return (
        f"With {n} seeds and {parts} parts ({study.profile.name}) the mean has to lie about "
        f"{needed:.1f} standard deviations of the values from the bound for a first part to be decided, so "
        "that *undecided* says at least as much about the number of seeds as about the scale."
    )
