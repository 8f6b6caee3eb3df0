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
from pat.study.analysis.pretrained import pretrained_table
from pat.study.analysis.pretrained_tables import pretrained_accuracies, spent_table
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
from pat.study.analysis.sweep import beside_the_paper, contrasts, early_and_late, oracle
from pat.study.analysis.tickets import ticket_means, ticket_table, tickets_table
from pat.study.analysis.variations import trained_beside, variation_table, variations_table

__all__ = [
    "CONFIDENCE",
    "MEASURES",
    "Interval",
    "beside_the_paper",
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
    "pretrained_accuracies",
    "pretrained_table",
    "regrets",
    "runs_table",
    "settings_table",
    "spent_table",
    "stability_table",
    "structures",
    "summary",
    "threshold_curve",
    "threshold_table",
    "ticket_means",
    "ticket_table",
    "tickets_table",
    "trained_beside",
    "triggered_table",
    "tuned_thresholds",
    "variation_table",
    "variations_table",
    "varied_picks",
    "varied_picks_table",
    "window_table",
]
