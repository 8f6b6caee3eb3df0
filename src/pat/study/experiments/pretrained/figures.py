"""Train, prune, finetune beside EPI on a longer schedule (the paper's Table 3)."""

from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pat.study.analysis.intervals import interval
from pat.study.experiments.pretrained.runs import METHODS, pretrained_differences
from pat.study.experiments.pretrained.tables import paper_differences
from pat.study.paper.numbers import Paper
from pat.study.style import DENSE_COLOUR, POLICY_COLOURS, RIVAL_COLOUR, with_legend

_LOOKS: dict[str, dict[str, Any]] = {
    "finetuned": {"color": RIVAL_COLOUR, "marker": "s"},
    "epochs": {"color": POLICY_COLOURS["epi"], "marker": "v"},
    "time": {"color": POLICY_COLOURS["epi"], "marker": "^", "markerfacecolor": "white"},
}
_APART = 0.22


def pretrained_by_ratio(table: pd.DataFrame, dense: pd.DataFrame, paper: Paper) -> Figure:
    """Accuracy of each method by ratio, and what EPI gains over finetuning.

    Args:
        table: of :func:`pat.study.experiments.pretrained.runs.pretrained_table`.
        dense: of :func:`pat.study.store.rows.runs_table`, the networks before finetuning.
        paper: its differences, drawn as open diamonds.

    Returns:
        Left: means over seeds with 95 % intervals, every seed as a dot, the dense run as a dashed line.
        Right: EPI minus finetuning in points, paired over seeds; the paper's at its own ratios.
    """
    runs, gaps = table.dropna(subset=["test_accuracy"]), pretrained_differences(table)
    printed = paper_differences(paper)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.4, 4.1))
    ratios = sorted(runs["ratio"].unique())
    for number, (method, look) in enumerate(_LOOKS.items()):
        for place, ratio in enumerate(ratios):
            at = (runs["method"] == method) & (runs["ratio"] == ratio)
            _mean_and_seeds(left, place + (number - 1) * _APART, runs.loc[at, "test_accuracy"], look)
    if not dense.empty:
        left.axhline(dense["test_accuracy"].mean(), color=DENSE_COLOUR, linestyle="--", linewidth=1)
    every = sorted({*ratios, *printed["ratio"]})
    for number, budget in enumerate(("epochs", "time")):
        for place, ratio in enumerate(every):
            shift = place + (number - 0.5) * _APART
            at = (gaps["budget"] == budget) & (gaps["ratio"] == ratio)
            _mean_and_seeds(right, shift, gaps.loc[at, "difference"], _LOOKS[budget])
            theirs = printed[(printed["budget"] == budget) & (printed["ratio"] == ratio)]["difference"]
            right.plot([shift + 0.09] * len(theirs), theirs, "D", markerfacecolor="white", markersize=5,
                       markeredgecolor=DENSE_COLOUR, zorder=4)  # fmt: skip
    right.axhline(0, color=RIVAL_COLOUR, linewidth=1.2)
    for axis, shown in ((left, ratios), (right, every)):
        axis.set_xticks(range(len(shown)), [f"{100 * ratio:g} %" for ratio in shown])
        axis.set_xlim(-0.5, max(len(shown), 1) - 0.5)
        axis.grid(False, axis="x")
        axis.set_xlabel("pruned")
    left.set_ylabel("test accuracy (%)")
    right.set_ylabel("EPI minus finetuning (points)")
    handles = [
        Line2D([], [], linestyle="none", label=METHODS[method], **look) for method, look in _LOOKS.items()
    ]
    handles.append(Line2D([], [], color=DENSE_COLOUR, linestyle="--", linewidth=1, label="dense"))
    handles.append(Line2D([], [], color=DENSE_COLOUR, marker="D", markerfacecolor="white", markersize=5,
                          linestyle="none", label="paper, ResNet50 on ImageNet"))  # fmt: skip
    return with_legend(figure, handles, columns=3)


def _mean_and_seeds(axis: Axes, place: float, values: pd.Series, look: dict[str, Any]) -> None:
    if values.empty:
        return
    mean = interval(values)
    half = 0.0 if mean.high is None else mean.high - mean.mean
    axis.plot([place - 0.06] * len(values), values, ".", color=look["color"], alpha=0.45, markersize=5)
    axis.errorbar([place], [mean.mean], yerr=[half], capsize=3, markersize=6, linestyle="none", **look)
