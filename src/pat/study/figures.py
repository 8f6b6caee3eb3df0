"""Figures: tables in, one consistent style out; colours mean the same thing through the whole book."""

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import plotly.graph_objects as go
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pat.study.analysis import summary

_PALETTE = sns.color_palette("colorblind")
CRITERION_COLOURS = {"magnitude": _PALETTE[1], "gradient": _PALETTE[0]}
DENSE_COLOUR = "0.35"
MEASURE_COLOURS = dict(
    zip(
        ("EPI", "Spearman", "Kendall", "mask Hamming", "mask Jaccard"),
        (_PALETTE[2], _PALETTE[3], _PALETTE[4], _PALETTE[5], _PALETTE[7]),
        strict=True,
    )
)


def style() -> None:
    """Set the book's style; call once at a notebook's start."""
    sns.set_theme(
        context="notebook",
        style="whitegrid",
        rc={
            "figure.dpi": 110,
            "savefig.bbox": "tight",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "legend.frameon": False,
            "axes.titlesize": "medium",
        },
    )


def ratio_colours(ratios: list[float]) -> dict[float, Any]:
    """A colour per pruning ratio, darker for higher ones, readable without colour vision."""
    return dict(zip(sorted(ratios), sns.color_palette("viridis_r", len(ratios)), strict=True))


def accuracy_by_epoch(table: pd.DataFrame, architecture: str) -> Figure:
    """Test accuracy against the pruning epoch, one panel a criterion (the paper's Figs. 3 and 4).

    Args:
        table: of :func:`pat.study.analysis.runs_table`, runs with fixed pruning epochs and dense ones.
        architecture: whose runs to draw.

    Returns:
        Means over seeds with 95 % intervals, every seed as a dot, the dense run as a dashed line.
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
            _curve(axis, runs_at, f"{100 * float(str(ratio)):g} % pruned", colours[float(str(ratio))])
        _dense_line(axis, dense)
        axis.set(title=f"{criterion} criterion", xlabel="pruning epoch", ylim=(0, 100))
        axis.legend(loc="lower center", fontsize="small")
    axes[0, 0].set_ylabel("test accuracy (%)")
    figure.suptitle(architecture)
    return _finished(figure)


def hover_accuracy(table: pd.DataFrame, architecture: str) -> go.Figure:
    """:func:`accuracy_by_epoch` in one panel, with each point's mean, interval and seeds to point at."""
    pruned = table[(table["architecture"] == architecture) & (table["policy"] == "epoch")]
    figure = go.Figure()
    for i, (pruning, runs) in enumerate(pruned.groupby("pruning", sort=True)):
        means = summary(runs, ["prune_epoch"])
        colour = "rgb({:.0f},{:.0f},{:.0f})".format(*(255 * c for c in _PALETTE[i % len(_PALETTE)]))
        figure.add_scatter(
            x=means["prune_epoch"],
            y=means["mean"],
            name=str(pruning),
            mode="lines+markers",
            line={"color": colour, "dash": ("solid", "dash", "dot", "dashdot")[i % 4]},
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
        meta={"alt": f"Test accuracy of {architecture} against the pruning epoch, one line a pruning."},
    )
    return figure


def _finished(figure: Figure) -> Figure:
    """Lay out and close a figure, so that a notebook shows what a cell returns and shows it once."""
    figure.tight_layout()
    plt.close(figure)
    return figure


def _curve(axis: Axes, runs: pd.DataFrame, label: str, colour: Any) -> None:
    means = summary(runs, ["prune_epoch"])
    errors = [(means["mean"] - means["low"]).to_numpy(), (means["high"] - means["mean"]).to_numpy()]
    axis.plot(runs["prune_epoch"], runs["test_accuracy"], ".", color=colour, alpha=0.45, markersize=5)
    axis.errorbar(
        means["prune_epoch"], means["mean"], yerr=errors, color=colour, label=label, capsize=3, marker="o",
        markersize=4,
    )  # fmt: skip


def _dense_line(axis: Axes, dense: pd.DataFrame) -> None:
    if dense.empty:
        return
    row = summary(dense, ["policy"]).iloc[0]
    axis.axhline(row["mean"], color=DENSE_COLOUR, linestyle="--", linewidth=1, label="dense")
    if pd.notna(row["low"]):
        axis.axhspan(row["low"], row["high"], color=DENSE_COLOUR, alpha=0.12, linewidth=0)


