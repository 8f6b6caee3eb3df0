"""The base of the rules that compare rankings of all channels."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from pat.policy import Seen
from pat.rivals.triggers.threshold import Threshold, Told, kept_copy, needed
from pat.stability import Structure, rank_correlation

if TYPE_CHECKING:
    from torch import Tensor

MEASURES = ("spearman", "kendall")
"""As :func:`pat.stability.rank_correlation` gives them."""


@dataclass(frozen=True)
class RankRule(Threshold):
    """Base of the rules that correlate the scores of an epoch with those of the epochs before.

    Eq. 6 with a rank correlation in the place of the structures' similarity, and without Algorithm 2's
    condition on the values before. The same at all ratios, because a ranking knows of none.

    Attributes:
        measure: of :data:`MEASURES`.

    Args:
        threshold: the mean correlation that is agreement enough. None is published.
        look_back: how many epochs before are compared with.

    Raises:
        ValueError: for a setting out of range.
        ModuleNotFoundError: when it compares, without scipy.
    """

    measure: ClassVar[str]
    usual = ("look_back",)
    bounds = (-1.0, 1.0)

    look_back: int = 5
    past: "list[Mapping[str, Tensor]]" = field(init=False, repr=False, compare=False, default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.look_back < 1:
            raise ValueError(f"look_back must be at least 1, got {self.look_back}")

    @property
    def first(self) -> int:
        return self.look_back

    def signal(self, counts: Structure, seen: Seen | None) -> float | None:
        """The mean; None before there are ``look_back`` epochs, and where constant scores have no ranking."""
        told = needed(self.kind, seen)
        if isinstance(told, Told) and told.look_back == self.look_back:
            return told.window.get(self.measure)
        scores, past = kept_copy(told.scores), list(self.past)
        self.past[:] = [*past, scores][-self.look_back :]
        if len(past) < self.look_back:
            return None
        which = MEASURES.index(self.measure)
        mean = math.fsum(rank_correlation(scores, before)[which] for before in past) / len(past)
        return mean if math.isfinite(mean) else None

    def memory(self) -> dict[str, Any]:
        return {"past": [dict(scores) for scores in self.past]}

    def remember(self, state: Mapping[str, Any]) -> None:
        self.past[:] = state["past"]
