"""Analysis: records in, tidy tables and intervals out; nothing here trains or draws."""

from pat.study.analysis.intervals import CONFIDENCE, Interval, interval
from pat.study.analysis.runs import by_epoch, paired_difference, runs_table, summary
from pat.study.analysis.stability import (
    MEASURES,
    epi_against_ratio,
    epi_epoch,
    epi_epochs,
    one_shot_similarity,
    stability_table,
    structures,
)
from pat.study.analysis.sweep import contrasts, early_and_late, oracle

__all__ = [
    "CONFIDENCE",
    "MEASURES",
    "Interval",
    "by_epoch",
    "contrasts",
    "early_and_late",
    "epi_against_ratio",
    "epi_epoch",
    "epi_epochs",
    "interval",
    "one_shot_similarity",
    "oracle",
    "paired_difference",
    "runs_table",
    "stability_table",
    "structures",
    "summary",
]
