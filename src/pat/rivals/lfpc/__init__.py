"""LFPC, a rival (He et al. 2020): each layer learns by which criterion its channels go."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pat.files.lazy import exports
from pat.methods import METHODS, Method, Pruner, Start
from pat.rivals.lfpc.learning import Learning

if TYPE_CHECKING:
    from pat.rivals.lfpc import candidates, pruner, sampler
    from pat.rivals.lfpc.candidates import CANDIDATES
    from pat.rivals.lfpc.pruner import LearnedCriteria
    from pat.rivals.lfpc.sampler import CriteriaSampler
else:
    __getattr__, __dir__ = exports(
        __name__,
        {"candidates": ["CANDIDATES"], "pruner": ["LearnedCriteria"], "sampler": ["CriteriaSampler"]},
    )

__all__ = [
    "CANDIDATES",
    "CriteriaSampler",
    "LearnedCriteria",
    "LearnedCriteriaSettings",
    "Learning",
    "candidates",
    "pruner",
    "sampler",
]


@METHODS.register
@dataclass(frozen=True)
class LearnedCriteriaSettings(Learning, Method):
    """After one epoch the same share of every group goes, by the criterion that the group has learned.

    See :class:`pat.rivals.lfpc.learning.Learning` for the settings.
    """

    name = "lfpc"
    title = "learned criteria"
    source = "He et al. 2020, as far as its abstract says"

    def build(self, start: Start) -> Pruner:
        """The pruner of a network that is about to be trained.

        Raises:
            ValueError: if the training ends before the removal.
        """
        from pat.rivals.lfpc.pruner import LearnedCriteria

        if self.epoch >= start.epochs:
            raise ValueError(f"epoch={self.epoch} is beyond the training's {start.epochs} epochs")
        return LearnedCriteria(
            start.model,
            start.optimizer,
            start.example,
            start.batches,
            seed=start.seed,
            label_smoothing=start.label_smoothing,
            **start.neurons,
            **self.options(),
        )

    def describe(self) -> str:
        return f"{self.title} {100 * self.ratio:g} %"

    def training_share(
        self, dense: int, final: int, steps_per_epoch: int, removals: Sequence[tuple[int, int]], epochs: int
    ) -> float:
        """With the dense passes by which the choice is learned."""
        trained = super().training_share(dense, final, steps_per_epoch, removals, epochs)
        learned = min(self.batches or steps_per_epoch, steps_per_epoch)
        return trained + learned / (steps_per_epoch * epochs)