def epi_curves(table: pd.DataFrame, architecture: str, tau: Mapping[str, float]) -> Figure:
    """EPI over epochs for several ratios, one panel a criterion, with the threshold (the paper's Fig. 6)."""
    part = table[(table["architecture"] == architecture) & (table["measure"] == "EPI")].dropna()
    criteria = [c for c in CRITERION_COLOURS if c in set(part["criterion"])]
    colours = ratio_colours(sorted(part["ratio"].unique()))
    figure, axes = plt.subplots(
        1, len(criteria), figsize=(4.2 * len(criteria), 3.9), sharey=True, squeeze=False
    )
    for axis, criterion in zip(axes[0], criteria, strict=True):
        sns.lineplot(
            part[part["criterion"] == criterion],
            x="epoch",
            y="value",
            hue="ratio",
            palette=colours,
            errorbar=("sd", 1),
            ax=axis,
            legend="full" if criterion == criteria[-1] else False,
        )
        axis.axhline(tau[criterion], color=DENSE_COLOUR, linestyle="--", linewidth=1)
        axis.annotate(f"τ = {tau[criterion]:g}", (0.02, tau[criterion]), xycoords=("axes fraction", "data"),
                      va="bottom", fontsize="small", color=DENSE_COLOUR)  # fmt: skip
        axis.set(title=f"{criterion} criterion", xlabel="epoch", ylabel="EPI")
    legend = axes[0, -1].get_legend()
    if legend is not None:
        legend.set_title("ratio")
        sns.move_legend(axes[0, -1], "center left", bbox_to_anchor=(1, 0.5), fontsize="small")
    figure.suptitle(architecture)
    return _finished(figure)


def measure_curves(table: pd.DataFrame, architecture: str, criterion: str, ratios: list[float]) -> Figure:
    """EPI beside rank correlations and mask measures on the same epochs, one panel a ratio.

    The Hamming distance is drawn as one minus itself, so that up means stable for all.
    """
    wanted = (table["architecture"] == architecture) & (table["criterion"] == criterion)
    part = table[wanted & table["ratio"].isin(ratios)].dropna(subset=["value"]).copy()
    flipped = part["measure"] == "mask Hamming"
    part.loc[flipped, "value"] = 1 - part.loc[flipped, "value"]
    names = {"mask Hamming": "1 - mask Hamming"}
    part["measure"] = part["measure"].replace(names)
    colours = {names.get(name, name): colour for name, colour in MEASURE_COLOURS.items()}
    figure, axes = plt.subplots(1, len(ratios), figsize=(3.6 * len(ratios), 3.4), sharey=True, squeeze=False)
    for axis, ratio in zip(axes[0], ratios, strict=True):
        last = ratio == ratios[-1]
        sns.lineplot(
            part[part["ratio"] == ratio],
            x="epoch",
            y="value",
            hue="measure",
            style="measure",
            palette=colours,
            errorbar=("sd", 1),
            ax=axis,
            legend="full" if last else False,
        )
        axis.set(title=f"{criterion}, {100 * ratio:g} %", xlabel="epoch", ylabel="stability")
    if axes[0, -1].get_legend() is not None:
        sns.move_legend(axes[0, -1], "center left", bbox_to_anchor=(1, 0.5), title="", fontsize="small")
    figure.suptitle(architecture)
    return _finished(figure)


def structure_map(table: pd.DataFrame, title: str) -> Figure:
    """Channels per layer over the epochs as a heat map: one can see the structure settle.

    Args:
        table: of :func:`pat.study.analysis.structures`.
        title: the figure's.
    """
    figure, axis = plt.subplots(figsize=(7.2, 0.28 * table.shape[1] + 1.6))
    share = table.T / table.T.max(axis=1).clip(lower=1).to_numpy()[:, None]
    sns.heatmap(share, ax=axis, cmap="cividis", vmin=0, vmax=1, xticklabels=2,
                cbar_kws={"label": "channels, share of the layer's maximum"})  # fmt: skip
    axis.set(title=title, xlabel="epoch", ylabel="")
    axis.tick_params(axis="x", rotation=0)
    return _finished(figure)
