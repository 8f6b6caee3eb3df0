"""Figures: tables in, one consistent style out; colours mean the same thing through the whole book."""

from pat.study.figures.stability import epi_curves, measure_curves, structure_map
from pat.study.figures.style import (
    CRITERION_COLOURS,
    DENSE_COLOUR,
    MEASURE_COLOURS,
    PALETTE,
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
    "accuracy_by_epoch",
    "epi_curves",
    "finished",
    "hover_accuracy",
    "measure_curves",
    "ratio_colours",
    "structure_map",
    "style",
]
