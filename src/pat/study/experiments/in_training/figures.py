"""Accuracy against the computation that training took (the paper's Table 2 as a picture)."""

from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pat.study.analysis.intervals import interval
from pat.study.style import DENSE_COLOUR, POLICY_COLOURS, RIVAL_COLOUR, with_legend

_LOOKS: dict[str, dict[str, Any]] = {
    "dense": {"color": DENSE_COLOUR, "marker": "o"},
    "epi": {"color": POLICY_COLOURS["epi"], "marker": "v"},
    "prunetrain": {"color": RIVAL_COLOUR, "marker": "s"},
}
_NAMES = {"dense": "dense", "epi": "PaT by EPI, by ratio", "prunetrain": "PruneTrain, by ρ"}
_LABELS = {"dense": (8, 7), "epi": (8, 7), "prunetrain": (5, -14)}  # beside its mark, in points


def accuracy_by_computation(table: pd.DataFrame) -> Figure:
    """Test accuracy against the training's multiply-accumulates, one panel a network.

    Args:
        table: of :func:`pat.study.experiments.in_training.runs.rivals_table`.

    Returns:
        Means over seeds with 95 % intervals both ways, every seed as a dot; PruneTrain's settings are joined.
    """
    networks = list(dict.fromkeys(table["architecture"]))
    number = max(len(networks), 1)
    figure, axes = plt.subplots(1, number, figsize=(4.8 * number, 4.0), squeeze=False)
    for axis, network in zip(axes[0], networks, strict=False):
        own = table[table["architecture"] == network].dropna(subset=["test_accuracy", "saving"])
        for method, look in _LOOKS.items():
            _settings(axis, own[own["method"] == method], look)
        axis.margins(x=0.09)
        axis.set(title=network, xlabel="training multiply-accumulates (% of dense)")
    axes[0, 0].set_ylabel("test accuracy (%)")
    shown = [method for method in _LOOKS if method in set(table["method"])]
    handles = [Line2D([], [], linestyle="none", label=_NAMES[method], **_LOOKS[method]) for method in shown]
    return with_legend(figure, handles, columns=3)


def _settings(axis: Axes, runs: pd.DataFrame, look: dict[str, Any]) -> None:
    """A method's settings (EPI's ratios, PruneTrain's shares) as points with their intervals."""
    places = []
    for _, part in runs.groupby(["ratio", "share"], dropna=False):
        spent, reached = interval(100 - 100 * part["saving"]), interval(part["test_accuracy"])
        axis.plot(100 - 100 * part["saving"], part["test_accuracy"], ".", color=look["color"], alpha=0.4)
        wide, high = ((0.0 if i.high is None else i.high - i.mean) for i in (spent, reached))
        axis.errorbar([spent.mean], [reached.mean], xerr=[wide], yerr=[high], capsize=3, markersize=7,
                      linestyle="none", zorder=3, **look)  # fmt: skip
        places.append((spent.mean, reached.mean))
        beside = _LABELS[str(part["method"].iloc[0])]
        axis.annotate(_label(part), places[-1], xytext=beside, textcoords="offset points", fontsize="small",
                      color=look["color"])  # fmt: skip
    if len(places) > 1:
        axis.plot(*zip(*sorted(places), strict=True), color=look["color"], linewidth=1, alpha=0.6, zorder=1)


def _label(runs: pd.DataFrame) -> str:
    ratio, share = runs["ratio"].iloc[0], runs["share"].iloc[0]
    if pd.notna(share):
        return f"{share:g}"
    return "" if pd.isna(ratio) else f"{100 * ratio:g} %"
