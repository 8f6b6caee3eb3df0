"""The book's one style: colours mean the same thing on every page, with and without colour vision."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from pat.study.analysis.intervals import interval

FONTS = ["Source Sans 3", "Segoe UI", "Helvetica Neue", "Noto Sans", "Arial", "DejaVu Sans"]
PALETTE = sns.color_palette("colorblind")
CRITERION_COLOURS = {"magnitude": PALETTE[1], "gradient": PALETTE[0]}
DENSE_COLOUR = "0.35"
POLICY_COLOURS = {
    "oracle": "0.1",
    "random": PALETTE[7],
    "init": PALETTE[3],
    "predefined": PALETTE[4],
    "epi": PALETTE[2],
    "tuned": PALETTE[9],
    "latency": PALETTE[5],
}
POLICY_MARKERS = dict(zip(POLICY_COLOURS, "*Xsv^oP", strict=True))
MASK_COLOURS = {"same": "#44aa99", "other": "#aa4499"}
RIVAL_COLOUR = "#882255"
MEASURE_COLOURS = dict(
    zip(
        ("EPI", "Spearman", "Kendall", "mask Hamming", "mask Jaccard"),
        (PALETTE[2], PALETTE[3], PALETTE[4], PALETTE[5], PALETTE[7]),
        strict=True,
    )
)


def style() -> None:
    """Set the book's style; call once at a notebook's start."""
    sns.set_theme(
        context="notebook",
        style="whitegrid",
        rc={
            "figure.dpi": 110,
            "savefig.bbox": "tight",
            # Text as text, in the page's fonts (book.css); it is laid out with the first that is installed.
            "svg.fonttype": "none",
            "font.sans-serif": FONTS,
            "svg.hashsalt": "pat",  # ids that are the same each time
            "axes.spines.top": False,
            "axes.spines.right": False,
            "legend.frameon": False,
            "axes.titlesize": "medium",
        },
    )


def ratio_colours(ratios: list[float]) -> dict[float, Any]:
    """A colour per pruning ratio, the same in every figure, darker for higher ones."""
    shades = sns.color_palette("viridis_r", as_cmap=True)
    return {ratio: shades(0.12 + 0.88 * ratio)[:3] for ratio in sorted(ratios)}


def with_legend(figure: Figure, handles: Sequence[Artist], columns: int = 4) -> Figure:
    """:func:`finished`, with one legend below all panels."""
    done = finished(figure)
    done.legend(
        handles=list(handles), loc="upper center", bbox_to_anchor=(0.5, 0), ncols=columns, fontsize="small"
    )
    return done


def spread(values: pd.Series) -> tuple[float, float]:
    """95 % interval of the mean, for seaborn's ``errorbar``; no height for a single value."""
    found = interval(values.dropna())
    return (found.mean, found.mean) if found.low is None or found.high is None else (found.low, found.high)


def captioned(table: pd.DataFrame | Styler, caption: str, *, index: bool = True) -> Styler:
    """A table as the book sets all of them.

    Args:
        table: with its formats, if its numbers need some.
        caption: what its columns are.
        index: whether the index is shown.
    """
    styled = table if isinstance(table, Styler) else table.style
    styled = styled.set_table_attributes('class="dataframe table"').set_caption(caption)
    return styled if index else styled.hide(axis="index")


def finished(figure: Figure) -> Figure:
    """Lay out and close a figure, so that a notebook shows what a cell returns and shows it once."""
    figure.tight_layout()
    plt.close(figure)
    return figure
