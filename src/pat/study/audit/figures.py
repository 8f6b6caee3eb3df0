"""The paper's printed numbers, drawn so that what does not fit can be seen."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from pat.study.audit import Span
from pat.study.style import DENSE_COLOUR, PALETTE, POLICY_COLOURS, POLICY_MARKERS, finished


def dense_costs(implied: Mapping[str, Span], measured: Mapping[str, float]) -> Figure:
    """The dense cost that each row of Table 2 implies, beside what the networks cost.

    Args:
        implied: by the row's label, in GFLOPs, with the ends that rounding allows.
        measured: by the network's name, in GFLOPs.
    """
    figure, axis = plt.subplots(figsize=(6.4, 0.42 * len(implied) + 1.5))
    for place, span in enumerate(implied.values()):
        errors = [[span.value - span.low], [span.high - span.value]]
        axis.errorbar(span.value, place, xerr=errors, fmt="o", color=PALETTE[0], capsize=4)
        axis.annotate(f"{span.value:.3f}", (span.value, place), (8, 5), textcoords="offset points",
                      fontsize="small")  # fmt: skip
    for name, cost in measured.items():
        axis.axvline(cost, color=DENSE_COLOUR, linestyle="--", linewidth=1)
        axis.annotate(f"{name}\n{cost:.3f}", (cost, 1), (0, 4), xycoords=("data", "axes fraction"),
                      textcoords="offset points", ha="center", fontsize="small",
                      color=DENSE_COLOUR)  # fmt: skip
    values = [*measured.values(), *(end for span in implied.values() for end in (span.low, span.high))]
    margin = 0.12 * (max(values) - min(values))
    axis.set(
        yticks=range(len(implied)),
        yticklabels=list(implied),
        ylim=(len(implied) - 0.5, -0.5),
        xlim=(min(values) - margin, max(values) + margin),
        xlabel="dense network's cost (GFLOPs)",
    )
    axis.grid(axis="y", visible=False)
    return finished(figure)


def policy_losses(losses: pd.DataFrame, names: Mapping[str, str]) -> Figure:
    """Table 1: points lost against the grid search by each policy, one panel a criterion.

    Args:
        losses: of :func:`pat.study.audit.policies.losses`.
        names: the policies' names for people, in the legend's order.
    """
    criteria = list(losses["criterion"].unique())
    networks = list(losses["network"].unique())
    figure, axes = plt.subplots(
        1, len(criteria), figsize=(4.2 * len(criteria), 3), sharex=True, sharey=True, squeeze=False
    )
    for axis, criterion in zip(axes[0], criteria, strict=True):
        part = losses[losses["criterion"] == criterion]
        for policy, label in names.items():
            own = part[part["policy"] == policy]
            axis.plot(
                own["loss"],
                own["network"].map(networks.index),
                POLICY_MARKERS[policy],
                color=POLICY_COLOURS[policy],
                markersize=7,
                alpha=0.85,
                label=label,
            )
        axis.set(title=f"{criterion} criterion", xscale="log", xlabel="points lost (log scale)")
        axis.set(yticks=range(len(networks)), yticklabels=networks, ylim=(len(networks) - 0.5, -0.5))
        ticks = [0.1, 0.2, 0.5, 1, 2, 5]
        axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.minorticks_off()
    axes[0, -1].legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small")
    return finished(figure)
