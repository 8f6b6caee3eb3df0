"""Runs that start from other weights or masks: tickets, other masks, trained networks (Table 3)."""

from typing import Annotated

from pydantic import Field

from pat.study.experiments.evidence import Evidence, Sample, paired
from pat.study.experiments.pretrained import runs as pretrained
from pat.study.experiments.tickets import tables as tickets
from pat.study.experiments.variations import tables as variations
from pat.study.plan.settings import Ratio
from pat.study.store.record import Record

Epochs = Annotated[int, Field(ge=0)]


def ticket_difference(
    evidence: Evidence, ratio: Ratio, rewind: Epochs, at: tickets.At = "reference"
) -> Sample:
    """Pruning in training minus its mask on the weights after ``rewind`` epochs, test accuracy in points.

    See :func:`~pat.study.experiments.tickets.tables.ticket_difference`.
    """
    own = evidence.settings and evidence.settings.tickets
    if not own or ratio not in own.ratios or rewind not in own.rewind:
        return Sample()
    runs = _at(evidence.experiment("tickets"), ratio)
    values = tickets.ticket_difference(runs, evidence.profile, evidence.preset, ratio, rewind, at)
    return Sample.of(values, [r for r in runs if r.spec.pruning and r.spec.pruning.rewind in (None, rewind)])


def variation_distance(evidence: Evidence, ratio: Ratio, kind: variations.Kind) -> Sample:
    """Mean absolute difference of other masks' test accuracy to the original's, in points.

    See :func:`~pat.study.experiments.variations.tables.variation_distance`.
    """
    own = evidence.settings and evidence.settings.variations
    if not own or ratio not in own.ratios:
        return Sample()
    runs = _at(evidence.experiment("variations"), ratio)
    values = variations.variation_distance(runs, evidence.profile, evidence.preset, ratio, kind)
    return Sample.of(values, [r for r in runs if r.spec.experiment != "sweep" and _kind(r) in (None, kind)])


def variation_contrast(evidence: Evidence, ratio: Ratio) -> Sample:
    """:func:`variation_distance` of other structures minus that of the same structure, in points."""
    sides = variation_distance(evidence, ratio, "other"), variation_distance(evidence, ratio, "same")
    return paired(lambda other, same: other - same, *sides)


def pretrained_difference(evidence: Evidence, budget: pretrained.Budget) -> Sample:
    """EPI minus train, prune, finetune, test accuracy in points, mean over the ratios.

    See :func:`~pat.study.experiments.pretrained.runs.pretrained_difference`.
    """
    runs = evidence.experiment("pretrained")
    values = pretrained.pretrained_difference(runs, evidence.profile, evidence.preset, budget)
    return Sample.of(values, runs)


def _at(records: tuple[Record, ...], ratio: float) -> list[Record]:
    """Runs pruned at a ratio."""
    return [record for record in records if record.spec.pruning and record.spec.pruning.ratio == ratio]


def _kind(record: Record) -> str | None:
    variation = record.spec.pruning and record.spec.pruning.variation
    return variation.kind if variation else None
