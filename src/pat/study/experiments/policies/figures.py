"""When policies prune, and what they lose."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FixedLocator, MaxNLocator, StrMethodFormatter

from pat.study.analysis.regret import POLICIES, by_seed
from pat.study.analysis.runs import summary
from pat.study.experiments.policies.tables import POLICY_NAMES
from pat.study.style import (
    CRITERION_COLOURS,
    DENSE_COLOUR,
    POLICY_COLOURS,
    POLICY_MARKERS,
    finished,
    with_legend,
)

_LINEAR = 2  # points; effects under the claims' bound are drawn to scale
_TICKS = (-5, -2, -1, 0, 1, 2, 5, 10, 20, 50, 100)


def regret_by_policy(table: pd.DataFrame, printed: pd.DataFrame) -> Figure:
    """Regret of every policy by network, one panel a criterion (the paper's Table 1).

    Args:
        table: of :func:`pat.study.analysis.regret.regrets`.
        printed: of :func:`pat.study.experiments.policies.tables.paper_regrets`; drawn as open diamonds.

    Returns:
        Means over seeds with 95 % intervals, every seed as a dot. The axis is linear up to two points and
        logarithmic beyond.
    """
    seeds = by_seed(table)
    shown = [policy for policy in POLICIES if policy != "oracle"]
    figure, axes = _panels(_criteria(table), height=4.4, width=4.8, sharey=True)
    for axis, criterion in zip(axes, _criteria(table), strict=True):
        own = seeds[seeds["criterion"] == criterion]
        networks = [name for name in table["architecture"].unique() if name in set(own["architecture"])]
        for column, network in enumerate(networks):
            for number, policy in enumerate(shown):
                place = column + (number - (len(shown) - 1) / 2) * 0.15
                at = (own["architecture"] == network) & (own["policy"] == policy)
                _mean_and_seeds(axis, place, own[at], policy)
                theirs = printed[
                    (printed["architecture"] == network)
                    & (printed["criterion"] == criterion)
                    & (printed["policy"] == policy)
                ]
                axis.plot(
                    [place] * len(theirs),
                    theirs["text"].astype(float),
                    "D",
                    markerfacecolor="white",
                    markeredgecolor=POLICY_COLOURS[policy],
                    markersize=5,
                    zorder=4,
                )
        axis.axhline(0, color=POLICY_COLOURS["oracle"], linewidth=1)
        axis.set_yscale("symlog", linthresh=_LINEAR, linscale=1.5)
        axis.yaxis.set_major_locator(FixedLocator(_TICKS))
        axis.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.minorticks_off()
        axis.set_xticks(range(len(networks)), [name.replace("-", "-\n", 1) for name in networks])
        axis.set(title=f"{criterion} criterion", xlim=(-0.55, len(networks) - 0.45))
        axis.grid(False, axis="x")
    axes[0].set_ylabel("regret (points)")
    handles = [_handle(policy) for policy in shown]
    handles.append(Line2D([], [], color="0.4", marker="D", markerfacecolor="white", linestyle="none",
                          markersize=5, label="paper, ImageNet"))  # fmt: skip
    return with_legend(figure, handles)


def moments(runs: pd.DataFrame, table: pd.DataFrame, architecture: str, ratio: float = 0.5) -> Figure:
    """Accuracy against the pruning epoch, and the epochs that oracle, EPI and a third of the schedule choose.

    Args:
        runs: of :func:`pat.study.store.rows.runs_table`, the oracle sweep's.
        table: of :func:`pat.study.analysis.regret.regrets`.
        architecture, ratio: whose runs to draw.

    Returns:
        A panel a criterion: means over seeds with 95 % intervals, the dense runs' mean as a dashed line.
        Below it the chosen epochs, the larger a mark the more seeds; open where EPI stays silent and the run
        counts at the third.
    """
    own = runs[runs["architecture"] == architecture]
    picked = table[(table["architecture"] == architecture) & (table["ratio"] == ratio)]
    criteria = [name for name in _criteria(table) if name in set(picked["criterion"])]
    dense = own[own["policy"] == "dense"]["test_accuracy"].mean()
    columns = max(len(criteria), 1)
    figure, grid = plt.subplots(
        2, columns, figsize=(4.4 * columns, 4.3), sharex="col", squeeze=False, height_ratios=[3, 1]
    )
    for (above, below), criterion in zip(grid.T, criteria, strict=False):
        cell = own[(own["criterion"] == criterion) & (own["ratio"] == ratio) & (own["policy"] == "epoch")]
        means = summary(cell, ["prune_epoch"])
        half = (means["high"] - means["mean"]).fillna(0)
        above.errorbar(
            means["prune_epoch"], means["mean"], yerr=half, color=CRITERION_COLOURS[criterion], marker=".",
            capsize=2, linewidth=1.2,
        )  # fmt: skip
        above.axhline(dense, color=DENSE_COLOUR, linestyle="--", linewidth=1)
        above.set(title=f"{criterion} criterion")
        for row, policy in enumerate(_MOMENTS):
            _chosen(below, row, picked[(picked["criterion"] == criterion) & (picked["policy"] == policy)])
        below.set(xlabel="pruning epoch", ylim=(len(_MOMENTS) - 0.4, -0.6))
        below.set_yticks(range(len(_MOMENTS)), _MOMENTS.values() if below is grid[1, 0] else [])
        below.grid(False, axis="y")
    grid[0, 0].set_ylabel("test accuracy (%)")
    handle = Line2D([], [], color=DENSE_COLOUR, linestyle="--", linewidth=1, label="dense")
    return with_legend(figure, [handle])


_MOMENTS = {"oracle": "oracle", "epi": "EPI", "predefined": "a third"}


def _chosen(axis: Axes, row: int, runs: pd.DataFrame) -> None:
    for (epoch, policy, silent), seeds in runs.groupby(["epoch", "policy", runs["triggered"] == False]):  # noqa: E712
        colour = POLICY_COLOURS[str(policy)]
        axis.plot(
            float(str(epoch)), row, POLICY_MARKERS[str(policy)], color=colour, alpha=0.9,
            markerfacecolor="none" if silent else colour, markersize=4 + 0.6 * min(len(seeds), 12),
        )  # fmt: skip


def picked_epochs(table: pd.DataFrame, architecture: str) -> Figure:
    """The epochs that oracle and EPI pick, one mark a seed, by ratio, one panel a criterion.

    Args:
        table: of :func:`pat.study.analysis.regret.regrets`.
        architecture: whose picks to draw.

    Returns:
        Open marks, on top, are runs in which EPI stayed silent; they count at the pre-defined epoch, a dashed
        line.
    """
    shown = ("oracle", "epi", "tuned")
    own = table[(table["architecture"] == architecture) & table["policy"].isin([*shown, "predefined"])]
    ratios = sorted(own["ratio"].unique())
    step = 0.22 / max(own["seed"].nunique() - 1, 4)  # of 1 between ratios, which three ways share
    figure, axes = _panels(_criteria(own), height=0.75 * len(ratios) + 2, width=4.6, sharey=True)
    for axis, criterion in zip(axes, _criteria(own), strict=True):
        part = own[own["criterion"] == criterion]
        for number, policy in enumerate(shown):
            picks = part[part["policy"] == policy]
            at = picks.groupby(["ratio", "epoch"])["seed"]
            places = at.cumcount() - (at.transform("size") - 1) / 2  # so that no seed hides another
            for silent in (False, True):
                chosen = picks[(picks["triggered"] == False) == silent]  # noqa: E712 - None is neither
                height = [ratios.index(ratio) + 0.3 * (number - 1) for ratio in chosen["ratio"]]
                axis.plot(
                    chosen["epoch"],
                    np.asarray(height) + step * places[chosen.index].to_numpy(),
                    POLICY_MARKERS[policy],
                    color=POLICY_COLOURS[policy],
                    markeredgecolor=POLICY_COLOURS[policy],
                    markerfacecolor="white" if silent else POLICY_COLOURS[policy],
                    markeredgewidth=1.2 if silent else 0,
                    markersize=5,
                    alpha=1 if silent else 0.8,
                    zorder=4 if silent else 3,
                )
        for epoch in part.loc[part["policy"] == "predefined", "epoch"].unique():
            axis.axvline(epoch, color=POLICY_COLOURS["predefined"], linestyle="--", linewidth=1, zorder=0)
        axis.set_yticks(range(len(ratios)), [f"{100 * ratio:g} %" for ratio in ratios])
        axis.set(title=f"{criterion} criterion", xlabel="pruning epoch", xlim=(-1, None))
    axes[0].set_ylabel("ratio")
    figure.suptitle(architecture)
    predefined = Line2D([], [], color=POLICY_COLOURS["predefined"], linestyle="--",
                        label=POLICY_NAMES["predefined"])  # fmt: skip
    silent_ones = Line2D([], [], color="0.4", marker="^", markerfacecolor="white", markeredgewidth=1.2,
                         linestyle="none", markersize=5, label="EPI stayed silent")  # fmt: skip
    return with_legend(figure, [*(_handle(policy) for policy in shown), silent_ones, predefined])


def threshold_curves(curve: pd.DataFrame, paper: Mapping[str, float], tuned: Mapping[str, float]) -> Figure:
    """Regret, and the share of runs that EPI prunes, against the threshold; one column a criterion.

    Args:
        curve: of :func:`pat.study.experiments.policies.sensitivity.threshold_curve`.
        paper, tuned: thresholds by criterion, drawn as vertical lines.

    Returns:
        Means over seeds as steps, one line style a network, with 95 % intervals of the regret.
    """
    criteria = _criteria(curve)
    figure, grid = plt.subplots(
        2, max(len(criteria), 1), figsize=(4.6 * max(len(criteria), 1), 5.6), squeeze=False, sharex="col",
        sharey="row", height_ratios=(2, 1),
    )  # fmt: skip
    networks = list(curve["architecture"].unique())
    styles = dict(zip(networks, ("-", "--", ":"), strict=False))
    for (upper, lower), criterion in zip(grid.T, criteria, strict=True):
        own, colour = curve[curve["criterion"] == criterion], CRITERION_COLOURS[criterion]
        lowest = min(float(own["threshold"].min()), paper[criterion]) - 0.01
        for network, part in own.groupby("architecture", sort=False):
            regret = _from(lowest, summary(part, ["threshold"], "regret"))
            line = {"color": colour, "linestyle": styles[str(network)], "drawstyle": "steps-pre"}
            upper.plot(regret["threshold"], regret["mean"], **line)
            upper.fill_between(
                regret["threshold"], regret["low"], regret["high"], step="pre", color=colour, alpha=0.12,
                linewidth=0,
            )  # fmt: skip
            share = _from(lowest, part.groupby("threshold")["triggered"].mean().reset_index())
            lower.plot(share["threshold"], 100 * share["triggered"], **line)
        for axis in (upper, lower):
            for policy, tau in (("epi", paper), ("tuned", tuned)):
                if criterion in tau:
                    axis.axvline(tau[criterion], color=POLICY_COLOURS[policy], linewidth=1.5, zorder=0)
        upper.set(title=f"{criterion} criterion", xlim=(lowest, 1))
        upper.xaxis.set_major_locator(MaxNLocator(5))
        lower.set(xlabel="threshold τ", ylim=(-5, 105))
    grid[0, 0].set_ylabel("regret (points)")
    grid[1, 0].set_ylabel("EPI triggered\n(% of runs)")
    handles = [Line2D([], [], color="0.3", linestyle=styles[name], label=name) for name in networks[:3]]
    handles += [
        Line2D([], [], color=POLICY_COLOURS[p], linewidth=1.5, label=POLICY_NAMES[p])
        for p in ("epi", "tuned")
    ]
    return with_legend(figure, handles)


def window_maps(table: pd.DataFrame, used: tuple[int, int]) -> Figure:
    """Regret over look-back and patience, one panel a criterion.

    Args:
        table: of :func:`pat.study.experiments.policies.sensitivity.window_table`.
        used: the study's look-back and patience, framed.

    Returns:
        Colour and first number: mean regret in points; second: share of the runs in which EPI triggered.
    """
    criteria = _criteria(table)
    figure, axes = _panels(criteria, height=3.9, width=4.9, sharey=True)
    means = table.groupby(["criterion", "look_back", "patience"])[["regret", "triggered"]].mean()
    halo = [withStroke(linewidth=5, foreground="white")]
    highest = max(float(means["regret"].max()), 1.0) if len(means) else 1.0
    for axis, criterion in zip(axes, criteria, strict=True):
        own = means.xs(criterion, level="criterion")
        regret, fired = own["regret"].unstack(), own["triggered"].unstack()
        texts = [
            [f"{a:.1f}\n{100 * b:.0f} %" for a, b in zip(*rows, strict=True)]
            for rows in zip(regret.to_numpy(), fired.to_numpy(), strict=True)
        ]
        sns.heatmap(regret, ax=axis, cmap="cividis_r", vmin=0, vmax=highest, annot=texts, fmt="",
                    annot_kws={"fontsize": "x-small"},
                    cbar=criterion == criteria[-1], cbar_kws={"label": "regret (points)"})  # fmt: skip
        if used[0] in regret.index and used[1] in regret.columns:
            corner = (list(regret.columns).index(used[1]), list(regret.index).index(used[0]))
            axis.add_patch(
                Rectangle(corner, 1, 1, fill=False, edgecolor="black", linewidth=2, path_effects=halo)
            )
        axis.set(title=f"{criterion} criterion", xlabel="patience", ylabel="look-back r")
        axis.tick_params(rotation=0)
    return finished(figure)


def _from(lowest: float, steps: pd.DataFrame) -> pd.DataFrame:
    """Steps with a row before the first: below the lowest threshold that changes a pick all is as at it."""
    return pd.concat([steps.head(1).assign(threshold=lowest), steps], ignore_index=True)


def _criteria(table: pd.DataFrame) -> list[str]:
    return [criterion for criterion in CRITERION_COLOURS if criterion in set(table["criterion"])]


def _panels(
    criteria: Sequence[str], *, height: float, width: float, sharey: bool
) -> tuple[Figure, list[Axes]]:
    """One panel a criterion, at least one."""
    number = max(len(criteria), 1)
    figure, axes = plt.subplots(1, number, figsize=(width * number, height), sharey=sharey, squeeze=False)
    return figure, list(axes[0])[: len(criteria)] or list(axes[0])


def _mean_and_seeds(axis: Axes, place: float, seeds: pd.DataFrame, policy: str) -> None:
    if seeds.empty:
        return
    mean = summary(seeds, ["policy"], "regret").iloc[0]
    colour = POLICY_COLOURS[policy]
    axis.plot([place] * len(seeds), seeds["regret"], ".", color=colour, alpha=0.45, markersize=5)
    axis.errorbar(
        [place],
        [mean["mean"]],
        yerr=[[mean["mean"] - mean["low"]], [mean["high"] - mean["mean"]]],
        color=colour,
        marker=POLICY_MARKERS[policy],
        markersize=6,
        capsize=3,
        zorder=3,
    )


def _handle(policy: str) -> Line2D:
    return Line2D([], [], color=POLICY_COLOURS[policy], marker=POLICY_MARKERS[policy], linestyle="none",
                  markersize=6, label=POLICY_NAMES[policy])  # fmt: skip
