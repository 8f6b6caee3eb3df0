"""Measured speed against accuracy (Fig. 5) and multiply-accumulates, channels by layer, training costs."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
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
_NEAR = 6  # points under the dense network's accuracy
_DASHES = ("-", "--", ":", "-.")


def speed_and_accuracy(table: pd.DataFrame, dense: Collection[float], weight: float | None = None) -> Figure:
    """Test accuracy against the measured speed-up of a training step (the paper's Fig. 5).

    Args:
        table: of :func:`pat.study.analysis.speed_table`; runs without a measured step are left out.
        dense: the dense runs' test accuracies in percent.
        weight: draw the latency-aware runs of this lambda alone; by default of all.

    Returns:
        One line a choice (and lambda), one mark a ratio: means over seeds with 95 % intervals of both values,
        every seed as a dot; top right is best. The dense network is at a speed-up of 1. A second panel has the
        marks that are within a few points of its accuracy, where there are some.
    """
    known = table.dropna(subset=["speedup", "test_accuracy"])
    if weight is not None:
        known = known[known["weight"].isna() | (known["weight"] == weight)]
    curves = {
        (str(choice), None if pd.isna(w) else float(w)): _means(part)
        for (choice, w), part in known.groupby(["choice", "weight"], dropna=False)
    }
    order = sorted(curves, key=lambda key: (list(_LABELS).index(key[0]), key[1] or 0))
    base = interval(dense).mean if len(dense) else None
    near = [
        m for points in curves.values() for m in points if base is not None and m.accuracy.mean > base - _NEAR
    ]
    figure, axes = plt.subplots(1, 2 if near else 1, figsize=(10.4 if near else 6.4, 4.3), squeeze=False)
    handles: list[Artist] = []
    for column, axis in enumerate(axes[0]):
        handles = [_dense_lines(axis, dense)] if len(dense) else []
        for number, (choice, w) in enumerate(order):
            look = {"color": POLICY_COLOURS[choice], "linestyle": _DASHES[number % len(_DASHES)]}
            part = known[
                (known["choice"] == choice) & (known["weight"].isna() if w is None else known["weight"] == w)
            ]
            axis.plot(
                part["speedup"], part["test_accuracy"], ".", color=look["color"], alpha=0.4, markersize=5
            )
            _curve(axis, curves[choice, w], choice, look, [m in near for m in curves[choice, w]], column == 1)
            name = CHOICE_NAMES[choice] + ("" if w is None else f", λ = {w:g}")
            handles.append(Line2D([], [], **look, marker=POLICY_MARKERS[choice], label=name))
        axis.set_xlabel("speed-up of a training step (dense / pruned)")
    axes[0, 0].set_ylabel("test accuracy (%)")
    if near:
        axes[0, 1].set(
            xlim=_around(1.0, *(m.speedup for m in near)), ylim=_around(*(m.accuracy for m in near))
        )
        axes[0, 1].set_title("near the dense network")
    return with_legend(figure, handles, columns=2)


@dataclass(frozen=True)
class _Mark:
    """Means over the seeds of one ratio."""

    ratio: float
    speedup: Interval
    accuracy: Interval


def _means(part: pd.DataFrame) -> list[_Mark]:
    return [
        _Mark(float(str(ratio)), interval(runs["speedup"]), interval(runs["test_accuracy"]))
        for ratio, runs in part.groupby("ratio")
    ]


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


def _dense_lines(axis: Axes, dense: Collection[float]) -> Line2D:
    found = interval(dense)
    if found.low is not None and found.high is not None:
        axis.axhspan(found.low, found.high, color=DENSE_COLOUR, alpha=0.12, linewidth=0)
    axis.axhline(found.mean, color=DENSE_COLOUR, linestyle="--", linewidth=1)
    axis.axvline(1, color=DENSE_COLOUR, linestyle=":", linewidth=1)
    return Line2D([], [], color=DENSE_COLOUR, linestyle="--", label="dense")


def _curve(
    axis: Axes, marks: list[_Mark], choice: str, look: Mapping[str, Any], near: list[bool], close_up: bool
) -> None:
    """A line with its marks, labelled by ratio in the panel where there is room."""
    for mark, is_near in zip(marks, near, strict=True):
        x, y = mark.speedup, mark.accuracy
        axis.errorbar(
            x.mean,
            y.mean,
            xerr=_half(x),
            yerr=_half(y),
            color=look["color"],
            marker=POLICY_MARKERS[choice],
            markersize=6,
            capsize=2,
            linewidth=1,
        )
        if is_near == close_up:
            place, side = _LABELS[choice]
            axis.annotate(
                f"{100 * mark.ratio:g} %",
                (x.mean, y.mean),
                textcoords="offset points",
                xytext=place,
                ha=side,
                fontsize="x-small",
                color=look["color"],
            )
    axis.plot(
        [m.speedup.mean for m in marks], [m.accuracy.mean for m in marks], linewidth=1, alpha=0.7, **look
    )


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
