"""Kendall's rank correlation of the channels' scores: prune when the ranking has settled."""

from dataclasses import dataclass

from pat.policy import POLICIES
from pat.rivals.triggers.rankings import RankRule


@POLICIES.register
@dataclass(frozen=True)
class Kendall(RankRule):
    """Kendall's tau-b of the scores and those of the epochs before, in the mean, is at least a threshold.

    Sec. 2 of Shen et al. 2022 names rank correlations as the alternative to comparing structures and gives no
    rule for them; :class:`~pat.rivals.triggers.rankings.RankRule` says what is made of it.

    Args:
        threshold: the mean correlation that is agreement enough, in [-1, 1]. None is published, so it has to
            be given.
        look_back: how many epochs before are compared with.
        fallback: the epoch to prune in if that does not happen before.

    Raises:
        ValueError: for a setting out of range.
    """

    kind = "kendall"
    title = "Kendall's rank correlation"
    source = "Kendall 1938; no rule for pruning is published"
    measure = "kendall"
