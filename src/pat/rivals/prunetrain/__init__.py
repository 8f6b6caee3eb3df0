"""PruneTrain, a rival (Lym et al. 2019): a group lasso empties channels, which go while training goes on."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pat.files.lazy import exports
from pat.methods import METHODS, Method, Pruner, Start

if TYPE_CHECKING:
    from pat.rivals.prunetrain import lasso, pruner
    from pat.rivals.prunetrain.lasso import GroupLasso
    from pat.rivals.prunetrain.pruner import PruneTrain, starting_loss
else:
    __getattr__, __dir__ = exports(
        __name__, {"lasso": ["GroupLasso"], "pruner": ["PruneTrain", "starting_loss"]}
    )

__all__ = ["GroupLasso", "PruneTrain", "PruneTrainSettings", "lasso", "pruner", "starting_loss"]


@METHODS.register
@dataclass(frozen=True)
class PruneTrainSettings(Method):
    """Group lasso from the first step on, emptied channels removed every few epochs.

    Args:
        share: rho, the penalty's share of the loss at the start, in (0, 1).
        interval: epochs between two reconfigurations.
        threshold: absolute value under which weights count as zero.

    Raises:
        ValueError: for a parameter out of range.
    """

    name = "prunetrain"
    title = "PruneTrain"
    source = "Lym et al. 2019, Sec. 4"

    share: float
    interval: int
    threshold: float

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ValueError(f"share must lie in (0, 1), got {self.share}")
        if self.interval < 1:
            raise ValueError(f"interval must be at least 1, got {self.interval}")
        if not 0 < self.threshold < math.inf:
            raise ValueError(f"threshold must be positive and finite, got {self.threshold}")

    def build(self, start: Start) -> Pruner:
        from pat.rivals.prunetrain.pruner import PruneTrain, starting_loss

        return PruneTrain(
            start.model,
            start.optimizer,
            start.example,
            initial_loss=starting_loss(start.model, *next(start.batches(0)), start.label_smoothing),
            **start.neurons,
            **self.options(),
        )

    def describe(self) -> str:
        return f"{self.title} {self.share:g}"
