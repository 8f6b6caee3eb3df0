"""Verdicts as Markdown: the front page's lead and table, and the page of evidence behind every number."""

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from math import isfinite
from pathlib import Path

import pandas as pd

from pat.study.claims.claims import Claim, Claims, Family, Part
from pat.study.claims.statistics import STATISTICS
from pat.study.claims.verdicts import (
    DECIDED,
    NOT,
    NOT_RUN,
    NOT_TESTED,
    OPEN,
    PARTLY,
    REPRODUCED,
    Finding,
    Study,
    Verdict,
    count,
)
from pat.study.paper.numbers import Paper
from pat.study.wording import amount, many

Link = Callable[[str], str]
"""A chapter's name in, its title out, as a link if the book has it."""

_REGRETS = ("policy_regret", "regret_difference")
_HUNDRED, _MANY = 100, 1000
_DIGITS = {"points": 1, "of dense": 2, "": 3}


def seeds(study: Study) -> int:
    """How many there are of it."""
    return len({record.spec.seed for record in study.evidence.records})


def tested_in(family: Family, verdicts: Sequence[Verdict]) -> int:
    """How many claims of a family have runs: so many are corrected together."""
    return sum(
        verdict.claim.family == family and any(finding.p is not None for finding in verdict.findings)
        for verdict in verdicts
    )


def needed(verdict: Verdict) -> float:
    """About how many seeds would decide an open claim, at least one more than it has: those of its part that
    needs the most; infinite if no number would."""
    parts = [finding.needed for finding in verdict.findings]
    return max(
        (float("inf") if n is None else max(n, had(verdict) + 1.0) for n in parts), default=float("inf")
    )


def had(verdict: Verdict) -> int:
    """Seeds of the part of a claim that has the fewest."""
    return min((0 if f.interval is None else f.interval.n for f in verdict.findings), default=0)


def counted(verdicts: Sequence[Verdict]) -> str:
    """How the claims of a profile came out, in one sentence."""
    found = count(verdicts)
    tested = sum(found[verdict] for verdict in DECIDED)
    rest = [f"{found[verdict]} {verdict}" for verdict in (NOT_RUN, NOT_TESTED) if found[verdict]]
    return (
        f"Of {tested} claims tested at this scale, {found[REPRODUCED]} are reproduced, {found[PARTLY]} "
        f"partly, {found[NOT]} not, and {found[OPEN]} are undecided"
        + (f"; {', '.join(rest)}." if rest else ".")
    )


def table(study: Study, claims: Claims, paper: Paper, chapter: Link, *, all_claims: bool = True) -> str:
    """The table of verdicts, one row a claim, in a division that the book's script adds filters to.

    Args:
        study: of one profile.
        claims: what it decided.
        paper: the paper's values.
        chapter: see :data:`Link`.
        all_claims: whether to show claims without runs too.
    """
    head = ["The paper claims", "Its number", "Measured here: mean [95 % interval]", "Verdict"]
    rows = [head, ["---"] * len(head)]
    collapsed = _collapsed(study)
    for verdict in study.verdicts:
        if all_claims or verdict.verdict in DECIDED:
            rows.append(_row(verdict, study, claims, paper, chapter, collapsed))
    text = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)
    return f"::::{{div}} verdicts\n{text}\n::::"


def _collapsed(study: Study) -> AbstractSet[str]:
    return {record.id for record in study.evidence.records if record.status == "collapsed"}


def _row(
    verdict: Verdict, study: Study, claims: Claims, paper: Paper, chapter: Link, collapsed: AbstractSet[str]
) -> list[str]:
    claim, name = verdict.claim, study.profile.name
    where = f"{claim.where}; {claim.family}" if claims.corrected == "claims" and claim.parts else claim.where
    numbers = [f"{label}: {paper.number(path).value:g}" for label, path in claim.paper.items()]
    parts = [
        _part(finding, label(name, claim, number), study, collapsed)
        for number, finding in enumerate(verdict.findings, 1)
    ]
    return [
        f"{claim.claim}<br>[{where}]{{.where}}<br>{chapter(claim.chapter)}",
        _lines(numbers),
        _lines([claim.untested] if claim.untested else parts),
        "<br>".join(filter(None, [_badge(verdict.verdict), verdict.counts, _open(verdict), _alone(verdict)])),
    ]


