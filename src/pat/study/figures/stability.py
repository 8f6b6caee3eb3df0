"""Structures and the measures of their stability, over the epochs."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from pat.study.figures.style import CRITERION_COLOURS, DENSE_COLOUR, MEASURE_COLOURS, finished, ratio_colours


def epi_curves(table: pd.DataFrame, architecture: str, tau: Mapping[str, float]) -> Figure:
    """EPI over epochs for several ratios, one panel a criterion, with the threshold (the paper's Fig. 6)."""
    part = table[(table["architecture"] == architecture) & (table["measure"] == "EPI")].dropna()
    criteria = [c for c in CRITERION_COLOURS if c in set(part["criterion"])]
    colours = ratio_colours(sorted(part["ratio"].unique()))
    figure, axes = plt.subplots(
        1, len(criteria), figsize=(4.2 * len(criteria), 3.9), sharey=True, squeeze=False
    )
    for axis, criterion in zip(axes[0], criteria, strict=True):
        sns.lineplot(
            part[part["criterion"] == criterion],
            x="epoch",
            y="value",
            hue="ratio",
            palette=colours,
            errorbar=("sd", 1),
            ax=axis,
            legend="full" if criterion == criteria[-1] else False,
        )
        axis.axhline(tau[criterion], color=DENSE_COLOUR, linestyle="--", linewidth=1)
        axis.annotate(f"τ = {tau[criterion]:g}", (0.02, tau[criterion]), xycoords=("axes fraction", "data"),
                      va="bottom", fontsize="small", color=DENSE_COLOUR)  # fmt: skip
        axis.set(title=f"{criterion} criterion", xlabel="epoch", ylabel="EPI")
    legend = axes[0, -1].get_legend()
    if legend is not None:
        legend.set_title("ratio")
        sns.move_legend(axes[0, -1], "center left", bbox_to_anchor=(1, 0.5), fontsize="small")
    figure.suptitle(architecture)
    return finished(figure)


def measure_curves(table: pd.DataFrame, architecture: str, criterion: str, ratios: list[float]) -> Figure:
    """EPI beside rank correlations and mask measures on the same epochs, one panel a ratio.

    The Hamming distance is drawn as one minus itself, so that up means stable for all.
    """
    wanted = (table["architecture"] == architecture) & (table["criterion"] == criterion)
    part = table[wanted & table["ratio"].isin(ratios)].dropna(subset=["value"]).copy()
    flipped = part["measure"] == "mask Hamming"
    part.loc[flipped, "value"] = 1 - part.loc[flipped, "value"]
    names = {"mask Hamming": "1 - mask Hamming"}
    part["measure"] = part["measure"].replace(names)
    colours = {names.get(name, name): colour for name, colour in MEASURE_COLOURS.items()}
    figure, axes = plt.subplots(1, len(ratios), figsize=(3.6 * len(ratios), 3.4), sharey=True, squeeze=False)
    for axis, ratio in zip(axes[0], ratios, strict=True):
        last = ratio == ratios[-1]
        sns.lineplot(
            part[part["ratio"] == ratio],
            x="epoch",
            y="value",
            hue="measure",
            style="measure",
            palette=colours,
            errorbar=("sd", 1),
            ax=axis,
            legend="full" if last else False,
        )
        axis.set(title=f"{criterion}, {100 * ratio:g} %", xlabel="epoch", ylabel="stability")
    if axes[0, -1].get_legend() is not None:
        sns.move_legend(axes[0, -1], "center left", bbox_to_anchor=(1, 0.5), title="", fontsize="small")
    figure.suptitle(architecture)
    return finished(figure)


def structure_map(table: pd.DataFrame, title: str) -> Figure:
    """Channels per layer over the epochs as a heat map: one can see the structure settle.

    Args:
        table: of :func:`pat.study.analysis.structures`.
        title: the figure's.
    """
    figure, axis = plt.subplots(figsize=(7.2, 0.28 * table.shape[1] + 1.6))
    share = table.T / table.T.max(axis=1).clip(lower=1).to_numpy()[:, None]
    sns.heatmap(share, ax=axis, cmap="cividis", vmin=0, vmax=1, xticklabels=2,
                cbar_kws={"label": "channels, share of the layer's maximum"})  # fmt: skip
    axis.set(title=title, xlabel="epoch", ylabel="")
    axis.tick_params(axis="x", rotation=0)
    return finished(figure)
