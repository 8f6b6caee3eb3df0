"""Detection in pictures: scenes, precision by pruning epoch, EPI over the epochs."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from pat.study.analysis.intervals import interval
from pat.study.style import CRITERION_COLOURS, DENSE_COLOUR, POLICY_COLOURS, finished, with_legend
from pat.training.detection.scenes import Drawing


def detector_scenes(drawing: Drawing, count: int = 6) -> Figure:
    """The first training scenes with their boxes and classes."""
    figure, axes = plt.subplots(1, count, figsize=(1.7 * count, 1.9), squeeze=False)
    for index, axis in enumerate(axes[0]):
        scene = drawing.scene("train", index)
        axis.imshow(scene.image, cmap="gray", vmin=0, vmax=255)
        for (left, top, right, bottom), label in zip(scene.boxes, scene.labels, strict=True):
            size = (right - left, bottom - top)
            corner = (left - 0.5, top - 0.5)  # pixels are drawn around their numbers
            axis.add_patch(Rectangle(corner, *size, fill=False, color=POLICY_COLOURS["epi"], linewidth=1.5))
            axis.annotate(str(label), corner, color=POLICY_COLOURS["epi"], va="bottom", fontsize="small")
        axis.set_axis_off()
    return finished(figure)


def detector_precision_by_epoch(table: pd.DataFrame) -> Figure:
    """mAP on test against the pruning epoch, a panel a criterion.

    Args:
        table: of :func:`pat.study.experiments.detection.summaries.detector_runs`.

    Returns:
        Fixed epochs: means with their 95 % interval, joined. EPI: its mean epoch and mAP, and every seed as a
        dot. Dashed: dense.
    """
    criteria = [name for name in table["criterion"].unique() if name]
    dense = table.loc[table["pruned"] == "dense", "test"]
    figure, axes = plt.subplots(1, max(len(criteria), 1), figsize=(8.4, 3.2), sharey=True, squeeze=False)
    for axis, criterion in zip(axes[0], criteria, strict=False):
        own = table[table["criterion"] == criterion]
        fixed = own[own["pruned"].str.startswith("epoch")]
        for _, runs in fixed.groupby("epoch"):
            _mark(axis, runs, CRITERION_COLOURS[criterion], "o")
        means = fixed.groupby("epoch")["test"].mean()
        axis.plot(means.index, means, color=CRITERION_COLOURS[criterion], linewidth=1)
        epi = own[own["pruned"] == "EPI"]
        axis.plot(epi["epoch"], epi["test"], ".", color=POLICY_COLOURS["epi"], alpha=0.5)
        if len(epi):
            _mark(axis, epi, POLICY_COLOURS["epi"], "D")
        if len(dense):
            axis.axhline(dense.mean(), color=DENSE_COLOUR, linestyle="--", linewidth=1)
        axis.set(xlabel="pruning epoch", title=criterion)
    axes[0][0].set_ylabel("mAP on test, %")
    handles = [
        *(
            Line2D([], [], marker="o", color=CRITERION_COLOURS[c], label=f"fixed epoch, {c}")
            for c in criteria
        ),
        Line2D([], [], marker="D", color=POLICY_COLOURS["epi"], linewidth=0, label="EPI"),
        Line2D([], [], color=DENSE_COLOUR, linestyle="--", label="dense"),
    ]
    return with_legend(figure, handles)


def _mark(axis: Axes, runs: pd.DataFrame, colour: object, marker: str) -> None:
    found = interval(runs["test"])
    error = None if found.high is None else [found.high - found.mean]
    axis.errorbar([runs["epoch"].mean()], [found.mean], error, fmt=marker, color=colour, capsize=3)


def detector_indicator(values: pd.DataFrame, tau: Mapping[str, float]) -> Figure:
    """EPI over the epochs of dense runs, a line a seed, a panel a criterion; dashed: the threshold.

    Args:
        values: of :func:`pat.study.experiments.detection.summaries.detector_indicator_values`.
        tau: thresholds by criterion.
    """
    criteria = list(dict.fromkeys(values["criterion"]))
    figure, axes = plt.subplots(1, max(len(criteria), 1), figsize=(8.4, 3.2), sharey=True, squeeze=False)
    for axis, criterion in zip(axes[0], criteria, strict=False):
        for _, own in values[values["criterion"] == criterion].groupby("seed"):
            axis.plot(own["epoch"], own["value"], color=CRITERION_COLOURS[criterion], linewidth=1, alpha=0.5)
        axis.axhline(tau[criterion], color=DENSE_COLOUR, linestyle="--", linewidth=1)
        axis.set(xlabel="epoch", title=f"{criterion}, τ = {tau[criterion]:g}")
    axes[0][0].set_ylabel("EPI")
    return finished(figure)
