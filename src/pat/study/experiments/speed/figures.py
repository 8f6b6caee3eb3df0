"""Measured speed against accuracy (Fig. 5) and multiply-accumulates, channels by layer, training costs."""

from collections.abc import Collection
from dataclasses import dataclass
from itertools import cycle
from math import inf
from typing import Any, Literal

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from pat.study.analysis.intervals import Interval, interval
from pat.study.experiments.speed.runs import CHOICES
from pat.study.experiments.speed.tables import CHOICE_NAMES
from pat.study.paper.numbers import Paper
from pat.study.style import DENSE_COLOUR, POLICY_COLOURS, POLICY_MARKERS, RIVAL_COLOUR, finished, with_legend

Dash = Literal["-", "--", ":", "-."]
_WAYS = {"pat": "PaT at EPI's epoch", "finetune": "train, prune, finetune"}
_LABELS: dict[str, tuple[tuple[int, int], Literal["left", "right"]]] = {
    "init": ((-5, -11), "right"),
    "epi": ((5, 5), "left"),
    "latency": ((6, -11), "left"),
}
_NEAR = 6  # points under the dense network's accuracy
_DASHES: tuple[Dash, ...] = ("-", "--", ":", "-.")


def speed_and_accuracy(table: pd.DataFrame, dense: Collection[float], weight: float | None = None) -> Figure:
    """Test accuracy against the measured speed-up of a training step (the paper's Fig. 5).

    Args:
        table: of :func:`pat.study.analysis.speed_table`; runs without a measured step are left out.
        dense: the dense runs' test accuracies in percent.
        weight: draw the latency-aware runs of this lambda alone; by default of all.

    Returns:
        One line a choice (and lambda), one mark a ratio: means over seeds with 95 % intervals of both values,
        every seed as a dot; top right is best. The dense network is at a speed-up of 1. A second panel has
        the marks that are within a few points of its accuracy, where there are some.
    """
    known = table.dropna(subset=["speedup", "test_accuracy"])
    if weight is not None:
        known = known[known["weight"].isna() | (known["weight"] == weight)]
    curves = _curves(known)
    near = [m for curve in curves for m in curve.marks if m.accuracy.mean > _least(dense)]
    figure, axes = plt.subplots(1, 2 if near else 1, figsize=(10.4 if near else 6.4, 4.3), squeeze=False)
    for column, axis in enumerate(axes[0]):
        if len(dense):
            _dense_lines(axis, dense)
        for curve in curves:
            _draw(axis, curve, [mark for mark in curve.marks if (mark in near) == (column == 1)])
        axis.set_xlabel("speed-up of a training step (dense / pruned)")
    axes[0, 0].set_ylabel("test accuracy (%)")
    if near:
        axes[0, 1].set(
            xlim=_around(1.0, *(m.speedup for m in near)), ylim=_around(*(m.accuracy for m in near))
        )
        axes[0, 1].set_title("near the dense network")
    handles = [
        Line2D([], [], marker=c.marker, color=c.colour, linestyle=c.dash, label=c.name) for c in curves
    ]
    dashed = Line2D([], [], color=DENSE_COLOUR, linestyle="--", label="dense")
    return with_legend(figure, [dashed, *handles], columns=2)


@dataclass(frozen=True)
class _Mark:
    """Means over the seeds of one ratio."""

    ratio: float
    speedup: Interval
    accuracy: Interval


@dataclass(frozen=True)
class _Curve:
    """One choice, and lambda, with its look."""

    choice: str
    name: str
    dash: Dash
    runs: pd.DataFrame
    marks: list[_Mark]

    @property
    def colour(self) -> Any:
        return POLICY_COLOURS[self.choice]

    @property
    def marker(self) -> str:
        return POLICY_MARKERS[self.choice]


def _curves(known: pd.DataFrame) -> list[_Curve]:
    found = []
    for choice in CHOICES:
        own = known[known["choice"] == choice]
        weights = sorted(own["weight"].dropna().unique()) or [None]
        for weight, dash in zip(weights, cycle(_DASHES), strict=False):
            runs = own if weight is None else own[own["weight"] == weight]
            marks = [
                _Mark(float(str(ratio)), interval(part["speedup"]), interval(part["test_accuracy"]))
                for ratio, part in runs.groupby("ratio")
            ]
            name = CHOICE_NAMES[choice] + ("" if weight is None else f", λ = {weight:g}")
            found += [_Curve(choice, name, dash, runs, marks)] if marks else []
    return found


def _least(dense: Collection[float]) -> float:
    """The accuracy from which a mark is near the dense network."""
    return interval(dense).mean - _NEAR if len(dense) else inf


def _around(*values: Interval | float) -> tuple[float, float]:
    """Limits of an axis that hold all of the values with their intervals."""
    ends: list[float] = []
    for value in values:
        if isinstance(value, Interval):
            ends += [v for v in (value.low, value.mean, value.high) if v is not None]
        else:
            ends.append(value)
    margin = 0.08 * (max(ends) - min(ends)) or 0.5
    return min(ends) - margin, max(ends) + margin


def _half(value: Interval) -> float | None:
    return None if value.high is None else value.high - value.mean


def _dense_lines(axis: Axes, dense: Collection[float]) -> None:
    found = interval(dense)
    if found.low is not None and found.high is not None:
        axis.axhspan(found.low, found.high, color=DENSE_COLOUR, alpha=0.12, linewidth=0)
    axis.axhline(found.mean, color=DENSE_COLOUR, linestyle="--", linewidth=1)
    axis.axvline(1, color=DENSE_COLOUR, linestyle=":", linewidth=1)


def _draw(axis: Axes, curve: _Curve, labelled: list[_Mark]) -> None:
    """A curve; marks get their ratio in the panel in which there is room."""
    look: dict[str, Any] = {"color": curve.colour, "linewidth": 1}
    axis.plot(curve.runs["speedup"], curve.runs["test_accuracy"], ".", alpha=0.4, markersize=5, **look)
    for mark in curve.marks:
        x, y = mark.speedup, mark.accuracy
        axis.errorbar(x.mean, y.mean, xerr=_half(x), yerr=_half(y), marker=curve.marker, markersize=6,
                      capsize=2, **look)  # fmt: skip
    places = [(mark.speedup.mean, mark.accuracy.mean) for mark in curve.marks]
    axis.plot(*zip(*places, strict=True), linestyle=curve.dash, alpha=0.7, **look)
    offset, side = _LABELS[curve.choice]
    for mark in labelled:
        axis.annotate(
            f"{100 * mark.ratio:g} %",
            (mark.speedup.mean, mark.accuracy.mean),
            textcoords="offset points",
            xytext=offset,
            ha=side,
            fontsize="x-small",
            color=curve.colour,
        )


def step_against_macs(table: pd.DataFrame) -> Figure:
    """Measured time of a training step against multiply-accumulates, both as shares of the dense network's.

    Args:
        table: of :func:`pat.study.experiments.speed.runs.speed_table`.

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
        kept: of :func:`pat.study.experiments.speed.runs.kept_by_choice`.
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
        shares: of :func:`pat.study.experiments.speed.tables.cost_shares`.
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
