"""Early-Bird (You et al. 2020): draw the ticket when no mask of the last epochs has moved far."""

from collections.abc import Sequence
from dataclasses import dataclass

from pat.policy import POLICIES
from pat.rivals.triggers.masks import MaskRule


@POLICIES.register
@dataclass(frozen=True)
class EarlyBird(MaskRule):
    """The largest of the last five mask distances is at most 0.1.

    The distance is Hamming's as a share of the channels (:func:`pat.stability.mask_distance`). Here it is
    that of successive epochs, as the paper describes its queue of five; the authors' program compares the
    newest of five masks with each of the four before it, and then a slow drift counts as well. There the mask
    is that of the BatchNorm's factors under an L1 penalty; here it is that of the run's own criterion,
    without penalty.

    Args:
        threshold: the largest distance that is close enough.
        window: how many distances have to be.
        apart: epochs between two masks.
        fallback: the epoch to prune in if that does not happen before.

    Raises:
        ValueError: for a setting out of range.
    """

    kind = "early_bird"
    title = "Early-Bird"
    source = "You et al. 2020 (ICLR)"
    measure = "hamming"
    rises = False

    threshold: float = 0.1
    window: int = 5

    def together(self, compared: Sequence[float]) -> float:
        return max(compared)
