"""EPI and the measures beside it, over the epochs."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import matplotlib.pyplot as plt
import pandas as pd
import plotly.graph_objects as go
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from plotly.subplots import make_subplots

from pat.criteria import CRITERIA, Criterion
from pat.study.analysis.runs import summary
from pat.study.style import DENSE_COLOUR, MEASURE_COLOURS, finished, ratio_colours, spread, with_legend

_RANKINGS = ("Spearman", "Kendall")
_STYLES: tuple[Literal["--", ":"], ...] = ("--", ":")  # of two kinds of thresholds


def epi_curves(table: pd.DataFrame, architecture: str, tau: Mapping[Criterion, float]) -> Figure:
    """EPI over the epochs at every ratio, one panel a criterion (the paper's Fig. 6).

    Args:
        table: of :func:`pat.study.analysis.stability.stability_table`.
        architecture: whose runs to draw.
        tau: threshold of each criterion, a dashed line.

    Returns:
        Means over seeds with 95 % intervals.
    """
    part, criteria = _epi(table, architecture)
    colours = ratio_colours(sorted(part["ratio"].unique()))
    figure, axes = plt.subplots(
        max(1, len(criteria)), 1, figsize=(6.2, 0.9 + 3 * len(criteria)), sharex=True, squeeze=False
    )
    for axis, criterion in zip(axes[:, 0], criteria, strict=False):
        _lines(axis, part[part["criterion"] == criterion], "value", colours)
        threshold_line(axis, tau[criterion], f"τ = {tau[criterion]:g}")
        axis.set(title=f"{architecture}, {criterion} criterion", xlabel="", ylabel="EPI", xlim=(0, None))
        axis.set_ylim(top=min(axis.get_ylim()[1], 1.01))
    axes[-1, 0].set_xlabel("epoch")
    handles = [Line2D([], [], color=colour, label=f"{100 * r:g} %") for r, colour in colours.items()]
    return with_legend(figure, handles, columns=5)


def hover_epi(table: pd.DataFrame, architecture: str, tau: Mapping[Criterion, float]) -> go.Figure:
    """:func:`epi_curves` with each point's mean, interval and seeds to point at."""
    part, criteria = _epi(table, architecture)
    colours = ratio_colours(sorted(part["ratio"].unique()))
    titles = [f"{criterion} criterion" for criterion in criteria]
    rows = max(1, len(criteria))
    figure = make_subplots(rows, 1, shared_xaxes=True, subplot_titles=titles, vertical_spacing=0.1)
    for row, criterion in enumerate(criteria, start=1):
        for ratio, colour in colours.items():
            own = part[(part["criterion"] == criterion) & (part["ratio"] == ratio)]
            means = summary(own, ["epoch"], value="value")
            figure.add_scatter(
                row=row,
                col=1,
                x=means["epoch"],
                y=means["mean"],
                name=f"{100 * ratio:g} %",
                legendgroup=f"{ratio:g}",
                showlegend=row == 1,
                mode="lines+markers",
                line={"color": _rgb(colour)},
                marker={"size": 4},
                error_y={
                    "array": means["high"] - means["mean"],
                    "arrayminus": means["mean"] - means["low"],
                    "thickness": 0.7,
                    "width": 0,
                },
                customdata=means[["low", "high", "n"]],
                hovertemplate=(
                    "epoch %{x}: EPI %{y:.3f} [%{customdata[0]:.3f}, %{customdata[1]:.3f}], "
                    "%{customdata[2]} seeds"
                ),
            )
        line = {"dash": "dash", "width": 1, "color": "grey"}
        figure.add_hline(tau[criterion], row=row, col=1, line=line, annotation_text=f"τ = {tau[criterion]:g}",
                         annotation_position="top left")  # fmt: skip
    figure.update_yaxes(title_text="EPI")
    figure.update_xaxes(rangemode="tozero")
    figure.update_xaxes(title_text="epoch", row=rows, col=1)
    figure.update_layout(
        legend={"orientation": "h", "y": -0.15},
        margin={"l": 50, "r": 10, "t": 30, "b": 40},
        height=620,
        meta={"alt": f"EPI of {architecture} over the epochs, one panel a criterion, one line a ratio."},
    )
    return figure


def measure_curves(
    table: pd.DataFrame, architecture: str, criterion: Criterion, ratios: Sequence[float]
) -> Figure:
    """EPI beside rank correlations and mask measures on the same epochs, one panel a ratio.

    The Hamming distance is drawn as one minus itself, so that up means stable for all.

    Args:
        table: of :func:`pat.study.analysis.stability.stability_table`.
        architecture, criterion, ratios: which runs, and the panels.

    Returns:
        Means over seeds of the look-back window's means, with 95 % intervals.
    """
    wanted = (table["architecture"] == architecture) & (table["criterion"] == criterion)
    part = table[wanted & table["ratio"].isin(ratios)].dropna(subset=["value"]).copy()
    flipped = part["measure"] == "mask Hamming"
    part.loc[flipped, "value"] = 1 - part.loc[flipped, "value"]
    names = {"mask Hamming": "1 − mask Hamming"}
    part["measure"] = part["measure"].replace(names)
    colours = {names.get(name, name): colour for name, colour in MEASURE_COLOURS.items()}
    figure, axes = plt.subplots(1, len(ratios), figsize=(2.2 * len(ratios), 3.4), sharey=True, squeeze=False)
    for axis, ratio in zip(axes[0], ratios, strict=True):
        own = part[part["ratio"] == ratio]
        sns.lineplot(own, x="epoch", y="value", hue="measure", style="measure", hue_order=list(colours),
                     style_order=list(colours), palette=colours, errorbar=spread, ax=axis,
                     legend="full" if ratio == ratios[0] else False)  # fmt: skip
        axis.set(title=f"{criterion}, {100 * ratio:g} %", xlabel="epoch", ylabel="stability")
        axis.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    legend = axes[0, 0].get_legend()
    handles = [] if legend is None else [handle for handle in legend.legend_handles if handle is not None]
    if legend is not None:
        legend.remove()
    return with_legend(figure, handles, columns=3)


def signal_curves(
    table: pd.DataFrame,
    architecture: str,
    criterion: Criterion,
    ratios: Sequence[float],
    thresholds: Mapping[str, Mapping[str, Mapping[Criterion, float]]],
) -> Figure:
    """What every measure's rule looks at, with its thresholds, one panel a measure.

    Args:
        table: of :func:`pat.study.experiments.stability.signals.signal_table`.
        architecture, criterion: which runs.
        ratios: the curves; rank correlations have one for all.
        thresholds: by kind, measure and criterion, of
            :func:`pat.study.experiments.stability.triggers.thresholds`.

    Returns:
        Means over seeds with 95 % intervals; the first kind of threshold as a dashed, the second as a dotted
        line.
    """
    wanted = (table["architecture"] == architecture) & (table["criterion"] == criterion)
    part = table[wanted & table["ratio"].isin(ratios)].dropna(subset=["signal"])
    colours = ratio_colours(list(ratios))
    figure, axes = plt.subplots(3, 2, figsize=(6.6, 7.8), sharex=True)
    for axis, measure in zip(axes.flat, MEASURE_COLOURS, strict=False):
        own = part[part["measure"] == measure]
        if measure in _RANKINGS:
            own = own[own["ratio"] == ratios[0]]
            sns.lineplot(own, x="epoch", y="signal", color=DENSE_COLOUR, errorbar=spread, ax=axis)
        else:
            _lines(axis, own, "signal", colours)
        lines = [
            (by[measure][criterion], style)
            for by, style in zip(thresholds.values(), _STYLES, strict=False)
            if criterion in by.get(measure, {})
        ]
        for place, (value, style) in enumerate(sorted(lines)):
            threshold_line(axis, value, f"{value:.3f}", style, above=place == len(lines) - 1)
        axis.margins(y=0.12)
        axis.set(title=measure, xlabel="", ylabel="", xlim=(0, None))
        axis.tick_params(labelbottom=True)
    spare = axes.flat[len(MEASURE_COLOURS)]
    spare.axis("off")
    handles = [Line2D([], [], color=colour, label=f"{100 * r:g} % pruned") for r, colour in colours.items()]
    handles.append(Line2D([], [], color=DENSE_COLOUR, label="all ratios"))
    for kind, style in zip(thresholds, _STYLES, strict=False):
        handles.append(Line2D([], [], color=DENSE_COLOUR, linestyle=style, label=f"{kind} threshold"))
    spare.legend(handles=handles, loc="center")
    for axis in (axes[1, 1], axes[2, 0]):
        axis.set_xlabel("epoch")
    figure.suptitle(f"{architecture}, {criterion} criterion", fontsize="medium")
    return finished(figure)


def threshold_line(axis: Axes, value: float, label: str, style: str = "--", above: bool = True) -> None:
    """A threshold with its name at the left end, where measures with a look-back have no values yet."""
    axis.axhline(value, color=DENSE_COLOUR, linestyle=style, linewidth=1.2)
    shift = 2 if above else -2
    axis.annotate(
        label,
        (0.01, value),
        xycoords=("axes fraction", "data"),
        xytext=(0, shift),
        textcoords="offset points",
        ha="left",
        va="bottom" if above else "top",
        fontsize="small",
        color=DENSE_COLOUR,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.5},
    )


def _epi(table: pd.DataFrame, architecture: str) -> tuple[pd.DataFrame, list[Criterion]]:
    """A network's EPI, and the criteria that it was watched for."""
    part = table[(table["architecture"] == architecture) & (table["measure"] == "EPI")]
    part = part.dropna(subset=["value"])
    return part, [criterion for criterion in CRITERIA if criterion in set(part["criterion"])]


def _lines(axis: Axes, part: pd.DataFrame, column: str, colours: Mapping[float, Any]) -> None:
    """One line a ratio."""
    sns.lineplot(part, x="epoch", y=column, hue="ratio", palette=dict(colours), errorbar=spread,
                 err_kws={"alpha": 0.12, "linewidth": 0}, ax=axis, legend=False)  # fmt: skip
    axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))


def _rgb(colour: tuple[float, float, float]) -> str:
    return "rgb({:.0f},{:.0f},{:.0f})".format(*(255 * part for part in colour))
