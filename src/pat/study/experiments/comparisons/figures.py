"""Ways to train side by side, and what each leaves of the layers."""

from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pat.study.experiments.comparisons.comparison import DENSE, Comparison, Kind
from pat.study.experiments.comparisons.summaries import FEWEST, known_interval, panels_of, ways_of
from pat.study.style import DENSE_COLOUR, POLICY_COLOURS, RIVAL_COLOUR, finished, with_legend

_COLOURS: dict[Kind, Any] = {
    Kind.DENSE: DENSE_COLOUR,
    Kind.EPI: POLICY_COLOURS["epi"],
    Kind.FIRST: POLICY_COLOURS["init"],
    Kind.THIRD: POLICY_COLOURS["predefined"],
    Kind.OTHER: RIVAL_COLOUR,
}
_ABREAST = 2  # panels in a row
_VALUES = {"accuracy": "test accuracy (%)", "macs": "MACs left (%)"}


def ways_side_by_side(comparison: Comparison, table: pd.DataFrame) -> Figure:
    """Test accuracy and size of every way, a row a way, two axes a panel.

    Args:
        comparison: says which ways are of one kind, and so of one colour.
        table: of :func:`pat.study.experiments.comparisons.summaries.comparison_table`.

    Returns:
        Means over seeds with 95 % intervals, cut at 0 and 100 % (none of fewer than
        :data:`~pat.study.experiments.comparisons.summaries.FEWEST` values), every seed as a dot. Dotted: the
        dense runs' mean accuracy. Without a mark: no run, or none whose network did not collapse (size).

    Raises:
        ValueError: without any run.
    """
    panels = panels_of(table)
    if not panels:
        raise ValueError(f"{comparison.name} has no run to draw")
    ways = [way for way in comparison.ways if way in set(table["way"])]
    abreast = min(_ABREAST, len(panels))
    rows = -(-len(panels) // abreast)
    size = (4.8 * abreast + 1.4, rows * (0.34 * max(len(ways), 4) + 0.9) + 0.8)
    figure, axes = plt.subplots(
        rows, 2 * abreast, figsize=size, sharey=True, squeeze=False, width_ratios=[1.5, 1] * abreast
    )
    for axis in axes.flat[2 * len(panels) :]:
        axis.set_visible(False)
    for number, panel in enumerate(panels):
        pair = axes.flat[2 * number : 2 * number + 2]
        for axis, (value, name) in zip(pair, _VALUES.items(), strict=True):
            for way, runs in ways_of(table, panel):
                _row(axis, ways.index(way), runs[value], _COLOURS[comparison.ways[way]])
            axis.set(xlabel=name)
            axis.grid(False, axis="y")
            axis.grid(True, axis="x")
            axis.margins(x=0.08)
            left, right = axis.get_xlim()
            axis.set_xlim(max(left, -4), min(right, 104))  # percent
        pair[0].set_title(panel, loc="left")
        runs = table[(table["panel"] == panel) & (table["way"] == DENSE)]
        dense = known_interval(runs["accuracy"])
        if dense is not None:
            pair[0].axvline(dense.mean, color=DENSE_COLOUR, linestyle=":", linewidth=1, zorder=0)
    axes[0, 0].set_yticks(range(len(ways)), ways)
    axes[0, 0].set_ylim(len(ways) - 0.5, -0.5)
    shown = {comparison.ways[way] for way in ways}
    handles = [
        Line2D([], [], linestyle="none", marker="o", markersize=6, color=colour, label=str(kind))
        for kind, colour in _COLOURS.items()
        if kind in shown
    ]
    return with_legend(figure, handles)


def _row(axis: Axes, height: float, values: pd.Series, colour: Any) -> None:
    """A way's mean with its interval, and its seeds; all in percent."""
    found = known_interval(values)
    if found is None:
        return
    seeds = values.dropna()
    axis.plot(seeds, [height] * len(seeds), ".", color=colour, alpha=0.5, markersize=6, markeredgewidth=0)
    reach = None
    if found.low is not None and found.high is not None and found.n >= FEWEST:
        reach = [[found.mean - max(found.low, 0.0)], [min(found.high, 100.0) - found.mean]]
    axis.errorbar(found.mean, height, xerr=reach, color=colour, marker="o", markersize=6, capsize=2, zorder=3)


def widths_side_by_side(shares: pd.DataFrame) -> Figure:
    """Which layers each way makes narrow: a row a layer, a column a way.

    Args:
        shares: of :func:`pat.study.experiments.comparisons.summaries.widths_left`.

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
