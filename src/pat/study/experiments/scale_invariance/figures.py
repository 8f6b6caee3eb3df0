"""Gradient scores along a network, by what stands behind each BatchNorm."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pat.study.experiments.scale_invariance.scores import BEFORE_DEPTHWISE, OTHER
from pat.study.style import CRITERION_COLOURS, DENSE_COLOUR, with_legend

_LOOKS = {BEFORE_DEPTHWISE: (CRITERION_COLOURS["gradient"], "v"), OTHER: (DENSE_COLOUR, "o")}


def scores_along_networks(scores: pd.DataFrame) -> Figure:
    """A panel per network: each BatchNorm's mean score, logarithmic, in the order of the forward pass.

    Args:
        scores: of :func:`~pat.study.experiments.scale_invariance.scores.layer_scores`.
    """
    names = list(dict.fromkeys(scores["network"]))
    figure, axes = plt.subplots(1, len(names), figsize=(3.2 * len(names), 3.1), sharey=True, squeeze=False)
    for axis, name in zip(axes[0], names, strict=True):
        own = scores[scores["network"] == name].reset_index(drop=True)
        for place, (colour, marker) in _LOOKS.items():
            of_place = own[own["place"] == place]
            axis.plot(of_place.index, of_place["score"], marker, color=colour, markersize=5, label=place)
        axis.set(title=name, xlabel="BatchNorm, from the image on", yscale="log")
        axis.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes[0, 0].set_ylabel("mean |γ·∂L/∂γ + β·∂L/∂β|")
    handles, _ = axes[0, 0].get_legend_handles_labels()
    return with_legend(figure, handles, columns=2)
