"""Measured speed against accuracy (Fig. 5) and multiply-accumulates, channels by layer, training costs."""

from collections.abc import Collection, Mapping
from typing import Any, Literal

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from pat.study.analysis.intervals import interval
from pat.study.analysis.speed import CHOICES
from pat.study.analysis.speed_tables import CHOICE_NAMES
from pat.study.audit.numbers import Paper
from pat.study.figures.style import (
    DENSE_COLOUR,
    POLICY_COLOURS,
    POLICY_MARKERS,
    RIVAL_COLOUR,
    finished,
    with_legend,
)

_WAYS = {"pat": "PaT at EPI's epoch", "finetune": "train, prune, finetune"}
_LABELS: dict[str, tuple[tuple[int, int], Literal["left", "right"]]] = {
    "init": ((-5, -11), "right"),
    "epi": ((5, 5), "left"),
    "latency": ((6, -11), "left"),
}
_DASHES = ("-", "--", ":", "-.")


def speed_and_accuracy(table: pd.DataFrame, dense: Collection[float]) -> Figure:
    """Test accuracy against the measured speed-up of a training step (the paper's Fig. 5).

    Args:
        table: of :func:`pat.study.analysis.speed.speed_table`; runs without a measured step are left out.
        dense: the dense runs' test accuracies in percent.

    Returns:
        One line a choice (and lambda), one mark a ratio: means over seeds with 95 % intervals of both values,
        every seed as a dot; top right is best. The dense network is at a speed-up of 1.
    """
    known = table.dropna(subset=["speedup", "test_accuracy"])
    figure, axis = plt.subplots(figsize=(7.2, 4.6))
    handles: list[Artist] = [_dense_point(axis, dense)] if len(dense) else []
    weights = sorted(known["weight"].dropna().unique())
    for choice in CHOICES:
        for number, weight in enumerate(weights if choice == "latency" else [None]):
            part = known[known["choice"] == choice]
            part = part if weight is None else part[part["weight"] == weight]
            if part.empty:
                continue
            look = {"color": POLICY_COLOURS[choice], "linestyle": _DASHES[number % len(_DASHES)]}
            _curve(axis, part, choice, look)
            name = CHOICE_NAMES[choice] + (f", λ = {weight:g}" if weight is not None else "")
            handles.append(Line2D([], [], **look, marker=POLICY_MARKERS[choice], label=name))
    axis.set(xlabel="speed-up of a training step (dense / pruned, measured)", ylabel="test accuracy (%)")
    return with_legend(figure, handles, columns=2)


def _dense_point(axis: Axes, dense: Collection[float]) -> Line2D:
    found = interval(dense)
    if found.low is not None and found.high is not None:
        axis.axhspan(found.low, found.high, color=DENSE_COLOUR, alpha=0.12, linewidth=0)
    axis.axhline(found.mean, color=DENSE_COLOUR, linestyle="--", linewidth=1)
    axis.axvline(1, color=DENSE_COLOUR, linestyle=":", linewidth=1)
    return Line2D([], [], color=DENSE_COLOUR, linestyle="--", label="dense")


def _curve(axis: Axes, part: pd.DataFrame, choice: str, look: Mapping[str, Any]) -> None:
    colour = POLICY_COLOURS[choice]
    axis.plot(part["speedup"], part["test_accuracy"], ".", color=colour, alpha=0.4, markersize=5)
    xs, ys = [], []
    for ratio, runs in part.groupby("ratio"):
        x, y = interval(runs["speedup"]), interval(runs["test_accuracy"])
        axis.errorbar(
            x.mean,
            y.mean,
            xerr=None if x.high is None else x.high - x.mean,
            yerr=None if y.high is None else y.high - y.mean,
            color=colour,
            marker=POLICY_MARKERS[choice],
            markersize=6,
            capsize=2,
            linewidth=1,
        )
        place, side = _LABELS[choice]
        axis.annotate(
            f"{100 * float(str(ratio)):g} %",
            (x.mean, y.mean),
            textcoords="offset points",
            xytext=place,
            ha=side,
            fontsize="x-small",
            color=colour,
        )
        xs.append(x.mean)
        ys.append(y.mean)
    axis.plot(xs, ys, linewidth=1, alpha=0.7, **look)


