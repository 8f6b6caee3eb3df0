"""Accuracy against the pruning epoch."""

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import plotly.graph_objects as go
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pat.study.analysis.runs import summary
from pat.study.style import CRITERION_COLOURS, DENSE_COLOUR, POLICY_MARKERS, ratio_colours, with_legend

_DIAMOND: dict[str, Any] = {"marker": "D", "markersize": 6, "linestyle": "none", "fillstyle": "none"}


def accuracy_by_epoch(
    table: pd.DataFrame,
    architecture: str,
    policies: pd.DataFrame | None = None,
    own: pd.DataFrame | None = None,
) -> Figure:
    """Test accuracy against the pruning epoch, one panel a criterion (the paper's Figs. 3 and 4).

    Args:
        table: of :func:`pat.study.store.rows.runs_table`, runs with fixed pruning epochs and dense ones.
        architecture: whose runs to draw.
        policies: of :func:`pat.study.analysis.regret.regrets`; EPI's epochs are marked in a strip below.
        own: a table of other runs, drawn over these as diamonds.

    Returns:
        Means over seeds with 95 % intervals, a dot a seed (a cross if it collapsed), the dense run as a
        dashed line with its interval as a band.
    """
    runs = table[table["architecture"] == architecture]
    pruned = runs[runs["policy"] == "epoch"]
    dense = runs[runs["policy"] == "dense"]
    criteria = [c for c in CRITERION_COLOURS if c in set(pruned["criterion"])]
    colours = ratio_colours(sorted(pruned["ratio"].dropna().unique()))
    figure, panels, strips = _panels(max(len(criteria), 1), len(colours) if policies is not None else 0)
    for axis, criterion in zip(panels, criteria, strict=False):
        part = pruned[pruned["criterion"] == criterion]
        for ratio, runs_at in part.groupby("ratio"):
            _curve(axis, runs_at, colours[float(str(ratio))])
        _dense_line(axis, dense)
        if own is not None and len(own):
            _diamonds(
                axis, own[(own["architecture"] == architecture) & (own["criterion"] == criterion)], colours
            )
        axis.set(title=f"{criterion} criterion")
    low, high = panels[0].get_ylim()
    panels[0].set(ylabel="test accuracy (%)", ylim=(max(low, 0), min(high, 100)))  # intervals reach on
    if strips and policies is not None:
        fired = policies[(policies["policy"] == "epi") & (policies["triggered"] == True)]  # noqa: E712
        fired = fired[fired["architecture"] == architecture]
        for strip, criterion in zip(strips, criteria, strict=False):
            _mark_picks(strip, fired[fired["criterion"] == criterion], colours)
        strips[0].set_ylabel("EPI", rotation=0, ha="right", va="center")
    for lowest in strips or panels:
        lowest.set_xlabel("pruning epoch")
    figure.suptitle(architecture)
    handles = [
        Line2D([], [], color=colour, marker="o", markersize=4, label=f"{100 * ratio:g} % pruned")
        for ratio, colour in colours.items()
    ]
    handles.append(Line2D([], [], color=DENSE_COLOUR, linestyle="--", linewidth=1, label="dense"))
    if own is not None and len(own):
        handles.append(Line2D([], [], **_DIAMOND, color="0.4", label="your own runs"))
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
        legend={"orientation": "h", "y": -0.25},
        margin={"l": 50, "r": 10, "t": 10, "b": 40},
        height=380,
        meta={"alt": f"Test accuracy of {architecture} against the pruning epoch; dashed lines: magnitude."},
    )
    return figure


def _panels(columns: int, rows: int) -> tuple[Figure, list[Axes], list[Axes]]:
    """Panels that share their accuracies, each above a strip of that many rows (none: no strips)."""
    strip = 0.16 * rows + 0.1 if rows else 0.0
    figure, grid = plt.subplots(
        2 if rows else 1,
        columns,
        figsize=(4.2 * columns, 3.9 + strip),
        sharex="col",
        sharey="row",
        squeeze=False,
        height_ratios=[3.9, strip] if rows else None,
    )
    strips = list(grid[1]) if rows else []
    for axis in strips:
        axis.set(yticks=[], ylim=(-0.7, rows - 0.3))
    return figure, list(grid[0]), strips


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


def _diamonds(axis: Axes, runs: pd.DataFrame, colours: Mapping[float, Any]) -> None:
    for ratio, runs_at in runs[runs["policy"] == "epoch"].groupby("ratio"):
        colour = colours.get(float(str(ratio)), DENSE_COLOUR)
        axis.plot(runs_at["prune_epoch"], runs_at["test_accuracy"], **_DIAMOND, color=colour, zorder=3)


def _mark_picks(strip: Axes, picks: pd.DataFrame, colours: Mapping[float, Any]) -> None:
    """A row of marks a ratio, the larger the more seeds."""
    rows = {ratio: row for row, ratio in enumerate(colours)}
    for ratio, runs in picks.groupby("ratio"):
        for epoch, seeds in runs["epoch"].value_counts().items():
            strip.plot(
                float(str(epoch)),
                rows[float(str(ratio))],
                POLICY_MARKERS["epi"],
                color=colours[float(str(ratio))],
                markersize=3 + 1.5 * min(seeds, 5),
                alpha=0.9,
            )


def _dense_line(axis: Axes, dense: pd.DataFrame) -> None:
    if dense.empty:
        return
    row = summary(dense, ["policy"]).iloc[0]
    axis.axhline(row["mean"], color=DENSE_COLOUR, linestyle="--", linewidth=1)
    if pd.notna(row["low"]):
        axis.axhspan(row["low"], row["high"], color=DENSE_COLOUR, alpha=0.12, linewidth=0)
