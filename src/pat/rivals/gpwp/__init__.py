"""GPWP, a rival (Aketi et al. 2020): the least relevant channels go in steps, while training goes on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pat.files.lazy import exports
from pat.methods import METHODS, Method, Pruner, Start
from pat.rivals.gpwp.steps import Steps

if TYPE_CHECKING:
    from pat.rivals.gpwp import pruner, relevance
    from pat.rivals.gpwp.pruner import GradualPruning
    from pat.rivals.gpwp.relevance import Relevance
else:
    __getattr__, __dir__ = exports(__name__, {"pruner": ["GradualPruning"], "relevance": ["Relevance"]})

__all__ = ["GradualPruning", "GradualPruningSettings", "Relevance", "Steps", "pruner", "relevance"]

_PASSES = 2  # of a minibatch: its relevance flows back through the weights and through their absolute values


@METHODS.register
@dataclass(frozen=True)
class GradualPruningSettings(Steps, Method):
    """After every few epochs as many more of the channels go as have the lowest feature relevance scores.

    See :class:`pat.rivals.gpwp.steps.Steps` for the settings.
    """

    name = "gpwp"
    title = "gradual pruning by relevance"
    source = "Aketi et al. 2020; the authors' program where known"

    def build(self, start: Start) -> Pruner:
        """The pruner of a network that is about to be trained.

        Raises:
            ValueError: if the training ends before the last step, or ``min_channels`` does not allow the
                ratio.
        """
        from pat.rivals.gpwp.pruner import GradualPruning

        if self.until > start.epochs:
            raise ValueError(f"until={self.until} is beyond the training's {start.epochs} epochs")
        return GradualPruning(
            start.model,
            start.optimizer,
            start.example,
            start.batches,
            **start.neurons,
            **self.options(),
        )

    def describe(self) -> str:
        return f"{self.title} {100 * self.ratio:g} %"

    def training_share(
        self, dense: int, final: int, steps_per_epoch: int, removals: Sequence[tuple[int, int]], epochs: int
    ) -> float:
        """With the passes that score before each step, at what an image costs then."""
        trained = super().training_share(dense, final, steps_per_epoch, removals, epochs)
        before = [([dense] + [macs for epoch, macs in removals if epoch < end])[-1] for end in self.ends]
        share_of_epoch = (self.batches or steps_per_epoch) / steps_per_epoch
        return trained + _PASSES * min(share_of_epoch, 1) * sum(before) / (dense * epochs)
