"""GPWP in a training loop (Aketi et al. 2020): after every few epochs, the least relevant channels go."""

from collections.abc import Mapping
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from pat.channels import ChannelGroup
from pat.loops.counting import Counting
from pat.loops.shrinking import Batches, Shrinking, by_group
from pat.rivals.gpwp.relevance import Relevance
from pat.rivals.gpwp.steps import Steps


def relevance_scores(relevance: Tensor, neurons: Mapping[str, ChannelGroup]) -> dict[str, Tensor]:
    """Feature relevance scores, to be ranked over all groups: ``|R| / ||R||_2`` within each.

    Args:
        relevance: ``[units]``, of all units of a trace, see
            :meth:`pat.rivals.gpwp.relevance.Relevance.of_units`.
        neurons: the groups to score.

    Returns:
        ``[size]`` by group, in [0, 1]; 0 throughout a group without relevance.
    """
    scores = {}
    for name, own in by_group(relevance, neurons).items():
        norm = torch.linalg.vector_norm(own)
        scores[name] = own.abs() / norm.where(norm > 0, 1.0)
    return scores


class GradualPruning(Shrinking):
    """Removes the channels with the lowest feature relevance scores, an equal number after every few epochs.

    At the end of each ``interval`` epochs before ``until`` relevance is propagated through the network as it
    is then, for the minibatches of the epoch that has ended, and all channels that are left are ranked
    together. After step k of K the share ``ratio k / K`` of the neurons is gone, counted as everywhere
    else. Nothing else is done to the training.

    Stands in a training loop where :class:`~pat.pruner.PruningAwareTraining` does, see
    :class:`~pat.loops.shrinking.Shrinking`.

    Args:
        model: trained by the loop (the bare module, not one wrapped in DistributedDataParallel).
        optimizer: over the model's parameters.
        example_input: a batch ``[N, C, H, W]`` on the model's device, to trace the model with.
        data: minibatches ``(images, labels)`` of an epoch, counted from 0, on the model's device. The same
            ones each time that it is asked, or a run that goes on will differ.
        ratio, interval, until, batches, alpha: see :class:`~pat.rivals.gpwp.steps.Steps`.
        rest: count, min_channels, keep_stem, exclude and extra_models, see
            :class:`~pat.loops.shrinking.Shrinking`.

    Raises:
        ValueError: for a parameter out of range, or if ``min_channels`` does not allow the ratio.
        UnsupportedOperation: if channels cannot be followed through the model.
    """

    collapse = (
        "relevance has left no path of channels from the input to the output; a lower ratio or "
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
        interval: int,
        until: int,
        batches: int = 0,
        alpha: float = 2.0,
        **rest: Any,
    ) -> None:
        self._own = Steps(ratio, interval, until, batches, alpha)
        super().__init__(model, optimizer, example_input, **rest)
        self._data = data
        self._counting = Counting(self.neurons, self._count, self._min_channels, ratio)

    def wanted(self) -> dict[str, Tensor] | None:
        """After a step's epoch the most relevant of what is left.

        Raises:
            ValueError: if a channel has no finite relevance.
        """
        if self.epoch not in self._own.ends:
            return None
        scores = self.scores()
        if bad := [name for name, score in scores.items() if not bool(score.isfinite().all())]:
            raise ValueError(f"relevance must be finite, that of {bad[0]!r} is not")
        ranked = {name: score.where(self.kept[name], -torch.inf) for name, score in scores.items()}
        steps, total = len(self._own.ends), self._counting.total
        step = 1 + self._own.ends.index(self.epoch)
        best = self._counting.top(ranked, total - (total - self._counting.keep) * step // steps)
        return {name: mask & self.kept[name] for name, mask in best.items()}

    def scores(self) -> dict[str, Tensor]:
        """Feature relevance scores now, ``[size]`` by group; 0 for channels that have gone."""
        data = islice(self._data(self.epoch), self._own.batches or None)
        relevance = Relevance(self.model, self._own.alpha)
        return relevance_scores(
            relevance.of_units(data, self.groups, self.groups.unit_mask(self.kept)), self.neurons
        )

    def settings(self) -> dict[str, Any]:
        """What a state must have been saved with."""
        return {**self._own.options(), **super().settings()}
