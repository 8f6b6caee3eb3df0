"""The network's structure over the epochs, with what EPI makes of it."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pat.study.experiments.stability.settling import Settling
from pat.study.style import DENSE_COLOUR, MEASURE_COLOURS, PALETTE, finished

_TRIGGER_COLOUR = PALETTE[3]  # seen on dark and bright cells


def settling_maps(runs: Sequence[Settling], title: str) -> Figure:
    """Channels per layer over the epochs as heat maps, above EPI's curve on the same epochs.

    Args:
        runs: one a column, of one network and criterion; of
            :func:`pat.study.experiments.stability.settling.settling_of`.
        title: the figure's.

    Returns:
        Colour is the share of the most channels that the layer has in that panel, so that a layer that comes
        and goes is as visible as Psi takes it. A vertical line is the epoch in which EPI would prune.

    Raises:
        ValueError: without a run, or if layers or thresholds differ.
    """
    if not runs:
        raise ValueError("a map needs at least one run, got none")
    layers = list(runs[0].structure.columns)
    if any(list(run.structure.columns) != layers or run.threshold != runs[0].threshold for run in runs):
        raise ValueError(f"expected runs of the same {len(layers)} layers and one threshold")
    size = (1.9 + 1.5 * len(runs), 2.9 + 0.22 * len(layers))
    ratios = {"width_ratios": [1.0] * len(runs) + [0.06], "height_ratios": [0.22 * len(layers), 1.5]}
    figure, axes = plt.subplots(2, len(runs) + 1, figsize=size, gridspec_kw=ratios, squeeze=False)
    for column, run in enumerate(runs):
        above, below = axes[:, column]
        share = run.structure / run.structure.max().clip(lower=1)
        mesh = above.pcolormesh(
            share.index, range(len(layers)), share.T, cmap="cividis", vmin=0, vmax=1, shading="nearest"
        )
        names = layers if column == 0 else [""] * len(layers)
        above.set_yticks(range(len(layers)), names, fontsize="x-small")
        above.invert_yaxis()
        above.set_title(f"{100 * run.ratio:g} % pruned")
        below.plot(run.epi.index, run.epi, color=MEASURE_COLOURS["EPI"], marker=".", markersize=4)
        below.axhline(run.threshold, color=DENSE_COLOUR, linestyle="--", linewidth=1.2)
        when = "silent" if run.epoch is None else f"prunes in {run.epoch}"
        below.set(xlabel=f"epoch\n{when}", ylabel="EPI" if column == 0 else "")
        for axis in (above, below):
            axis.grid(axis is below)
            if run.epoch is not None:
                axis.axvline(run.epoch, color=_TRIGGER_COLOUR, linewidth=1.5)
            axis.set_xlim(share.index[0] - 0.5, share.index[-1] + 0.5)
            axis.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        above.tick_params(labelbottom=False)
    lowest = min(run.epi.min() for run in runs)
    for column, axis in enumerate(axes[1, :-1]):
        axis.set_ylim(lowest - 0.03, 1.03)
        axis.tick_params(labelleft=column == 0)
    figure.colorbar(mesh, cax=axes[0, -1], label="channels (1: the layer's most)")
    axes[1, -1].axis("off")
    axes[1, -1].set_ylim(axes[1, 0].get_ylim())
    axes[1, -1].text(0, runs[-1].threshold, f"τ = {runs[-1].threshold:g}", va="center", color=DENSE_COLOUR)
    figure.suptitle(title, fontsize="medium")
    return finished(figure)
