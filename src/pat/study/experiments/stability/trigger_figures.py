"""When each measure of stability would prune, against the plateau of the oracle sweep."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator

from pat.study.analysis.intervals import interval
from pat.study.style import CRITERION_COLOURS, DENSE_COLOUR, MEASURE_COLOURS, with_legend

_MARKERS = dict(zip(MEASURE_COLOURS, "os^vD", strict=True))
_WIDTH = 0.8  # of a ratio's place on the axis


def trigger_epochs_by_ratio(
    table: pd.DataFrame, plateaus: pd.DataFrame, architecture: str, epochs: int
) -> Figure:
    """When each measure would prune, against the ratio; one panel a criterion and kind of threshold.

    Args:
        table: of :func:`pat.study.experiments.stability.triggers.trigger_table`.
        plateaus: of :func:`pat.study.experiments.stability.plateau.plateaus`, shaded, with the best epoch as
            a line.
        architecture: whose runs to draw.
        epochs: of the schedule.

    Returns:
        Every seed as a small mark, those without a trigger in the row "silent" at the top; the mean over
        seeds with its 95 % interval where all of them have triggered.
    """
    own = table[(table["architecture"] == architecture) & table["measure"].isin(MEASURE_COLOURS)]
    criteria = [name for name in CRITERION_COLOURS if name in set(own["criterion"])]
    ratios = sorted(own["ratio"].unique())
    kinds = list(dict.fromkeys(own["thresholds"]))
    panels = [(criterion, kind) for criterion in criteria for kind in kinds]
    rows = max(1, len(panels))
    size = (6.6, 2.5 * rows)
    figure, axes = plt.subplots(rows, 1, figsize=size, sharex=True, sharey=True, squeeze=False)
    ticks = [tick for tick in MaxNLocator(5, integer=True).tick_values(0, epochs) if 0 <= tick < epochs - 1]
    for axis, (criterion, kind) in zip(axes[:, 0], panels, strict=False):
        flat = plateaus[(plateaus["architecture"] == architecture) & (plateaus["criterion"] == criterion)]
        _shade(axis, flat, ratios)
        part = own[(own["criterion"] == criterion) & (own["thresholds"] == kind)]
        measures = [name for name in MEASURE_COLOURS if name in set(part["measure"])]
        for number, measure in enumerate(measures):
            shift = _WIDTH * ((number + 0.5) / len(measures) - 0.5)
            _measure(axis, part[part["measure"] == measure], ratios, shift, epochs + 1)
        axis.axhline(epochs - 0.25, color=DENSE_COLOUR, linewidth=0.8)
        axis.set(title=f"{criterion} criterion, {kind} thresholds", ylabel="pruning epoch")
        axis.set_ylim(-1, epochs + 2.5)
        axis.set_yticks([*ticks, epochs + 1], [*(f"{tick:g}" for tick in ticks), "silent"])
        axis.grid(False, axis="x")
    axes[-1, 0].set_xticks(range(len(ratios)), [f"{100 * ratio:g} %" for ratio in ratios])
    axes[-1, 0].set_xlabel("pruning ratio")
    handles: list[Artist] = [
        Line2D([], [], color=colour, marker=_MARKERS[name], markersize=5, label=name)
        for name, colour in MEASURE_COLOURS.items()
    ]
    handles.append(Patch(color="0.88", label="plateau of the sweep"))
    handles.append(Line2D([], [], color="0.6", linewidth=1.2, label="its best epoch"))
    figure.suptitle(architecture, fontsize="medium")
    return with_legend(figure, handles, columns=3)


def _shade(axis: Axes, plateaus: pd.DataFrame, ratios: list[float]) -> None:
    for row in plateaus[plateaus["ratio"].isin(ratios)].to_dict("records"):
        left = ratios.index(row["ratio"]) - 0.5 * _WIDTH - 0.05
        low, high = row["first"] - 0.4, row["last"] + 0.4
        axis.add_patch(Rectangle((left, low), _WIDTH + 0.1, high - low, color="0.88", zorder=0, linewidth=0))
        axis.hlines(row["best"], left, left + _WIDTH + 0.1, color="0.6", linewidth=1.2, zorder=1)


def _measure(axis: Axes, runs: pd.DataFrame, ratios: list[float], shift: float, silent: float) -> None:
    """One measure: its seeds, and the mean where none of them is silent."""
    measure = runs["measure"].iloc[0]
    colour, marker = MEASURE_COLOURS[measure], _MARKERS[measure]
    means = []
    for place, ratio in enumerate(ratios):
        at = runs[runs["ratio"] == ratio]
        drawn = np.where(at["triggered"], at["epoch"], silent)
        x = place + shift + np.linspace(-0.05, 0.05, len(at))
        axis.plot(x, drawn, marker, color=colour, alpha=0.35, markersize=3, markeredgewidth=0)
        if len(at) and at["triggered"].all():
            found = interval(at["epoch"])
            half = 0.0 if found.high is None else found.high - found.mean
            means.append((place + shift, found.mean, half))
    if means:
        x, y, half = np.array(means).T
        axis.errorbar(
            x, y, yerr=half, color=colour, marker=marker, markersize=5, linestyle="none", linewidth=1.2
        )
