"""Lottery tickets beside pruning in training (the paper's Fig. 3)."""

from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pat.study.analysis.runs import summary
from pat.study.experiments.tickets.tables import ticket_differences, weights_of
from pat.study.style import CRITERION_COLOURS, DENSE_COLOUR, with_legend

_GREYS = ("0.55", "0.3", "0.75")  # grey as in the paper, told apart by line and mark as well
_LINES = ("-", "--", ":")
_MARKS = ("s", "D", "v")
_APART = 0.012  # of the axis, between curves whose intervals would cover each other


def ticket_curves(table: pd.DataFrame, dense: pd.DataFrame) -> Figure:
    """Accuracy against the pruning epoch, in training and as tickets, and their paired differences below.

    Args:
        table: of :func:`pat.study.experiments.tickets.tables.tickets_table`, one network and criterion.
        dense: of :func:`pat.study.store.rows.runs_table`, the dense runs of the same seeds.

    Returns:
        A column a ratio. Above: means over seeds with 95 % intervals, every seed as a dot, the dense run as a
        dashed line. Below: pruning in training minus each ticket, in points, paired over seeds.
    """
    runs = table.dropna(subset=["test_accuracy"])
    gaps = ticket_differences(table)
    ratios = sorted(runs["ratio"].unique())
    columns = max(len(ratios), 1)
    figure, axes = plt.subplots(
        2, columns, figsize=(4.4 * columns, 6.2), sharex=True, sharey="row", squeeze=False,
        height_ratios=(3, 2),
    )  # fmt: skip
    looks = _looks(runs)
    span = float(runs["epoch"].max()) if len(runs) else 1.0
    for (upper, lower), ratio in zip(axes.T, ratios, strict=False):
        for number, (rewind, look) in enumerate(looks.items()):
            shift = (number - (len(looks) - 1) / 2) * _APART * max(span, 1)
            at = runs["rewind"].isna() if pd.isna(rewind) else runs["rewind"] == rewind
            _curve(upper, runs[at & (runs["ratio"] == ratio)], "test_accuracy", shift, look)
            _curve(lower, gaps[(gaps["rewind"] == rewind) & (gaps["ratio"] == ratio)], "difference", shift,
                   look)  # fmt: skip
        if not dense.empty:
            upper.axhline(dense["test_accuracy"].mean(), color=DENSE_COLOUR, linestyle="--", linewidth=1)
        lower.axhline(0, color=DENSE_COLOUR, linewidth=1)
        upper.set(title=f"{100 * ratio:g} % pruned")
        lower.set(xlabel="pruning epoch")
        lower.set_xticks(sorted(runs["epoch"].unique()))
    axes[0, 0].set_ylabel("test accuracy (%)")
    axes[1, 0].set_ylabel("in training minus ticket\n(points)")
    figure.suptitle(", ".join(str(name) for name in runs["architecture"].unique()))
    handles = [
        Line2D([], [], **look, label="pruned in training" if pd.isna(rewind) else f"ticket, {_of(rewind)}")
        for rewind, look in looks.items()
    ]
    handles.append(Line2D([], [], color=DENSE_COLOUR, linestyle="--", linewidth=1, label="dense"))
    return with_legend(figure, handles, columns=2)


def _of(rewind: float) -> str:
    return f"weights {weights_of(rewind)}" if rewind else weights_of(rewind)


def _looks(runs: pd.DataFrame) -> dict[float, dict[str, Any]]:
    """Colour, line and mark of each curve: pruning in training first, then tickets by their weights."""
    found: dict[float, dict[str, Any]] = {}
    if runs["rewind"].isna().any():
        criterion = str(runs["criterion"].iloc[0])
        found[float("nan")] = {"color": CRITERION_COLOURS[criterion], "marker": "o", "linestyle": "-"}
    for number, rewind in enumerate(sorted(runs["rewind"].dropna().unique())):
        at = number % len(_GREYS)
        found[float(rewind)] = {"color": _GREYS[at], "marker": _MARKS[at], "linestyle": _LINES[at]}
    return found


def _curve(axis: Axes, runs: pd.DataFrame, value: str, shift: float, look: dict[str, Any]) -> None:
    if runs.empty:
        return
    means = summary(runs, ["epoch"], value)
    axis.plot(runs["epoch"] + shift, runs[value], ".", color=look["color"], alpha=0.45, markersize=5)
    axis.errorbar(
        means["epoch"] + shift,
        means["mean"],
        yerr=[means["mean"] - means["low"], means["high"] - means["mean"]],
        **look,
        capsize=3,
        markersize=5,
    )
