"""The settings of LFPC: when it prunes, how much, and how the choice of criteria is learned."""

import math
from dataclasses import dataclass

from pat.registry import Settings


@dataclass(frozen=True)
class Learning(Settings):
    """One removal, by criteria that are learned just before it.

    Args:
        ratio: share of each group's channels to remove, in [0, 1).
        epoch: at whose end they go.
        batches: minibatches by which the choice is learned, one step each; 0: a whole epoch's.
        learning_rate: of the choice's logits, by Adam.
        temperature: of the relaxed draws; the lower, the nearer to a single criterion each is.

    Raises:
        ValueError: for a setting out of range.
    """

    ratio: float
    epoch: int
    batches: int = 0
    learning_rate: float = 0.1
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.ratio < 1:
            raise ValueError(f"ratio must lie in [0, 1), got {self.ratio}")
        for name in ("epoch", "batches"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        for name in ("learning_rate", "temperature"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be positive and finite, got {getattr(self, name)}")
