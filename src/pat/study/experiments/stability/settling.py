"""Does the first network's structure settle (Sec. 3.2, 3.3, 4.5)? One run in pictures, all in numbers."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pandas as pd

from pat.criteria import Criterion
from pat.study.analysis.intervals import interval
from pat.study.analysis.stability import epi_epoch, structures
from pat.study.experiments.evidence import Evidence, Sample
from pat.study.experiments.stability.statistics import (
    epi_trend,
    structure_minus_mask,
    structure_motion,
    structure_settling,
)
from pat.study.plan.profile import Profile
from pat.study.store.record import Record


@dataclass(frozen=True)
class Settling:
    """One dense run watched at one criterion and ratio.

    Attributes:
        structure: channels that would be kept; rows are epochs, columns layers.
        epi: EPI by epoch, NaN while the look-back window is not full.
        threshold: tau of the criterion.
        epoch: in which EPI would have pruned, or None if it did not trigger in time.
    """

    criterion: Criterion
    ratio: float
    seed: int
    structure: pd.DataFrame
    epi: pd.Series
    threshold: float
    epoch: int | None


def settling_of(record: Record, criterion: Criterion, ratio: float, profile: Profile) -> Settling:
    """What a dense run watched, and when EPI would have pruned it.

    Raises:
        ValueError: if the run did not watch that criterion and ratio.
    """
    structure, tau = structures(record, criterion, ratio), profile.tau[criterion]
    watched = [epoch for epoch in record.history if epoch.tracked]
    values = [
        epoch.tracked[criterion]["ratios"][f"{ratio:g}"]["psi"][0] for epoch in watched if epoch.tracked
    ]
    epi = pd.Series(values, index=structure.index, dtype=float, name="epi")
    found = epi_epoch(record, criterion, ratio, tau, profile.tracking.look_back, profile.patience)
    return Settling(criterion, ratio, record.spec.seed, structure, epi, tau, found)


def settling_table(evidence: Evidence, ratios: Iterable[float]) -> pd.DataFrame:
    """How the bottleneck network's structure settles in numbers, as text: mean over seeds, 95 % interval.

    Args:
        evidence: the runs.
        ratios: pruning ratios.

    Returns:
        Columns ``criterion``, ``ratio``, ``settling``, ``motion``, ``EPI and epoch`` and ``Ψ − Jaccard``;
        empty text where no seed has a value.
    """
    measures: dict[str, Callable[..., Sample]] = {
        "settling": structure_settling,
        "motion": structure_motion,
        "EPI and epoch": epi_trend,
        "Ψ − Jaccard": structure_minus_mask,
    }
    rows = []
    for criterion in evidence.profile.tau:
        for ratio in ratios:
            found = [measure(evidence, criterion, ratio).values for measure in measures.values()]
            texts = [interval(values.values()).text(3) if values else "" for values in found]
            rows.append((criterion, f"{100 * ratio:g} %", *texts))
    return pd.DataFrame(rows, columns=["criterion", "ratio", *measures])
