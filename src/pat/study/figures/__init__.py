"""Figures: tables in, one consistent style out; colours mean the same thing through the whole book."""

from pat.study.figures.policies import picked_epochs, regret_by_policy, threshold_curves, window_maps
from pat.study.figures.stability import epi_curves, measure_curves, structure_map
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

__all__ = [
    "CRITERION_COLOURS",
    "DENSE_COLOUR",
    "MEASURE_COLOURS",
    "PALETTE",
    "POLICY_COLOURS",
    "accuracy_by_epoch",
    "epi_curves",
    "finished",
    "hover_accuracy",
    "measure_curves",
    "picked_epochs",
    "ratio_colours",
    "regret_by_policy",
    "structure_map",
    "style",
    "threshold_curves",
    "window_maps",
]
