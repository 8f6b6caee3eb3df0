"""Runs of one checkpoint under other masks (Sec. 4.5)."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pat.study.analysis.intervals import interval
from pat.study.experiments.variations.tables import KIND_NAMES, variation_summary
from pat.study.paper.numbers import Paper
from pat.study.style import CRITERION_COLOURS, MASK_COLOURS, with_legend

_LOOKS: dict[str, dict[str, Any]] = {
    "same": {"color": MASK_COLOURS["same"], "marker": "o"},
    "other": {"color": MASK_COLOURS["other"], "marker": "D"},
    "trained": {"color": CRITERION_COLOURS["gradient"], "marker": "^"},
}
_SHORT = {"same": "same\nstructure", "other": "other\nstructure", "trained": "same\nmask"}
_PLACES = {"same": -0.18, "trained": 0.0, "other": 0.18}


def accuracy_by_mask(table: pd.DataFrame) -> Figure:
    """Every run under another mask, as its difference to the original mask's run of the same seed.

    Args:
        table: of :func:`pat.study.experiments.variations.tables.variations_table`.

    Returns:
        A panel a ratio, a column a seed, the original's run as the zero line.
    """
    figure, axes = _panels(table, width=4.8)
    runs = table[table["kind"] != "original"].dropna(subset=["difference"])
    seeds = sorted(runs["seed"].unique())
    for axis, ratio in zip(axes, _ratios(table), strict=False):
        axis.axhline(0, color="0.1", linewidth=1.2)
        for kind, look in _LOOKS.items():
            part = runs[(runs["ratio"] == ratio) & (runs["kind"] == kind)]
            rank = part.groupby("seed").cumcount().to_numpy()
            place = np.array([seeds.index(seed) for seed in part["seed"]]) + _PLACES[kind]
            axis.plot(place + 0.012 * (rank - 3), part["difference"], linestyle="none", alpha=0.75,
                      markersize=5, **look)  # fmt: skip
        axis.set_xticks(range(len(seeds)), map(str, seeds), rotation=90 if len(seeds) > 8 else 0)
        axis.grid(False, axis="x")
        axis.set(title=f"{100 * ratio:g} % pruned", xlabel="seed")
    axes[0].set_ylabel("test accuracy minus the\noriginal mask's (points)")
    original = Line2D([], [], color="0.1", linewidth=1.2, label="original mask")
    return with_legend(figure, [original, *_handles(runs)], columns=2)


def distance_by_kind(table: pd.DataFrame, paper: Paper) -> Figure:
    """Mean absolute difference to the original mask's run, by how the mask differs.

    Args:
        table: of :func:`pat.study.experiments.variations.tables.variations_table`.
        paper: its means at its one ratio, drawn as open diamonds with their standard deviations.

    Returns:
        A panel a ratio: means over seeds with 95 % intervals, every seed as a dot; a short line is the mean
        absolute difference between two draws of the same kind.
    """
    found = variation_summary(table)
    figure, axes = _panels(table, width=3.8)
    for axis, ratio in zip(axes, _ratios(table), strict=False):
        kinds = [kind for kind in _LOOKS if kind in set(found.loc[found["ratio"] == ratio, "kind"])]
        for place, kind in enumerate(kinds):
            part = found[(found["ratio"] == ratio) & (found["kind"] == kind)]
            _distances(axis, place, part, _LOOKS[kind])
            if 100 * ratio == paper.number("similar_structure.ratio").value:
                _printed(axis, place + 0.28, kind, paper)
        axis.set_xticks(range(len(kinds)), [_SHORT[kind] for kind in kinds])
        axis.grid(False, axis="x")
        axis.set(title=f"{100 * ratio:g} % pruned", xlim=(-0.6, max(len(kinds), 1) - 0.4))
        axis.set_ylim(bottom=0)
    axes[0].set_ylabel("|difference| (points)")
    handles = [
        Line2D([], [], color="0.4", linestyle="--", label="between two draws"),
        Line2D([], [], color="0.4", marker="D", markerfacecolor="white", linestyle="none", markersize=6,
               label="paper, ResNet50 on ImageNet ± SD"),
    ]  # fmt: skip
    return with_legend(figure, handles, columns=2)


def _distances(axis: Axes, place: float, part: pd.DataFrame, look: dict[str, Any]) -> None:
    mean = interval(part["distance"])
    axis.plot([place - 0.15] * len(part), part["distance"], ".", color=look["color"], alpha=0.5)
    half = 0.0 if mean.high is None else mean.high - mean.mean
    axis.errorbar([place], [mean.mean], yerr=[half], capsize=4, markersize=7, linestyle="none", **look)
    if part["between"].notna().any():
        axis.plot([place - 0.22, place + 0.22], [part["between"].mean()] * 2, "--", color="0.4")


def _printed(axis: Axes, place: float, kind: str, paper: Paper) -> None:
    entry = {"same": "same_structure", "other": "different_structure"}.get(kind)
    if entry is None:
        return
    mean, spread = (paper.number(f"similar_structure.{entry}.{name}").value
                    for name in ("diff_mean", "diff_std"))  # fmt: skip
    axis.errorbar([place], [mean], yerr=[spread], color="0.4", marker="D", markerfacecolor="white",
                  capsize=3, markersize=6)  # fmt: skip


def _ratios(table: pd.DataFrame) -> list[float]:
    return sorted(table["ratio"].unique())


def _panels(table: pd.DataFrame, width: float) -> tuple[Figure, list[Axes]]:
    """One panel a ratio, at least one."""
    number = max(len(_ratios(table)), 1)
    figure, axes = plt.subplots(1, number, figsize=(width * number, 3.9), squeeze=False)
    return figure, list(axes[0])


def _handles(runs: pd.DataFrame) -> list[Line2D]:
    return [
        Line2D([], [], linestyle="none", label=KIND_NAMES[kind], **look)
        for kind, look in _LOOKS.items()
        if kind in set(runs["kind"])
    ]