def _open(verdict: Verdict) -> str:
    """How many seeds left a claim open, and about how many would decide it."""
    if verdict.verdict != OPEN:
        return ""
    wanted = needed(verdict)
    more = f"; {about(wanted)} needed" if isfinite(wanted) else ""
    return f"[{many(had(verdict), 'seed')}{more}]{{.where}}"


def about(seeds: float) -> str:
    """``about 30``, or that it is out of reach: an estimate from a mean near its bound tells no more."""
    rounded = seeds if seeds < _HUNDRED else round(seeds, -2)
    return f"about {rounded:,.0f}" if seeds <= _MANY else f"more than {_MANY:,}"


def _alone(verdict: Verdict) -> str:
    """What an open claim's parts would say by their own intervals, if that is clear."""
    clear = verdict.verdict == OPEN and verdict.uncorrected != OPEN
    return f"[uncorrected: {verdict.uncorrected}]{{.where}}" if clear else ""


def _part(finding: Finding, place: str, study: Study, collapsed: AbstractSet[str]) -> str:
    name, found = finding.part.name, finding.interval
    if found is None:
        return f"{name}: not run"
    quoted = f"{{ref}}`{measured(finding)} <{place}>`"
    return (
        f"{name}: {quoted}, n = {found.n}{_fallen(finding, collapsed)}{_silent(finding, study)}; "
        f"claimed {rule(finding.part)}: {_outcome(finding)}"
    )


def _fallen(finding: Finding, collapsed: AbstractSet[str]) -> str:
    """How many of the runs behind a number are of networks that collapsed: their accuracy is a constant's."""
    behind = {run_id for ids in finding.sample.records.values() for run_id in ids}
    fallen = len(behind & collapsed)
    return f" ({fallen} of the {len(behind)} runs behind it collapsed)" if fallen else ""


def _silent(finding: Finding, study: Study) -> str:
    """In how many of the runs that EPI was asked about it did not fire."""
    asked = finding.part.arguments
    if "epi" not in asked.values() or "network" not in asked:
        return ""
    table = study.evidence.regrets
    named = {"architecture": study.evidence.architecture(asked["network"]), "criterion": asked["criterion"]}
    own = table[(table[list(named)] == pd.Series(named)).all(axis=1) & (table["policy"] == "epi")]
    if ratios := asked.get("ratios"):
        own = own[own["ratio"].isin(ratios)]
    silent = sum(own["triggered"] == False)  # noqa: E712 - of objects
    return (
        f" (EPI silent in {silent} of {len(own)} runs, which count at the pre-defined epoch)"
        if silent
        else ""
    )


def evidence_page(study: Study, claims: Claims, book: Path) -> str:
    """Every part of a profile's claims: rule, tests, values, and links to the records behind each value.

    Args:
        study: of one profile.
        claims: what it decided.
        book: folder of the page, which the links start from.
    """
    name, by_id = study.profile.name, {record.id: record for record in study.evidence.records}

    def to(file: Path) -> str:
        return f"<path:{Path(os.path.relpath(str(file), str(book))).as_posix()}>"

    def links(seed: int, finding: Finding) -> str:
        by_file: dict[Path, list[str]] = defaultdict(list)
        for run_id in finding.sample.records[seed]:
            by_file[study.evidence.store.file(by_id[run_id].spec)].append(run_id)
        found = [
            f'[{ids[0][:8]}]({to(file)} "{by_id[ids[0]].spec.title}")'
            if file.suffix == ".json"
            else f"[{file.name}]({to(file)}): {' '.join(f'`{run_id[:8]}`' for run_id in ids)}"
            for file, ids in by_file.items()
        ]
        return " ".join(found + [f"[{file.name}]({to(file)})" for file in finding.sample.files])

    blocks, collapsed = [f"## {study.profile.title}"], _collapsed(study)
    for verdict in study.verdicts:
        claim = verdict.claim
        blocks.append(f"({label(name, claim)})=\n### {claim.claim}")
        blocks.append(" ".join(filter(None, [f"{claim.where}.", _badge(verdict.verdict), verdict.counts])))
        blocks += [claim.untested] if claim.untested else []
        blocks += [f"Why these bounds: {claim.because}"] if claim.because else []
        for number, finding in enumerate(verdict.findings, 1):
            told = _told(finding, _corrected(finding, verdict, study, claims), study, collapsed)
            blocks.append(f"({label(name, claim, number)})=\n{told}")
            blocks += [_values(finding, links)] if finding.sample.values else []
    return "\n\n".join(blocks) + "\n"


