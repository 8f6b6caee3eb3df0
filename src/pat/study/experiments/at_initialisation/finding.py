"""What the chapter on pruning at initialisation finds, in a sentence."""

import pandas as pd

from pat.rivals.initialisation import FORCE, IterativeSNIP, RandomChannels
from pat.study import wording
from pat.study.experiments.at_initialisation.cells import by_epi, initialisation_specs, recorded
from pat.study.experiments.at_initialisation.summaries import REFERENCE, initialisation_table, more_than
from pat.study.experiments.evidence import Evidence

TOLD = {
    FORCE.title: FORCE.title,
    IterativeSNIP.title: IterativeSNIP.title,
    RandomChannels.title: f"leaving {RandomChannels.title}",
    by_epi("gradient"): "waiting for EPI",
}
"""What the sentence tells of, chosen before any run: the paper's "Init.", chance, and waiting."""


def finding(evidence: Evidence) -> str:
    """FORCE, iterative SNIP, chance and EPI against Algorithm 1 in epoch 0, in points, by ratio."""
    specs = initialisation_specs(evidence.profile, evidence.preset)
    table = initialisation_table(recorded(specs, evidence.store))
    gaps = {way: _by_ratio(table, way) for way in TOLD}
    texts = [f"{TOLD[way]} {wording.listed(_said(own))}" for way, own in gaps.items() if own]
    if not texts:
        return wording.NOT_RUN
    seeds = wording.seeds([gap.index for own in gaps.values() for gap in own.values()])
    network, found = evidence.architecture("bottleneck"), "; ".join(texts)
    return f"Against Algorithm 1 in epoch 0 by the gradient criterion, on `{network}`: {found} ({seeds})."


def _by_ratio(table: pd.DataFrame, way: str) -> dict[float, pd.Series]:
    """Where both have runs."""
    ratios = sorted(table["ratio"].dropna().unique())
    return {ratio: gap for ratio in ratios if len(gap := more_than(table, way, REFERENCE, ratio))}


def _said(gaps: dict[float, pd.Series]) -> list[str]:
    return [
        f"{wording.difference(gap, 'gains {}', 'loses {}')} at {wording.percent(ratio)}"
        for ratio, gap in gaps.items()
    ]
