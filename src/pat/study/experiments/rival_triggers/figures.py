"""The rules side by side: when they prune, what that loses, and what the training costs then."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, StrMethodFormatter

from pat.study.analysis.intervals import interval
from pat.study.analysis.regret import by_seed
from pat.study.experiments.rival_triggers.decisions import ORACLE
from pat.study.experiments.rival_triggers.summaries import labelled, mostly_silent
from pat.study.style import POLICY_COLOURS, with_legend

_KINDS = {
    "published": ("o", POLICY_COLOURS["epi"]),
    "tuned": ("D", POLICY_COLOURS["tuned"]),
    "": ("s", "0.35"),
}
_NAMES = {"published": "published threshold", "tuned": "tuned threshold", "": "no threshold"}
_SHIFT = {"published": -0.17, "tuned": 0.17, "": 0.0}
_PANELS = {"epoch": "pruning epoch", "regret": "regret (points)", "training": "training, % of dense"}
_TICKS = (-20, -5, -2, -1, 0, 1, 2, 5, 10, 20, 50, 100)


def rules_side_by_side(table: pd.DataFrame, architecture: str, criterion: str) -> Figure:
    """Pruning epoch, regret and cost of the training of each rule, a row a rule.

    Args:
        table: of :func:`pat.study.experiments.rival_triggers.decisions.rival_decisions`.
        architecture, criterion: whose runs to draw.

    Returns:
        Means over the ratios, then over the seeds with their 95 % interval; every seed as a dot. Open marks:
        silent in more than half of the runs, so that the row is the pre-defined epoch's. Dotted: the
        oracle's mean epoch. The regret's axis is linear up to two points and logarithmic beyond.
    """
    own = labelled(table[(table["architecture"] == architecture) & (table["criterion"] == criterion)])
    rules = list(dict.fromkeys(own["rule"]))
    size = (10.4, 0.42 * max(len(rules), 4) + 1.6)
    figure, axes = plt.subplots(1, len(_PANELS), figsize=size, sharey=True, width_ratios=(1, 1.5, 1))
    for axis, (value, name) in zip(axes, _PANELS.items(), strict=True):
        for place, rule in enumerate(rules):
            for kind, runs in own[own["rule"] == rule].groupby("thresholds"):
                alone = own.loc[own["rule"] == rule, "thresholds"].nunique() == 1
                _row(axis, place + (0.0 if alone else _SHIFT[str(kind)]), runs, str(kind), value)
        axis.set_xlabel(name)
        axis.grid(False, axis="y")
        axis.grid(True, axis="x")
        axis.margins(x=0.08)
    _oracle(axes[0], own)
    axes[1].axvline(0, color=POLICY_COLOURS["oracle"], linewidth=1)
    axes[1].set_xscale("symlog", linthresh=2, linscale=1)
    axes[1].xaxis.set_major_locator(FixedLocator(_TICKS))
    axes[1].xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes[1].minorticks_off()
    axes[1].tick_params(axis="x", labelsize="small")
    axes[0].set_yticks(range(len(rules)), rules)
    axes[0].set_ylim(max(len(rules), 1) - 0.5, -0.5)
    figure.suptitle(f"{architecture}, {criterion} criterion", fontsize="medium")
    return with_legend(figure, _handles(sorted(set(own["thresholds"]), key=list(_KINDS).index)))


def _row(axis: Axes, height: float, runs: pd.DataFrame, kind: str, value: str) -> None:
    """A rule's mean with its interval, and its seeds."""
    seeds = by_seed(runs, value)[value]
    if seeds.empty:
        return
    marker, colour = _KINDS[kind]
    found = interval(seeds)
    half = 0.0 if found.high is None else found.high - found.mean
    axis.plot(
        seeds, [height] * len(seeds), ".", color=colour, alpha=0.5, markersize=6, markeredgewidth=0, zorder=4
    )
    axis.errorbar(
        found.mean,
        height,
        xerr=half,
        color=colour,
        marker=marker,
        markersize=6,
        markerfacecolor="white" if mostly_silent(runs) else colour,
        capsize=2,
        zorder=3,
    )


def _oracle(axis: Axes, own: pd.DataFrame) -> None:
    best = own.loc[own["rule"] == ORACLE, "epoch"]
    if len(best):
        axis.axvline(best.mean(), color=POLICY_COLOURS["oracle"], linestyle=":", linewidth=1, zorder=0)


def _handles(kinds: Sequence[str]) -> list[Line2D]:
    common: dict[str, Any] = {"linestyle": "none", "markersize": 6}
    handles = [
        Line2D([], [], marker=_KINDS[kind][0], color=_KINDS[kind][1], label=_NAMES[kind], **common)
        for kind in kinds
    ]
    silent = Line2D(
        [], [], marker="o", color="0.35", markerfacecolor="white", label="silent in most runs", **common
    )
    return [*handles, silent]
