"""A policy in one file: prune when the training loss hardly falls any more."""

from dataclasses import dataclass

from pat.policy import POLICIES, Seen, Trigger
from pat.stability import Structure


@POLICIES.register
@dataclass(frozen=True)
class Plateau(Trigger):
    """Prune in the epoch after the first in which the loss fell by less than a share of itself.

    Args:
        share: of the loss of the epoch before, in [0, 1].
        fallback: the epoch to prune in if that does not happen before.

    Raises:
        ValueError: for a parameter out of range.
    """

    kind = "plateau"
    title = "plateau"
    source = "a rule of thumb"

    share: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.share <= 1:
            raise ValueError(f"share must lie in [0, 1], got {self.share}")

    def signal(self, counts: Structure, seen: Seen | None) -> float | None:
        return None if seen is None else seen.loss

    def fires(self, value: float) -> bool:
        before = self.values[-2] if len(self.values) > 1 else None
        return before is not None and before - value < self.share * before
