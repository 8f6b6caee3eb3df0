"""Sec. 3 and 4.5: how the structure moves while the bottleneck network trains, and what EPI says of it."""

from collections.abc import Callable
from typing import Annotated

import pandas as pd
from pydantic import Field

from pat.criteria import Criterion
from pat.stability import similarity
from pat.study.analysis.stability import epi_against_ratio
from pat.study.experiments.evidence import Evidence, Sample, correlates, paired, shares
from pat.study.experiments.oracle_sweep.statistics import trend
from pat.study.plan.settings import Ratio
from pat.study.store.record import Record


@correlates
def structure_settling(evidence: Evidence, criterion: Criterion, ratio: Ratio) -> Sample:
    """How much more the reference epoch's final structure resembles the last one's than the first's does.

    Psi(reference, last) - Psi(first, last) of the structures that Algorithm 1 leaves when it runs in those
    epochs of the profile's contrast. A seed whose run collapsed left no structure and is missing.
    """
    contrast, grid = evidence.profile.contrast, evidence.grid("bottleneck", criterion).get(ratio, {})
    left = {
        (epoch, record.spec.seed): structure
        for epoch in (contrast.first, contrast.reference, contrast.last)
        for record in grid.get(epoch, [])
        if (structure := _left(record)) is not None
    }

    def resemblance(epoch: int) -> Sample:
        used = [r for at in (epoch, contrast.last) for r in grid.get(at, [])]
        both = {s for at, s in left if at == epoch} & {s for at, s in left if at == contrast.last}
        return Sample.of({s: similarity(left[epoch, s], left[contrast.last, s]) for s in sorted(both)}, used)

    sides = resemblance(contrast.reference), resemblance(contrast.first)
    return paired(lambda late, early: late - early, *sides)


@correlates
def early_motion(
    evidence: Evidence, criterion: Criterion, ratio: Ratio, times: Annotated[float, Field(ge=1)]
) -> Sample:
    """Motion per epoch of the one-shot structure in the first ninth of the schedule minus so many times that
    of the rest.

    An epoch's motion is 1 - Psi(N_t, N_{t-1}). The first ninth is 10 of the paper's 90 epochs: before it EPI
    cannot trigger.
    """

    def more(run: pd.DataFrame) -> float:
        early, late = _motion(run, evidence)
        return early - times * late

    return _by_seed(evidence, criterion, ratio, more)


@correlates
def structure_motion(evidence: Evidence, criterion: Criterion, ratio: Ratio) -> Sample:
    """How much more the one-shot structure moves in the first third of a dense run than in its last third.

    An epoch's motion is 1 - Psi(N_t, N_{t-1}); the mean over each third.
    """
    epochs = evidence.profile.recipe.epochs

    def motion(run: pd.DataFrame) -> float:
        moved = 1 - run.set_index("epoch")["previous"]
        return float(
            moved[moved.index < epochs // 3].mean() - moved[moved.index >= epochs - epochs // 3].mean()
        )

    return _by_seed(evidence, criterion, ratio, motion)


@shares
def structure_stays(evidence: Evidence, criterion: Criterion, ratio: Ratio) -> Sample:
    """Mean Psi of successive epochs' one-shot structures after the first ninth of the schedule."""
    return _by_seed(evidence, criterion, ratio, lambda run: 1 - _motion(run, evidence)[1])


@shares
def epi_rises(evidence: Evidence, criterion: Criterion, ratio: Ratio) -> Sample:
    """Share of a dense run's epochs in which EPI is not under the epoch before."""

    def rising(run: pd.DataFrame) -> float:
        steps = run.sort_values("epoch")["value"].dropna().diff().dropna()
        return float((steps >= 0).mean()) if len(steps) else float("nan")

    return _by_seed(evidence, criterion, ratio, rising)


@correlates
def epi_trend(evidence: Evidence, criterion: Criterion, ratio: Ratio) -> Sample:
    """Spearman's rank correlation of EPI and the epoch, over a dense run's epochs; 0 if EPI never changes."""

    def rising(run: pd.DataFrame) -> float:
        known = run.dropna(subset=["value"])
        return trend(known["epoch"].tolist(), known["value"].tolist()) if len(known) > 2 else float("nan")

    return _by_seed(evidence, criterion, ratio, rising)


@correlates
def epi_ratio_trend(evidence: Evidence, criterion: Criterion) -> Sample:
    """Spearman's rank correlation of EPI and the pruning ratio, mean over a dense run's epochs."""
    watched = evidence.watched
    found = epi_against_ratio(watched[watched["criterion"] == criterion])
    return Sample.of(found.set_index("seed")["rho"], evidence.dense("bottleneck"))


@correlates
def structure_minus_mask(evidence: Evidence, criterion: Criterion, ratio: Ratio) -> Sample:
    """Similarity of structures minus Jaccard index of masks, where structures have settled.

    Both as means over the look-back window (Eq. 6), in the last third of a dense run's epochs.
    """
    epochs = evidence.profile.recipe.epochs
    records, table = _watched(evidence, criterion, ratio)
    late = table[table["epoch"] >= epochs - epochs // 3]
    means = late.pivot_table(index="seed", columns="measure", values="value")
    if not {"EPI", "mask Jaccard"} <= set(means):
        return Sample()
    return Sample.of(means["EPI"] - means["mask Jaccard"], records)


def _motion(run: pd.DataFrame, evidence: Evidence) -> tuple[float, float]:
    """Mean motion per epoch in the first ninth of the schedule, and from then on."""
    moved, first = 1 - run.set_index("epoch")["previous"], evidence.profile.recipe.epochs // 9
    return float(moved[moved.index < first].mean()), float(moved[moved.index >= first].mean())


def _left(record: Record) -> dict[str, int] | None:
    """Channels per layer that Algorithm 1 left."""
    return next((epoch.structure for epoch in record.history if epoch.phase == "prune"), None)


def _watched(evidence: Evidence, criterion: Criterion, ratio: Ratio) -> tuple[list[Record], pd.DataFrame]:
    """The dense runs, and what was watched in them at one criterion and ratio."""
    table = evidence.watched
    own = table[(table["criterion"] == criterion) & (table["ratio"] == ratio)]
    return evidence.dense("bottleneck"), own


def _by_seed(
    evidence: Evidence, criterion: Criterion, ratio: Ratio, value: Callable[[pd.DataFrame], float]
) -> Sample:
    """A value of each dense run's EPI curve, from its rows of the stability table."""
    records, table = _watched(evidence, criterion, ratio)
    runs = table[table["measure"] == "EPI"].groupby("seed")
    return Sample.of({int(str(seed)): value(run) for seed, run in runs}, records)
