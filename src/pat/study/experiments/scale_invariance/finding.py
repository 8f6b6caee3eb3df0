"""What scale invariance does to the score, in a sentence."""

import pandas as pd

from pat.study import wording
from pat.study.experiments.scale_invariance.scores import BEFORE_DEPTHWISE, OTHER


def finding(scores: pd.DataFrame) -> str:
    """How much of the two terms is left, in front of a depthwise convolution and elsewhere.

    Args:
        scores: of :func:`~pat.study.experiments.scale_invariance.scores.layer_scores`.
    """
    shares = scores.groupby(["network", "place"], sort=False)["share"].median().unstack()
    cancelled = shares.get(BEFORE_DEPTHWISE, pd.Series(dtype=float)).dropna()
    told = [f"{_percent(share)} on `{name}`" for name, share in cancelled.items()]
    if not told:
        return wording.NOT_RUN
    elsewhere = shares[OTHER].dropna()
    return (
        "In front of a depthwise convolution the two terms of a BatchNorm's gradient score cancel, unless "
        f"its activation bends or its ε is large: of their size the sum leaves {wording.listed(told)}, "
        f"and elsewhere {_percent(elsewhere.min())} or more (medians over the layers)."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.995 else f"{100 * share:.0f} %"
