"""LFPC in a training loop (He et al. 2020): criteria are learned at one epoch's end, and prune there."""

from collections.abc import Mapping
from itertools import islice
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from pat.loops.shrinking import Batches, Shrinking
from pat.rivals.lfpc.candidates import CANDIDATES, candidate_masks, candidate_scores
from pat.rivals.lfpc.learning import Learning
from pat.rivals.lfpc.sampler import CriteriaSampler


class LearnedCriteria(Shrinking):
    """Removes the same share of every group at one epoch's end, by the criterion that the group has learned.

    The criteria are learned with the weights as they are then, one step per minibatch of the epoch that has
    ended: the trainer's validation images decide nothing here. Training goes on with what is left.

    Stands in a training loop where :class:`~pat.pruner.PruningAwareTraining` does, see
    :class:`~pat.loops.shrinking.Shrinking`.

    Args:
        model: trained by the loop (the bare module, not one wrapped in DistributedDataParallel).
        optimizer: over the model's parameters.
        example_input: a batch ``[N, C, H, W]`` on the model's device, to trace the model with.
        data: minibatches ``(images, labels)`` of an epoch, counted from 0, on the model's device; the same
            ones each time that it is asked.
        seed: of the sampler's draws.
        label_smoothing: of the training loss.
        ratio, epoch, batches, learning_rate, temperature: see :class:`~pat.rivals.lfpc.learning.Learning`.
        rest: count, min_channels, keep_stem, exclude and extra_models, see
            :class:`~pat.loops.shrinking.Shrinking`.

    Attributes:
        chosen: after the removal the name of each group's criterion.

    Raises:
        ValueError: for a parameter out of range, or if channels are read by something else than a layer.
        UnsupportedOperation: if channels cannot be followed through the model.
    """

    collapse = (
        "learned criteria have left no path of channels from the input to the output; a lower ratio or "
        "min_channels=1 avoids it"
    )

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        example_input: Tensor,
        data: Batches,
        *,
        ratio: float,
        epoch: int,
        batches: int = 0,
        learning_rate: float = 0.1,
        temperature: float = 1.0,
        seed: int = 0,
        label_smoothing: float = 0.0,
        **rest: Any,
    ) -> None:
        self._own = Learning(ratio, epoch, batches, learning_rate, temperature)
        super().__init__(model, optimizer, example_input, **rest)
        self._data, self._seed, self._label_smoothing = data, seed, label_smoothing
        self.chosen: dict[str, str] = {}

    def wanted(self) -> dict[str, Tensor] | None:
        """After the epoch of the removal what each group's criterion keeps.

        Raises:
            ValueError: if a filter has no finite score.
        """
        own = self._own
        if self.epoch != own.epoch:
            return None
        scores = candidate_scores(self.model, self.groups, self.neurons)
        if bad := [name for name, score in scores.items() if not bool(score.isfinite().all())]:
            raise ValueError(f"scores of criteria must be finite, those of {bad[0]!r} are not")
        masks = {n: candidate_masks(score, own.ratio, self._min_channels) for n, score in scores.items()}
        sampler = CriteriaSampler(
            self.model,
            self.groups,
            masks,
            learning_rate=own.learning_rate,
            temperature=own.temperature,
            seed=self._seed,
            label_smoothing=self._label_smoothing,
        )
        for images, labels in islice(self._data(self.epoch), own.batches or None):
            sampler.step(images, labels)
        chosen, names = sampler.chosen(), list(CANDIDATES)
        self.chosen = {name: names[candidate] for name, candidate in chosen.items()}
        return {name: masks[name][candidate] for name, candidate in chosen.items()}

    def state_dict(self) -> dict[str, Any]:
        """See :meth:`pat.loops.shrinking.Shrinking.state_dict`; with the criteria."""
        return {**super().state_dict(), "chosen": dict(self.chosen)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See :meth:`pat.loops.shrinking.Shrinking.load_state_dict`."""
        super().load_state_dict(state)
        self.chosen = dict(state["chosen"])

    def settings(self) -> dict[str, Any]:
        """What a state must have been saved with."""
        return {**self._own.options(), "seed": self._seed, **super().settings()}
