"""One training run as its reports tell it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pat.study.style import DENSE_COLOUR, POLICY_COLOURS, finished

if TYPE_CHECKING:
    from pat.pruner import EpochReport


def pruning_run(reports: Sequence["EpochReport"], threshold: float) -> Figure:
    """EPI over the epochs, and beside it the structure that it watches: channels that pruning would leave.

    Args:
        reports: of :class:`pat.pruner.PruningAwareTraining`, up to the pruning epoch or beyond.
        threshold: EPI's.
    """
    watched = [report for report in reports if report.counts is not None]
    defined = [(report.epoch, report.epi) for report in watched if report.epi is not None]
    pruned = [report.epoch for report in watched if report.status == "prune"]
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.4, 3.2))
    left.plot(*zip(*defined, strict=True) if defined else ((), ()), marker="o", markersize=4,
              color=POLICY_COLOURS["epi"])  # fmt: skip
    left.axhline(threshold, color=DENSE_COLOUR, linestyle="--", linewidth=1)
    left.annotate(f"τ = {threshold:g}", (0.02, threshold), xycoords=("axes fraction", "data"), va="bottom",
                  fontsize="small", color=DENSE_COLOUR)  # fmt: skip
    left.set(xlabel="epoch", ylabel="EPI")
    layers = list(watched[0].counts or {}) if watched else []
    colours = sns.color_palette("colorblind", len(layers))
    for place, (layer, colour) in enumerate(zip(layers, colours, strict=True)):
        counts = [(report.epoch, report.counts[layer]) for report in watched if report.counts]
        dashes = ("-", "--", ":", "-.")[place % 4]  # layers that share their channels lie on one line
        right.plot(*zip(*counts, strict=True), dashes, color=colour, linewidth=2, label=layer)
    right.set(xlabel="epoch", ylabel="channels left")
    right.set_ylim(bottom=0)
    for axis in (left, right):
        axis.set_xlim(-0.5, max((report.epoch for report in watched), default=0) + 0.5)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        for epoch in pruned:
            axis.axvline(epoch, color="0.1", linewidth=1)
            axis.annotate("pruned", (epoch, 1), (0, 3), xycoords=("data", "axes fraction"),
                          textcoords="offset points", ha="right", fontsize="small")  # fmt: skip
    if layers:
        right.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small", title="layer")
    return finished(figure)
