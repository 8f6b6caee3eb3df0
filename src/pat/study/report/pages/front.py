"""The front page: an abstract in a few sentences, the main result, and all claims in one picture."""

import html
import io
from collections.abc import Sequence
from math import isfinite
from statistics import stdev

import matplotlib as mpl
from scipy import stats

from pat.study import wording
from pat.study.analysis.intervals import interval
from pat.study.claims.claims import Claim
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
from pat.study.experiments.policies.figures import moments
from pat.study.experiments.policies.finding import WORDS, regrets
from pat.study.experiments.speed.statistics import training_saving
from pat.study.report.pages.cards import CENTRAL, central
from pat.study.report.pages.verdicts import about, label, measured, needed, seeds
from pat.study.store.rows import runs_table
from pat.study.style import style

_REACH = 3.0
"""Standard deviations from the bound to either end of a track."""
_FEW = 3
"""So many claims the abstract names, and of more the primary ones."""
_WORDS = {OPEN: "open"}
"""Shorter where there is little room."""


def abstract(studies: Sequence[Study]) -> str:
    """What was held against what, what came out, what is open, what the policies cost, and what to do."""
    sizes = " and ".join(f"{study.profile.title} ({_size(study)})" for study in studies)
    texts = [
        text if len(studies) == 1 else f"{text.removesuffix('.')} (on {study.profile.name})."
        for study in studies
        for text in central(study)
    ]
    for verdict, words in (
        (REPRODUCED, "Reproduced"),
        (PARTLY, "Reproduced in part"),
        (NOT, "Not reproduced"),
    ):
        texts += _alike(studies, verdict, words)
    texts += [_undecided(study) for study in studies if count(study.verdicts)[OPEN]]
    texts += [text for study in studies if (text := _costs(study))]
    texts += [text for study in studies if (text := _saved(study))]
    texts += [text for study in studies if (text := _advice(study))]
    bullets = "\n".join(f"- {text}" for text in texts)
    return f"The paper's claims were held against runs on {sizes}.\n\n{bullets}"


def _size(study: Study) -> str:
    runs, recipe = len(study.evidence.records), study.profile.recipe
    part = f" of 1/{recipe.slices} of the images each" if recipe.slices > 1 else ""
    return f"{recipe.epochs} epochs{part}, {seeds(study)} seeds, {runs:,} runs"


def _alike(studies: Sequence[Study], verdict: str, words: str) -> list[str]:
    """The claims of one verdict but for the central one, first those that have it at every scale."""
    by_claim: dict[str, list[Verdict]] = {}
    for study in studies:
        for item in study.verdicts:
            by_claim.setdefault(item.claim.id, []).append(item)
    by_claim.pop(CENTRAL, None)
    everywhere = [own for own in by_claim.values() if _at(own, verdict) == len(studies) > 1]
    once = [own for own in by_claim.values() if _at(own, verdict) and own not in everywhere]
    where = {1: "", 2: " at both scales"}.get(len(studies), " at all scales")
    texts = []
    if everywhere:
        texts.append(f"**{words}{where}**: {_said(everywhere)}.")
    if once:
        texts.append(f"**{words}{' at one scale' if len(studies) > 1 else ''}**: {_said(once)}.")
    return texts


def _at(own: Sequence[Verdict], verdict: str) -> int:
    return sum(item.verdict == verdict for item in own)


def _said(claims: Sequence[Sequence[Verdict]]) -> str:
    """Claims by name: all where they are few, else the primary ones."""
    primary = [own for own in claims if own[0].claim.family == "primary"]
    named = claims if len(claims) <= _FEW else primary
    texts = [_name(own[0].claim) for own in named]
    if rest := len(claims) - len(named):
        texts.append(f"{'and ' if named else ''}{wording.many(rest, 'secondary claim')}")
    return "; ".join(texts)


def _name(claim: Claim) -> str:
    return f"*{claim.claim.removesuffix('.')}*"


