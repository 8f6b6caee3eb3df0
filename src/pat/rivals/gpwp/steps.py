"""The settings of GPWP: which epochs end with a step, and how it scores."""

from dataclasses import dataclass

from pat.registry import Settings


@dataclass(frozen=True)
class Steps(Settings):
    """Equal steps to a ratio, and the relevance by which each chooses.

    Args:
        ratio: share of neurons that is gone in the end, in [0, 1).
        interval: epochs between two steps.
        until: the epoch from which on nothing goes. Every step removes an equal part of the ratio; the last
            one is that of the last multiple of ``interval`` that is not larger.
        batches: minibatches whose relevance a step averages; 0: a whole epoch's.
        alpha: of the rule by which relevance goes back through a layer; 2 in the authors' program.

    Raises:
        ValueError: for a setting out of range.
    """

    ratio: float
    interval: int
    until: int
    batches: int = 0
    alpha: float = 2.0

    def __post_init__(self) -> None:
        if not 0 <= self.ratio < 1:
            raise ValueError(f"ratio must lie in [0, 1), got {self.ratio}")
        if self.interval < 1:
            raise ValueError(f"interval must be at least 1, got {self.interval}")
        if self.until < self.interval:
            raise ValueError(f"until must be at least interval={self.interval}, got {self.until}")
        if self.batches < 0:
            raise ValueError(f"batches must not be negative, got {self.batches}")
        if not 1 <= self.alpha < float("inf"):
            raise ValueError(f"alpha must be at least 1 and finite, got {self.alpha}")

    @property
    def ends(self) -> range:
        """The epochs that end with a step."""
        return range(self.interval - 1, self.until, self.interval)
