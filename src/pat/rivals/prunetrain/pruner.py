"""PruneTrain, a rival (Lym et al. 2019): a group lasso empties channels, which go while training goes on."""

import copy
import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from pat.loops.shrinking import Shrinking, by_group
from pat.rivals.prunetrain.lasso import GroupLasso


def starting_loss(model: nn.Module, images: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> float:
    """L_0: the cross-entropy of an untrained model on its first minibatch, in training mode.

    Computed on a copy: neither BatchNorm's running averages nor the random state move.

    Args:
        model: before its first step.
        images: ``[N, C, H, W]`` on the model's device.
        labels: ``[N]``.
        label_smoothing: as in training.
    """
    with torch.random.fork_rng(devices=[images.device] if images.is_cuda else []), torch.no_grad():
        output = copy.deepcopy(model).train()(images)
        return float(F.cross_entropy(output.float(), labels, label_smoothing=label_smoothing))


class PruneTrain(Shrinking):
    """Trains with a group lasso and every few epochs removes the channels that it emptied.

    Stands in a training loop where :class:`~pat.pruner.PruningAwareTraining` does, see
    :class:`~pat.loops.shrinking.Shrinking`.

    The loss becomes ``L + lambda sum_g ||w_g||_2`` over the groups of
    :class:`~pat.rivals.prunetrain.lasso.GroupLasso`.
    ``lambda = rho L_0 / ((1 - rho) sum_g ||w_g||_2)`` is set once, at the first weights, so that the penalty
    begins as the share rho of the whole loss.

    A channel goes when no weight of its groups reaches the threshold: of the layers that produce it (of all
    that an addition couples) and of the layers that read it, depthwise ones aside. What it still gives its
    readers is under the threshold times its value, whatever its BatchNorm adds. So gamma and beta are
    neither penalised nor looked at, and go with the channel and the optimizer's state; the function changes
    by no more than those last weights are worth.

    A subgradient step does not reach zero but swings around it, in ``||w_g||`` by the order of
    ``learning rate * lambda / (1 - momentum)``. The authors' threshold of 1e-4 suits networks of many
    channels, where lambda is small; few channels and a short schedule need a larger one.

    Args:
        model: trained by the loop (the bare module, not one wrapped in DistributedDataParallel).
        optimizer: over the model's parameters.
        example_input: a batch ``[N, C, H, W]`` on the model's device, to trace the model with.
        initial_loss: L_0, see :func:`starting_loss`.
        share: rho, in (0, 1).
        interval: epochs between two reconfigurations. Let it divide the number of epochs, or channels that
            empty after the last one stay.
        threshold: absolute value under which weights count as zero.
        min_channels: channels that every group keeps, those with the largest weights. With 0, layers may be
            emptied.
        rest: count, keep_stem, exclude and extra_models, see :class:`~pat.loops.shrinking.Shrinking`.

    Attributes:
        coefficient: lambda.

    Raises:
        ValueError: for a parameter out of range.
        UnsupportedOperation: if channels cannot be followed through the model.
    """

    collapse = (
        "the group lasso has emptied the last path of channels from the input to the output; a lower share "
        "or min_channels=1 avoids it"
    )

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        example_input: Tensor,
        *,
        initial_loss: float,
        share: float = 0.2,
        interval: int = 5,
        threshold: float = 1e-4,
        **rest: Any,
    ) -> None:
        for name, value in {"initial_loss": initial_loss, "threshold": threshold}.items():
            if not 0 < value < math.inf:
                raise ValueError(f"{name} must be positive and finite, got {value}")
        if not 0 < share < 1:
            raise ValueError(f"share must lie in (0, 1), got {share}")
        if interval < 1:
            raise ValueError(f"interval must be at least 1, got {interval}")
        super().__init__(model, optimizer, example_input, **rest)
        self._lasso = GroupLasso(model, self.groups, self.neurons)
        norm = self._lasso.norm()
        if not 0 < norm < math.inf:
            raise ValueError(
                f"the weights' norms must be positive and finite to set lambda, their sum is {norm}"
            )
        self.coefficient = share * initial_loss / ((1 - share) * norm)
        self._share = share
        self._interval = interval
        self._threshold = threshold

    def step(self) -> None:
        """Add the penalty's subgradient to the gradients.

        Raises:
            RuntimeError: if there are no gradients.
        """
        self._lasso.add_gradient(self.coefficient)

    def wanted(self) -> dict[str, Tensor] | None:
        """Every ``interval`` epochs the channels with a weight at or above the threshold."""
        return self._above_threshold() if (self.epoch + 1) % self._interval == 0 else None

    def _above_threshold(self) -> dict[str, Tensor]:
        """What stays of each group: a weight that is no number counts as large."""
        wanted = {}
        for name, largest in by_group(self._lasso.largest(), self.neurons).items():
            present = self.kept[name]
            stays = present & ~(largest < self._threshold)
            if int(stays.sum()) < self._min_channels:
                order = torch.sort(largest.where(present, -1.0), descending=True, stable=True).indices
                stays[order[: self._min_channels]] = True
            wanted[name] = stays & present
        return wanted

    def _take(self, kept: Mapping[str, Tensor]) -> None:
        super()._take(kept)
        self._lasso.follow(self.groups.unit_mask(self.kept))

    def state_dict(self) -> dict[str, Any]:
        """See :meth:`pat.loops.shrinking.Shrinking.state_dict`; with lambda."""
        return {**super().state_dict(), "coefficient": self.coefficient}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See :meth:`pat.loops.shrinking.Shrinking.load_state_dict`.

        lambda is the saved one, whatever ``initial_loss`` was.
        """
        super().load_state_dict(state)
        self.coefficient = state["coefficient"]

    def settings(self) -> dict[str, Any]:
        """What a state must have been saved with."""
        own = {"share": self._share, "interval": self._interval, "threshold": self._threshold}
        return {**own, **super().settings()}