def _undecided(study: Study) -> str:
    """How many claims are open, and what the nearest and the middle one of them would take."""
    own = [item for item in study.verdicts if item.verdict == OPEN]
    wanted = sorted(map(needed, own))
    text = f"**Open** on {study.profile.name}: {len(own)} claim{'' if len(own) == 1 else 's'}"
    if primary := [_name(item.claim) for item in own if item.claim.family == "primary"]:
        text += f", of the primary ones {wording.listed(primary)}"
    if isfinite(wanted[0]):
        text += f"; the nearest to a decision would take {about(wanted[0])} seeds"
        middle = about(wanted[(len(own) - 1) // 2])
        text += f", half of the claims {middle} or fewer" if len(own) > 1 and "more" not in middle else ""
    return text + "."


def _costs(study: Study) -> str:
    """What each way to choose the epoch lost against the oracle, gradient criterion, bottleneck network."""
    found = regrets(study.evidence, "gradient")
    if not found:
        return ""
    lost = ", ".join(
        f"{WORDS[policy]} {wording.amount(interval(own.values()), '')}" for policy, own in found.items()
    )
    return f"Points **lost against the oracle** on {study.profile.name}, gradient criterion: {lost}."


def _saved(study: Study) -> str:
    """What EPI saves of the training at half of the filters, by work and by time."""
    told = [
        f"{wording.amount(interval(100 * value for value in own.values()), ' %', 0)} of {what}"
        for by, what in (("macs", "its multiply-accumulates"), ("steps", "its time by measured steps"))
        if (own := training_saving(study.evidence, 0.5, by).values)
    ]
    where = f"on {study.profile.name}, half of the filters by the gradient criterion"
    return f"EPI **saves of the training** {where}: {wording.listed(told)}." if told else ""


def _advice(study: Study) -> str:
    """What EPI is worth beside the rule that needs no indicator and no threshold, by criterion."""
    texts = []
    for criterion in ("gradient", "magnitude"):
        found = regrets(study.evidence, criterion)
        seeds = sorted(set(found.get("epi", {})) & set(found.get("predefined", {})))
        if seeds:
            less = [found["predefined"][seed] - found["epi"][seed] for seed in seeds]
            texts.append(f"{wording.difference(less, '{} less', '{} more')} by the {criterion} criterion")
    if not texts:
        return ""
    return (
        f"**In practice** ({study.profile.name}): against a fixed third of the schedule, which needs neither "
        f"indicator nor threshold, EPI loses {wording.listed(texts)}; see [](practice.md)."
    )


def figure(study: Study) -> bytes:
    """Accuracy against the pruning epoch, and what the ways to choose it chose: an SVG."""
    evidence, written = study.evidence, io.BytesIO()
    with mpl.rc_context():
        style()
        drawn = moments(runs_table(evidence.sweep), evidence.regrets, study.profile.architectures[0])
        drawn.savefig(written, format="svg", metadata={"Date": None})
    return written.getvalue()


def forest(studies: Sequence[Study]) -> str:
    """All claims as a table in HTML, a track for each scale: where the parts' means lie from their bounds.

    A dot is a part's mean, a bar its 95 % interval, in standard deviations of the values: right of the
    middle the part would hold, left of it fail.
    """
    heads = "".join(f"<th>{html.escape(study.profile.name)}</th>" for study in studies)
    rows = []
    for index, first in enumerate(studies[0].verdicts):
        own = [study.verdicts[index] for study in studies]
        if all(item.verdict in (NOT_RUN, NOT_TESTED) for item in own):
            continue
        cells = "".join(_cell(study, item) for study, item in zip(studies, own, strict=True))
        rows.append(f"<tr><td>{html.escape(first.claim.claim)}</td>{cells}</tr>")
    body = "\n".join(rows)
    head = f"<thead><tr><th>The paper claims</th>{heads}</tr></thead>"
    return f'<table class="forest">\n{head}\n<tbody>\n{body}\n</tbody>\n</table>'


def _cell(study: Study, verdict: Verdict) -> str:
    if verdict.verdict not in DECIDED:
        return "<td>–</td>"
    name, claim = study.profile.name, verdict.claim
    shown = [finding for finding in verdict.findings if finding.interval is not None]
    marks = "".join(_mark(finding, place, len(shown)) for place, finding in enumerate(shown))
    told = "; ".join(f"{finding.part.name}: {measured(finding)}, {finding.outcome}" for finding in shown)
    css = verdict.verdict.replace(" ", "-")
    link = f"evidence.html#{label(name, claim)}"
    word = _WORDS.get(verdict.verdict, verdict.verdict)
    return (
        f'<td data-scale="{html.escape(name, quote=True)}"><a class="verdict {css}" href="{link}">{word}</a>'
        f'<span class="track" role="img" aria-label="{html.escape(told, quote=True)}">{marks}</span></td>'
    )


def _mark(finding: Finding, place: int, among: int) -> str:
    """A part's bar and dot, one below the other."""
    at, half = standardised(finding)
    low, high, middle = (_percent(value) for value in (at - half, at + half, at))
    top = 100 * (place + 0.5) / among
    title = html.escape(f"{finding.part.name}: {measured(finding)}, {finding.outcome}", quote=True)
    return (
        f'<i class="{finding.outcome}" style="left:{low:.1f}%;width:{high - low:.1f}%;top:{top:.0f}%"></i>'
        f'<b class="{finding.outcome}" style="left:{middle:.1f}%;top:{top:.0f}%" title="{title}"></b>'
    )


def standardised(finding: Finding) -> tuple[float, float]:
    """How far a part's mean lies on the side where it holds, and half of its 95 % interval.

    Both in standard deviations of the values; as far as a track reaches where those do not vary.
    """
    values, (low, high) = list(finding.sample.values.values()), finding.part.region
    mean = sum(values) / len(values)
    inside = min(side for side in (mean - low, high - mean) if isfinite(side))
    spread = stdev(values) if len(values) > 1 else 0.0
    if spread == 0:
        return (_REACH if inside > 0 else -_REACH), 0.0
    return inside / spread, float(stats.t.ppf(0.975, len(values) - 1)) / len(values) ** 0.5


def _percent(value: float) -> float:
    """A place on the track."""
    return 50 + 50 * max(-_REACH, min(_REACH, value)) / _REACH
