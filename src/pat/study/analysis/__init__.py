"""Analysis: records in, tidy tables and intervals out; nothing here trains or draws."""

from pat.study.analysis.intervals import CONFIDENCE, Interval, interval
from pat.study.analysis.picks import tuned_thresholds
from pat.study.analysis.policies import regrets
from pat.study.analysis.policy_tables import (
    paper_regrets,
    picks_table,
    policy_table,
    threshold_table,
    triggered_table,
)
from pat.study.analysis.remains import emptied_table, kept_shares
from pat.study.analysis.runs import by_epoch, paired_difference, runs_table, summary
from pat.study.analysis.sensitivity import (
    settings_table,
    threshold_curve,
    varied_picks,
    varied_picks_table,
    window_table,
)
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
    "emptied_table",
    "epi_against_ratio",
    "epi_epoch",
    "epi_epochs",
    "interval",
    "kept_shares",
    "one_shot_similarity",
    "oracle",
    "paired_difference",
    "paper_regrets",
    "picks_table",
    "policy_table",
    "regrets",
    "runs_table",
    "settings_table",
    "stability_table",
    "structures",
    "summary",
    "threshold_curve",
    "threshold_table",
    "triggered_table",
    "tuned_thresholds",
    "varied_picks",
    "varied_picks_table",
    "window_table",
]
