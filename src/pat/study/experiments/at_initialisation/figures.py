"""The ways to prune side by side, and what each leaves of the layers."""

from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pat.study.experiments.at_initialisation.cells import CRITERIA, DENSE, WAYS, algorithm1, by_epi
from pat.study.experiments.at_initialisation.summaries import known, ways_at
from pat.study.style import DENSE_COLOUR, POLICY_COLOURS, RIVAL_COLOUR, finished, with_legend

_COLOURS: dict[str, Any] = dict.fromkeys(WAYS, RIVAL_COLOUR) | {
    DENSE: DENSE_COLOUR,
    **dict.fromkeys(map(by_epi, CRITERIA), POLICY_COLOURS["epi"]),
    **dict.fromkeys(map(algorithm1, CRITERIA), POLICY_COLOURS["init"]),
}
_KINDS = {
    "dense": DENSE_COLOUR,
    "Algorithm 1 in EPI's epoch": POLICY_COLOURS["epi"],
    "Algorithm 1 in epoch 0": POLICY_COLOURS["init"],
    "before the first step": RIVAL_COLOUR,
}
_PANELS = {"accuracy": "test accuracy (%)", "macs": "MACs left (%)"}


def ways_side_by_side(table: pd.DataFrame) -> Figure:
    """Test accuracy and size of every way to prune, a row a way, two panels a ratio.

    Args:
        table: of :func:`pat.study.experiments.at_initialisation.summaries.initialisation_table`.

    Returns:
        Means over seeds with 95 % intervals, every seed as a dot. Dotted: the dense runs' mean accuracy.
        Without a mark: no run, or none whose network did not collapse (size).
    """
    ratios = sorted(table["ratio"].dropna().unique())
    ways = [way for way in WAYS if way in set(table["way"])]
    size = (4.8 * max(len(ratios), 1) + 1.4, 0.34 * max(len(ways), 4) + 1.7)
    figure, axes = plt.subplots(
        1, 2 * max(len(ratios), 1), figsize=size, sharey=True, squeeze=False,
        width_ratios=[1.5, 1] * max(len(ratios), 1),
    )  # fmt: skip
    for number, ratio in enumerate(ratios):
        for axis, (value, name) in zip(axes[0, 2 * number :], _PANELS.items(), strict=False):
            for way, runs in ways_at(table, ratio):
                _row(axis, ways.index(way), runs[value], _COLOURS[way])
            axis.set(xlabel=name)
            axis.grid(False, axis="y")
            axis.grid(True, axis="x")
            axis.margins(x=0.08)
            left, right = axis.get_xlim()
            axis.set_xlim(max(left, -4), min(right, 104))  # percent, whatever an interval would reach
        axes[0, 2 * number].set_title(f"{100 * ratio:g} % pruned", loc="left")
        dense = known(table.loc[table["way"] == DENSE, "accuracy"])
        if dense is not None:
            axes[0, 2 * number].axvline(dense.mean, color=DENSE_COLOUR, linestyle=":", linewidth=1, zorder=0)
    axes[0, 0].set_yticks(range(len(ways)), ways)
    axes[0, 0].set_ylim(max(len(ways), 1) - 0.5, -0.5)
    handles = [
        Line2D([], [], linestyle="none", marker="o", markersize=6, color=colour, label=kind)
        for kind, colour in _KINDS.items()
    ]
    return with_legend(figure, handles)


def _row(axis: Axes, height: float, values: pd.Series, colour: Any) -> None:
    """A way's mean with its interval, and its seeds."""
    found = known(values)
    if found is None:
        return
    half = 0.0 if found.high is None else found.high - found.mean
    seeds = values.dropna()
    axis.plot(seeds, [height] * len(seeds), ".", color=colour, alpha=0.5, markersize=6, markeredgewidth=0)
    axis.errorbar(found.mean, height, xerr=half, color=colour, marker="o", markersize=6, capsize=2, zorder=3)


def widths_side_by_side(shares: pd.DataFrame) -> Figure:
    """Which layers each way makes narrow: a row a layer, a column a way.

    Args:
        shares: of :func:`pat.study.experiments.at_initialisation.summaries.widths_left`.

    Returns:
        Mean share of the layer's channels that is left, in percent, as number and shade.
    """
    kept = shares.drop(columns="channels", errors="ignore")
    rows, columns = max(len(kept), 1), max(len(kept.columns), 1)
    figure, axis = plt.subplots(figsize=(0.85 * columns + 2.6, 0.34 * rows + 2.6))
    if len(kept):
        labels = [f"{layer} ({channels:g})" for layer, channels in shares["channels"].items()]
        sns.heatmap(
            kept, ax=axis, vmin=0, vmax=100, cmap="viridis", annot=True, fmt=".0f",
            annot_kws={"fontsize": "small"}, yticklabels=labels, cbar_kws={"label": "channels left (%)"},
        )  # fmt: skip
        axis.set_xticks(axis.get_xticks(), kept.columns, rotation=40, ha="right")
    axis.set(xlabel="", ylabel="")
    return finished(figure)
