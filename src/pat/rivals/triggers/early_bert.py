"""EarlyBERT (Chen et al. 2021): Early-Bird's mask distance, looked at once."""

from collections.abc import Sequence
from dataclasses import dataclass

from pat.policy import POLICIES
from pat.rivals.triggers.masks import MaskRule


@POLICIES.register
@dataclass(frozen=True)
class EarlyBERT(MaskRule):
    """The distance of two successive masks is at most a threshold.

    EarlyBERT carries the mask distance over to heads and hidden units of a transformer. What it publishes
    leaves the rule open: the distance shows that masks settle early, and the authors' program then draws
    after a fixed share of the first epoch (0.2 of it, of three epochs; as a policy that is
    :class:`~pat.rivals.triggers.share.ShareOfSchedule`). The threshold here is Early-Bird's, which it builds
    on, without the queue. Heads are ranked within a layer there; here all channels are ranked together.

    Args:
        threshold: the largest distance that is close enough.
        window: how many distances have to be.
        apart: epochs between two masks.
        fallback: the epoch to prune in if that does not happen before.

    Raises:
        ValueError: for a setting out of range.
    """

    kind = "early_bert"
    title = "EarlyBERT"
    source = "Chen et al. 2021 (ACL), with Early-Bird's threshold"
    measure = "hamming"
    rises = False

    threshold: float = 0.1

    def together(self, compared: Sequence[float]) -> float:
        return max(compared)
