"""Accuracy against the pruning epoch on several schedules, each as shares of its own length."""

from collections.abc import Sequence
from typing import Any, Literal

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pat.study.analysis.runs import summary
from pat.study.experiments.short_schedule.schedules import Schedule
from pat.study.store.rows import runs_table
from pat.study.style import CRITERION_COLOURS, PALETTE, POLICY_MARKERS, with_legend

_COLOURS = (PALETTE[3], PALETTE[0])
_LINES: tuple[Literal["--", "-"], ...] = ("--", "-")


def accuracy_by_share(schedules: Sequence[Schedule], ratio: float = 0.5) -> Figure:
    """Test accuracy of the first network against the pruning epoch in percent of the schedule.

    Args:
        schedules: the short one first.
        ratio: what is pruned.

    Returns:
        A panel a criterion. Means over seeds with 95 % intervals; dotted, where EPI can first prune; marks,
        where it did, mean over the seeds.
    """
    criteria = [c for c in CRITERION_COLOURS if any(len(_runs(s, c, ratio)) for s in schedules)]
    figure, axes = plt.subplots(
        1, max(len(criteria), 1), figsize=(4.6 * max(len(criteria), 1), 3.9), sharey=True, squeeze=False
    )
    for axis, criterion in zip(axes[0], criteria, strict=False):
        for schedule, colour, line in zip(schedules, _COLOURS, _LINES, strict=False):
            _curve(axis, _runs(schedule, criterion, ratio), schedule, colour, line)
            _picks(axis, schedule, criterion, ratio, colour)
        axis.set(title=f"{criterion} criterion", xlabel="pruned after (% of the schedule)", xlim=(-3, 103))
    low, high = axes[0, 0].get_ylim()
    axes[0, 0].set(ylabel="test accuracy (%)", ylim=(max(low, 0), min(high, 100)))
    handles = [
        Line2D([], [], color=colour, linestyle=line, marker="o", markersize=4, label=schedule.label)
        for schedule, colour, line in zip(schedules, _COLOURS, _LINES, strict=False)
    ]
    handles.append(Line2D([], [], color="0.4", linestyle=":", label="EPI can first prune"))
    handles.append(
        Line2D(
            [],
            [],
            color="0.4",
            marker=POLICY_MARKERS["epi"],
            markersize=8,
            linestyle="none",
            label="EPI prunes",
        )
    )
    return with_legend(figure, handles)


def _runs(schedule: Schedule, criterion: str, ratio: float) -> pd.DataFrame:
    """The oracle sweep's runs of the first network, with the ``share`` of the schedule before pruning."""
    table = runs_table(schedule.records)
    blocks = [
        block
        for block in schedule.profile.sweeps[schedule.grid]
        if block.criterion == criterion and ratio in block.ratios
    ]
    epochs = {epoch for block in blocks for epoch in block.epochs}
    own = table[
        (table["architecture"] == schedule.profile.architectures[0])
        & (table["criterion"] == criterion)
        & (table["ratio"] == ratio)
        & (table["policy"] == "epoch")
        & table["prune_epoch"].isin(epochs)
    ]
    return own.assign(share=100 * own["prune_epoch"] / schedule.epochs)


def _curve(axis: Axes, runs: pd.DataFrame, schedule: Schedule, colour: Any, line: Literal["--", "-"]) -> None:
    means = summary(runs, ["share"])
    errors = [(means["mean"] - means["low"]).to_numpy(), (means["high"] - means["mean"]).to_numpy()]
    axis.errorbar(
        means["share"], means["mean"], yerr=errors, color=colour, linestyle=line, marker="o", markersize=3,
        capsize=2,
    )  # fmt: skip
    axis.axvline(schedule.first, color=colour, linestyle=":", linewidth=1.5, zorder=0)


def _picks(axis: Axes, schedule: Schedule, criterion: str, ratio: float, colour: Any) -> None:
    """Where EPI pruned, and with what accuracy: means over the seeds in which it did."""
    table = schedule.table
    own = table[
        (table["architecture"] == schedule.profile.architectures[0])
        & (table["criterion"] == criterion)
        & (table["ratio"] == ratio)
        & (table["policy"] == "epi")
    ]
    fired = own[own["triggered"].astype(bool)].dropna(subset=["accuracy"])
    if len(fired):
        axis.plot(
            fired["share"].mean(), fired["accuracy"].mean(), POLICY_MARKERS["epi"], color=colour,
            markersize=10, markeredgecolor="white", zorder=4,
        )  # fmt: skip
