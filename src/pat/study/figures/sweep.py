"""Accuracy against the pruning epoch."""

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import plotly.graph_objects as go
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pat.study.analysis import summary
from pat.study.figures.style import (
    CRITERION_COLOURS,
    DENSE_COLOUR,
    POLICY_MARKERS,
    ratio_colours,
    with_legend,
)


def accuracy_by_epoch(table: pd.DataFrame, architecture: str, policies: pd.DataFrame | None = None) -> Figure:
    """Test accuracy against the pruning epoch, one panel a criterion (the paper's Figs. 3 and 4).

    Args:
        table: of :func:`pat.study.analysis.runs.runs_table`, runs with fixed pruning epochs and dense ones.
        architecture: whose runs to draw.
        policies: of :func:`pat.study.analysis.policies.regrets`; EPI's epochs are marked at the bottom.

    Returns:
        Means over seeds with 95 % intervals, a dot a seed (a cross if it collapsed), the dense run as a
        dashed line with its interval as a band.
    """
    runs = table[table["architecture"] == architecture]
    pruned = runs[runs["policy"] == "epoch"]
    dense = runs[runs["policy"] == "dense"]
    criteria = [c for c in CRITERION_COLOURS if c in set(pruned["criterion"])]
    figure, axes = plt.subplots(
        1, max(len(criteria), 1), figsize=(4.2 * max(len(criteria), 1), 3.9), sharey=True, squeeze=False
    )
    colours = ratio_colours(sorted(pruned["ratio"].dropna().unique()))
    for axis, criterion in zip(axes[0], criteria, strict=True):
        part = pruned[pruned["criterion"] == criterion]
        for ratio, runs_at in part.groupby("ratio"):
            _curve(axis, runs_at, colours[float(str(ratio))])
        _dense_line(axis, dense)
        if policies is not None:
            epi = policies[(policies["architecture"] == architecture) & (policies["criterion"] == criterion)]
            _mark_picks(axis, epi[(epi["policy"] == "epi") & (epi["triggered"] == True)], colours)  # noqa: E712
        axis.set(title=f"{criterion} criterion", xlabel="pruning epoch", ylim=(0, 100))
    axes[0, 0].set_ylabel("test accuracy (%)")
    figure.suptitle(architecture)
    handles = [
        Line2D([], [], color=colour, marker="o", markersize=4, label=f"{100 * ratio:g} % pruned")
        for ratio, colour in colours.items()
    ]
    handles.append(Line2D([], [], color=DENSE_COLOUR, linestyle="--", linewidth=1, label="dense"))
    if policies is not None:
        handles.append(Line2D([], [], color="0.4", marker=POLICY_MARKERS["epi"], linestyle="none",
                              label="EPI would prune"))  # fmt: skip
    return with_legend(figure, handles)


def hover_accuracy(table: pd.DataFrame, architecture: str) -> go.Figure:
    """:func:`accuracy_by_epoch` in one panel, with each point's mean, interval and seeds to point at."""
    pruned = table[(table["architecture"] == architecture) & (table["policy"] == "epoch")]
    figure = go.Figure()
    colours = ratio_colours(sorted(pruned["ratio"].dropna().unique()))
    for (criterion, ratio), runs in pruned.groupby(["criterion", "ratio"], sort=True):
        means = summary(runs, ["prune_epoch"])
        colour = "rgb({:.0f},{:.0f},{:.0f})".format(*(255 * c for c in colours[float(str(ratio))]))
        figure.add_scatter(
            x=means["prune_epoch"],
            y=means["mean"],
            name=str(runs["pruning"].iloc[0]),
            mode="lines+markers",
            line={"color": colour, "dash": "solid" if criterion == "gradient" else "dash"},
            error_y={
                "array": means["high"] - means["mean"],
                "arrayminus": means["mean"] - means["low"],
                "thickness": 1,
            },
            customdata=means[["low", "high", "n"]],
            hovertemplate=(
                "epoch %{x}: %{y:.1f} % [%{customdata[0]:.1f}, %{customdata[1]:.1f}], %{customdata[2]} seeds"
            ),
        )
    figure.update_layout(
        xaxis_title="pruning epoch",
        yaxis_title="test accuracy (%)",
        yaxis_range=[0, 100],
        legend={"orientation": "h", "y": -0.25},
        margin={"l": 50, "r": 10, "t": 10, "b": 40},
        height=380,
        meta={"alt": f"Test accuracy of {architecture} against the pruning epoch; dashed lines: magnitude."},
    )
    return figure


def _curve(axis: Axes, runs: pd.DataFrame, colour: Any) -> None:
    means = summary(runs, ["prune_epoch"])
    errors = [(means["mean"] - means["low"]).to_numpy(), (means["high"] - means["mean"]).to_numpy()]
    collapsed = runs["status"] == "collapsed"
    for these, marker in ((runs[~collapsed], "."), (runs[collapsed], "x")):
        axis.plot(
            these["prune_epoch"], these["test_accuracy"], marker, color=colour, alpha=0.45, markersize=5,
            linestyle="none",
        )  # fmt: skip
    axis.errorbar(
        means["prune_epoch"], means["mean"], yerr=errors, color=colour, capsize=3, marker="o",
        markersize=4,
    )  # fmt: skip


def _mark_picks(axis: Axes, picks: pd.DataFrame, colours: Mapping[float, Any]) -> None:
    """A row of marks a ratio, above the axis, the larger the more seeds."""
    for row, (ratio, runs) in enumerate(picks.groupby("ratio")):
        for epoch, seeds in runs["epoch"].value_counts().items():
            axis.plot(
                float(str(epoch)),
                0.03 + 0.05 * row,
                POLICY_MARKERS["epi"],
                color=colours[float(str(ratio))],
                markersize=3 + 1.5 * min(seeds, 5),
                alpha=0.9,
                transform=axis.get_xaxis_transform(),
            )


def _dense_line(axis: Axes, dense: pd.DataFrame) -> None:
    if dense.empty:
        return
    row = summary(dense, ["policy"]).iloc[0]
    axis.axhline(row["mean"], color=DENSE_COLOUR, linestyle="--", linewidth=1)
    if pd.notna(row["low"]):
        axis.axhspan(row["low"], row["high"], color=DENSE_COLOUR, alpha=0.12, linewidth=0)
