"""OCSPruner (Ghimire et al. 2026): prune when the sets of kept channels have come to agree."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pat.policy import POLICIES
from pat.rivals.triggers.masks import MaskRule


@POLICIES.register
@dataclass(frozen=True)
class OCSPruner(MaskRule):
    """The running mean of the last three Jaccard indices is at least 0.98.

    An index is that of the channels kept now and two epochs before, the mean over the groups
    (:func:`pat.stability.mask_jaccard`). The constants are those of the authors' program. There a group lasso
    pulls the channels that would go towards zero from some epoch on, which makes the sets agree sooner, and
    the criterion is a norm of groups; here it is the run's own criterion, without penalty.

    Args:
        threshold: the smallest mean that is agreement enough.
        window: how many indices the mean is of.
        apart: epochs between two masks.
        fallback: the epoch to prune in if that does not happen before.

    Raises:
        ValueError: for a setting out of range.
    """

    kind = "ocspruner"
    title = "OCSPruner"
    source = "Ghimire et al. 2026 (WACV)"
    measure = "jaccard"

    threshold: float = 0.98
    window: int = 3
    apart: int = 2

    def together(self, compared: Sequence[float]) -> float:
        return math.fsum(compared) / len(compared)
