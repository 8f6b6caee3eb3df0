"""Figures: tables in, one consistent style out; colours mean the same thing through the whole book."""

from pat.study.figures.audit import dense_costs, policy_losses
from pat.study.figures.in_training import accuracy_by_computation
from pat.study.figures.policies import picked_epochs, regret_by_policy, threshold_curves, window_maps
from pat.study.figures.pretrained import pretrained_by_ratio
from pat.study.figures.speed import layers_by_choice, speed_and_accuracy, step_against_macs, training_costs
from pat.study.figures.stability import epi_curves, hover_epi, measure_curves, signal_curves
from pat.study.figures.structure import settling_maps
from pat.study.figures.style import (
    CRITERION_COLOURS,
    DENSE_COLOUR,
    MEASURE_COLOURS,
    PALETTE,
    POLICY_COLOURS,
    finished,
    ratio_colours,
    style,
)
from pat.study.figures.sweep import accuracy_by_epoch, hover_accuracy
from pat.study.figures.tickets import ticket_curves
from pat.study.figures.training import pruning_run
from pat.study.figures.triggers import trigger_epochs_by_ratio
from pat.study.figures.variations import accuracy_by_mask, distance_by_kind

__all__ = [
    "CRITERION_COLOURS",
    "DENSE_COLOUR",
    "MEASURE_COLOURS",
    "PALETTE",
    "POLICY_COLOURS",
    "accuracy_by_computation",
    "accuracy_by_epoch",
    "accuracy_by_mask",
    "dense_costs",
    "distance_by_kind",
    "epi_curves",
    "finished",
    "hover_accuracy",
    "hover_epi",
    "layers_by_choice",
    "measure_curves",
    "picked_epochs",
    "policy_losses",
    "pretrained_by_ratio",
    "pruning_run",
    "ratio_colours",
    "regret_by_policy",
    "settling_maps",
    "signal_curves",
    "speed_and_accuracy",
    "step_against_macs",
    "style",
    "threshold_curves",
    "ticket_curves",
    "training_costs",
    "trigger_epochs_by_ratio",
    "window_maps",
]