def _corrected(finding: Finding, verdict: Verdict, study: Study, claims: Claims) -> str:
    """The p-value that decides, and what it is corrected for."""
    if finding.adjusted is None:
        return ""
    if claims.corrected == "parts":
        return f"{finding.adjusted:.2g} corrected for {study.tested[1]} parts"
    family = verdict.claim.family
    number = tested_in(family, study.verdicts)
    return f"the claim's {finding.adjusted:.2g}, corrected for {many(number, f'{family} claim')}"


def _told(finding: Finding, corrected: str, study: Study, collapsed: AbstractSet[str]) -> str:
    part, found = finding.part, finding.interval
    arguments = ", ".join(f"{key}: {value}" for key, value in part.arguments.items())
    text = f"**{part.name}.** {_documented(part.statistic)} ({arguments}); claimed {rule(part)}. "
    if found is None or finding.p is None or finding.rank_p is None:
        return text + "There are no runs for it."
    fallen, tells = _fallen(finding, collapsed) + _silent(finding, study), ""
    if finding.resolves:
        far = f"{finding.resolves:.{_DIGITS[part.unit] + 1}f}{_unit(part)}"
        tells = f" So many such values decide about nine times in ten at {far} from the bound."
    return text + (
        f"Mean {measured(finding)}, n = {found.n}{fallen}; p = {finding.p:.2g} "
        f"(signed rank {finding.rank_p:.2g}), {corrected}: {_outcome(finding)}.{tells}"
    )


def _documented(statistic: str) -> str:
    return f"{{py:obj}}`{statistic} <{STATISTICS[statistic].__module__}.{statistic}>`"


def _values(finding: Finding, links: Callable[[int, Finding], str]) -> str:
    digits = _DIGITS[finding.part.unit] + 1
    rows = ["| Seed | Value | Records |", "| --- | --- | --- |"]
    for seed, value in sorted(finding.sample.values.items()):
        shown = f"{value:.{digits}f}".replace("-", "−")
        rows.append(f"| {seed} | {shown} | {links(seed, finding)} |")
    return ":::{dropdown} Values and records\n" + "\n".join(rows) + "\n:::"


def _unit(part: Part) -> str:
    return f" {part.unit}" if part.unit else ""


def measured(finding: Finding) -> str:
    assert finding.interval is not None
    unit = _unit(finding.part)
    if finding.part.statistic in _REGRETS:  # the more, the worse
        unit += " of regret"
    return amount(finding.interval, "", _DIGITS[finding.part.unit]) + unit


def rule(part: Part) -> str:
    """Where the mean should lie, in words."""
    low, high = part.region
    unit = _unit(part) if part.unit == "points" else ""
    if {low, high} & {1, -1}:
        unit = unit.removesuffix("s")
    if low == float("-inf"):
        text = f"below {high:g}"
    elif high == float("inf"):
        text = f"above {low:g}"
    else:
        text = f"between {low:g} and {high:g}"
    return text.replace("-", "−") + unit


def _outcome(finding: Finding) -> str:
    by_itself = f" (by itself it would {finding.leaning.removesuffix('s')})" if finding.leaning else ""
    return f"**{finding.outcome}**{by_itself}"


def word(verdict: str) -> str:
    """A verdict as pages name it."""
    return "undecided" if verdict == OPEN else verdict


def _badge(verdict: str) -> str:
    return f"[{word(verdict)}]{{.verdict .{css(verdict)}}}"


def css(verdict: str) -> str:  # as a style sheet can name it
    return verdict.replace(" ", "-")


def _lines(lines: Sequence[str]) -> str:
    return "".join(f"[{line}]{{.part}}" for line in lines) if lines else "–"


def label(name: str, claim: Claim, number: int | None = None) -> str:
    """Of a claim's place on the page of evidence, or of one part's."""
    return f"evidence-{name}-{claim.id}" + (f"-{number}" if number else "")
