"""Analysis: records in, tidy tables and intervals out; nothing here trains or draws."""

from pat.study.analysis.in_training import at_epi, rivals_table
from pat.study.analysis.in_training_tables import literature_table, rival_accuracies, rival_gaps
from pat.study.analysis.intervals import CONFIDENCE, Interval, interval
from pat.study.analysis.picks import tuned_thresholds
from pat.study.analysis.plateau import plateaus
from pat.study.analysis.policies import regrets
from pat.study.analysis.policy_tables import (
    paper_regrets,
    picks_table,
    policy_table,
    threshold_table,
    triggered_table,
)
from pat.study.analysis.pretrained import dense_epoch_seconds, pretrained_table
from pat.study.analysis.pretrained_tables import pretrained_accuracies, spent_table
from pat.study.analysis.remains import emptied_table, kept_shares
from pat.study.analysis.reordering import decay_table, motion_table, ranking_motion
from pat.study.analysis.runs import by_epoch, paired_difference, runs_table, summary
from pat.study.analysis.sensitivity import (
    settings_table,
    threshold_curve,
    varied_picks,
    varied_picks_table,
    window_table,
)
from pat.study.analysis.settling import Settling, settling_of, settling_table
from pat.study.analysis.signals import rules, signal_table
from pat.study.analysis.speed import kept_by_choice, speed_table, training_steps
from pat.study.analysis.speed_tables import (
    cost_shares,
    cost_table,
    differences_table,
    price_table,
    speedup_table,
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
from pat.study.analysis.triggers import (
    FIXED,
    overall_regret,
    regret_by_ratio,
    rules_table,
    thresholds,
    trigger_epochs,
    trigger_table,
    tuned_rules,
    widest_gaps,
)
from pat.study.analysis.variations import trained_beside, variation_table, variations_table
from pat.study.analysis.window import window_differences, window_regret_table, window_regrets

__all__ = [
    "CONFIDENCE",
    "FIXED",
    "MEASURES",
    "Interval",
    "Settling",
    "at_epi",
    "beside_the_paper",
    "by_epoch",
    "contrasts",
    "cost_shares",
    "cost_table",
    "decay_table",
    "dense_epoch_seconds",
    "differences_table",
    "early_and_late",
    "emptied_table",
    "epi_against_ratio",
    "epi_epoch",
    "epi_epochs",
    "interval",
    "kept_by_choice",
    "kept_shares",
    "literature_table",
    "motion_table",
    "one_shot_similarity",
    "oracle",
    "overall_regret",
    "paired_difference",
    "paper_regrets",
    "picks_table",
    "plateaus",
    "policy_table",
    "pretrained_accuracies",
    "pretrained_table",
    "price_table",
    "ranking_motion",
    "regret_by_ratio",
    "regrets",
    "rival_accuracies",
    "rival_gaps",
    "rivals_table",
    "rules",
    "rules_table",
    "runs_table",
    "settings_table",
    "settling_of",
    "settling_table",
    "signal_table",
    "speed_table",
    "speedup_table",
    "spent_table",
    "stability_table",
    "structures",
    "summary",
    "threshold_curve",
    "threshold_table",
    "thresholds",
    "ticket_means",
    "ticket_table",
    "tickets_table",
    "trained_beside",
    "training_steps",
    "trigger_epochs",
    "trigger_table",
    "triggered_table",
    "tuned_rules",
    "tuned_thresholds",
    "variation_table",
    "variations_table",
    "varied_picks",
    "varied_picks_table",
    "widest_gaps",
    "window_differences",
    "window_regret_table",
    "window_regrets",
    "window_table",
]