def step_against_macs(table: pd.DataFrame) -> Figure:
    """Measured time of a training step against multiply-accumulates, both as shares of the dense network's.

    Args:
        table: of :func:`pat.study.analysis.speed.speed_table`.

    Returns:
        One mark a network; on the diagonal a step is shorter by as much as the network is smaller.
    """
    known = table.dropna(subset=["step_share", "macs_share"])
    figure, axis = plt.subplots(figsize=(5.6, 4.4))
    for choice in CHOICES:
        part = known[known["choice"] == choice]
        if part.empty:
            continue
        axis.plot(
            part["macs_share"], part["step_share"], POLICY_MARKERS[choice], color=POLICY_COLOURS[choice],
            alpha=0.7, markersize=6, label=CHOICE_NAMES[choice],
        )  # fmt: skip
    axis.plot([0, 1], [0, 1], color=DENSE_COLOUR, linestyle="--", linewidth=1, label="equal")
    axis.plot([1], [1], "s", color=DENSE_COLOUR, markersize=5, label="dense")
    axis.set(
        xlim=(0, 1.05),
        ylim=(0, max(1.05, 1.05 * known["step_share"].max()) if len(known) else 1.05),
        xlabel="multiply-accumulates (share of dense)",
        ylabel="training step (share of dense)",
    )
    axis.legend(loc="lower right", fontsize="small")
    return finished(figure)


def layers_by_choice(kept: pd.DataFrame, title: str) -> Figure:
    """Which layers lose their channels: share kept by layer and choice.

    Args:
        kept: of :func:`pat.study.analysis.speed.kept_by_choice`.
        title: the figure's.
    """
    figure, axis = plt.subplots(figsize=(1.7 * max(len(kept.columns), 1) + 3, 0.3 * len(kept) + 1.4))
    sns.heatmap(
        kept.rename(columns=CHOICE_NAMES), ax=axis, cmap="cividis", vmin=0, vmax=100, annot=True, fmt=".0f",
        cbar_kws={"label": "channels kept (%)"}, annot_kws={"fontsize": "x-small"},
    )  # fmt: skip
    axis.set(title=title, xlabel="", ylabel="")
    axis.tick_params(axis="y", rotation=0)
    return finished(figure)


def training_costs(shares: pd.DataFrame, paper: Paper, ratio: float) -> Figure:
    """What training costs in dense trainings, by ratio, in multiply-accumulates and in time.

    Args:
        shares: of :func:`pat.study.analysis.speed_tables.cost_shares`.
        paper: its prices are drawn as open diamonds.
        ratio: that the paper's prices are for.

    Returns:
        Bars are means over seeds with 95 % intervals; the dashed line is the dense training.
    """
    panels = {"macs": "multiply-accumulates", "step": "measured time of steps"}
    colours = {"pat": POLICY_COLOURS["epi"], "finetune": RIVAL_COLOUR}
    dense = paper.number("cost.dense_usd").value
    printed = {"pat": "cost.pat_usd", "finetune": "cost.train_prune_finetune_usd"}
    figure, axes = plt.subplots(1, len(panels), figsize=(9, 3.8), sharey=True)
    ratios = sorted(shares["ratio"].unique())
    for axis, (measure, title) in zip(axes, panels.items(), strict=True):
        own = shares[(shares["measure"] == measure)].dropna(subset=["share"])
        for place, way in enumerate(_WAYS):
            for column, at in enumerate(ratios):
                values = own[(own["way"] == way) & (own["ratio"] == at)]["share"]
                x = column + (place - 0.5) * 0.38
                if len(values):
                    found = interval(values)
                    error = None if found.high is None else found.high - found.mean
                    axis.bar(x, found.mean, 0.36, yerr=error, color=colours[way], capsize=2)
                if at == ratio:
                    axis.plot(x, paper.number(printed[way]).value / dense, "D", markerfacecolor="white",
                              markeredgecolor="0.1", markersize=6, zorder=4)  # fmt: skip
        axis.axhline(1, color=DENSE_COLOUR, linestyle="--", linewidth=1)
        axis.set(title=title, xlabel="pruning ratio")
        axis.set_xticks(range(len(ratios)), [f"{100 * at:g} %" for at in ratios])
        axis.grid(False, axis="x")
    axes[0].set_ylabel("training cost (dense trainings)")
    handles: list[Artist] = [Patch(color=colours[way], label=name) for way, name in _WAYS.items()]
    handles.append(Line2D([], [], color=DENSE_COLOUR, linestyle="--", label="dense"))
    handles.append(Line2D([], [], color="0.1", marker="D", markerfacecolor="white", linestyle="none",
                          markersize=6, label="paper's prices, ImageNet"))  # fmt: skip
    return with_legend(figure, handles)
