"""Connection sensitivity: minibatches in, ``|w dL/dw|`` summed to channels out (Lee et al. 2019)."""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import chain, count, islice

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pat.channels import ChannelGroup, ChannelGroups
from pat.methods import Start
from pat.rivals.scores.gates import Gates, weights
from pat.rivals.scores.sums import channel_sums

Batch = tuple[Tensor, Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]


class ConnectionSensitivity:
    """Scores channels by the sum of ``|w dL/dw|`` over their filters' weights.

    The absolute value is taken of every weight, as SNIP and FORCE do, and then summed. (Eq. 3 of the paper on
    when to prune sums first: over a filter before a BatchNorm that sum is zero, since its scale has no effect
    on the loss.)

    The gradient is that of the mean loss over the minibatches, in training mode, on a copy.

    Args:
        start: the network, its data and its loss.
        groups, neurons: of its trace, and those to score.
        batches: minibatches of one scoring; the next one takes the next ones.
        returning: whether channels that are off have a score, see
            :class:`~pat.rivals.scores.gates.Gates`.
    """

    def __init__(
        self,
        start: Start,
        groups: ChannelGroups,
        neurons: Mapping[str, ChannelGroup],
        batches: int,
        *,
        returning: bool = False,
    ) -> None:
        self._groups, self._neurons, self._batches = groups, neurons, batches
        self._model = copy.deepcopy(start.model).train()
        self._gates = Gates(self._model, groups, returning)
        self._data = minibatches(start)
        self._loss = partial(F.cross_entropy, label_smoothing=start.label_smoothing)

    def __call__(self, kept: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Scores ``[size]`` by group, with what is not kept (bool ``[size]`` by group) switched off.

        Raises:
            ValueError: if no gradient reaches a layer.
        """
        self._gates.set(kept)
        own = scored(self._model, self._groups, self._neurons)
        gradients = mean_gradient(self._model, own, islice(self._data, self._batches), self._loss)
        scores = {name: (weight * gradients[name]).abs() for name, weight in own.items()}
        return channel_sums(scores, self._groups, self._neurons)


def scored(model: nn.Module, groups: ChannelGroups, neurons: Mapping[str, ChannelGroup]) -> dict[str, Tensor]:
    """The weights, by parameter's name, whose filters produce channels of the neurons."""
    may_go = torch.zeros(sum(group.size for group in groups.values()) + 1, dtype=torch.bool)
    for group in neurons.values():
        may_go[group.units.start : group.units.stop] = True
    producing = {s.tensor for s in groups.slots if s.own and bool(may_go[s.units].any())}
    return {name: weight for name, weight in weights(model).items() if name in producing}


def minibatches(start: Start) -> Iterator[Batch]:
    """The training's minibatches, epoch after epoch."""
    return chain.from_iterable(start.batches(epoch) for epoch in count())


def mean_gradient(
    model: nn.Module, wanted: Mapping[str, Tensor], batches: Iterable[Batch], loss: Loss
) -> dict[str, Tensor]:
    """The gradient of the mean loss over minibatches with respect to some weights, by their names.

    Raises:
        ValueError: if the loss does not reach one of them.
    """
    found = [
        torch.autograd.grad(loss(model(images), labels), list(wanted.values()), allow_unused=True)
        for images, labels in batches
    ]
    if unreached := [
        name for name, each in zip(wanted, zip(*found, strict=True), strict=True) if None in each
    ]:
        raise ValueError(f"no gradient reaches {', '.join(unreached)}: nothing scores the channels there")
    return {
        name: torch.stack(each).mean(0) for name, each in zip(wanted, zip(*found, strict=True), strict=True)
    }
