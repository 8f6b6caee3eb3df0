"""A sampler of criteria that learns: masks of each candidate in, the one that a group should use out."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pat.channels import ChannelGroups, Slot
from pat.rivals.scores.gates import Gates, along_channels


class _SoftGates(Gates):
    """Layers read each channel times a factor, which has a gradient.

    Attributes:
        factors: ``[units + 1]``; the last one, 1, is of channels that are no units.
    """

    factors: Tensor

    def _read(self, slot: Slot, module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        index = slot.units.to(self.factors.device) % len(self.factors)
        return (args[0] * along_channels(self.factors[index], module, args[0]), *args[1:])


def gumbel_softmax(logits: Tensor, noise: Tensor, temperature: float) -> Tensor:
    """A relaxed draw of one candidate, ``softmax((log p + g) / temperature)`` with ``p = softmax(logits)``.

    Args:
        logits: ``[..., candidates]``.
        noise: g of the same shape, of the standard Gumbel distribution.
        temperature: towards 0 the draw is that of a single candidate.
    """
    return ((logits.log_softmax(-1) + noise) / temperature).softmax(-1)


class CriteriaSampler:
    """Learns for all groups together by which candidate each should prune (He et al. 2020).

    Every step draws relaxed weights of the candidates for each group, and the network runs with each of a
    group's channels times the summed weights of the candidates that keep it: the sum of what the candidates'
    pruned layers would give, weighted. The loss of that network has a gradient for the logits, which alone
    are learned. The network is a copy in eval mode and stays as it is.

    Args:
        model: the network.
        groups: its trace.
        masks: bool ``[candidates, size]`` by group: what each candidate keeps.
        learning_rate: of Adam, for the logits.
        temperature: of the draws.
        seed: of the draws.
        label_smoothing: of the loss, a cross-entropy.

    Attributes:
        logits: ``[groups, candidates]``, in the masks' order; 0 at the start.
    """

    def __init__(
        self,
        model: nn.Module,
        groups: ChannelGroups,
        masks: Mapping[str, Tensor],
        *,
        learning_rate: float = 0.1,
        temperature: float = 1.0,
        seed: int = 0,
        label_smoothing: float = 0.0,
    ) -> None:
        self._model = copy.deepcopy(model).eval().requires_grad_(False)
        parameter = next(self._model.parameters())
        self._device, self._dtype = parameter.device, parameter.dtype
        self._gates = _SoftGates(self._model, groups)
        self._ones = torch.ones(1 + sum(g.size for g in groups.values()), device=self._device)
        self._masks = [
            (slice(groups[name].units.start, groups[name].units.stop), mask.to(self._device, torch.float32))
            for name, mask in masks.items()
        ]
        self._names = list(masks)
        candidates = len(next(iter(masks.values())))
        self.logits = torch.zeros(len(masks), candidates, device=self._device, requires_grad=True)
        self._optimizer = torch.optim.Adam([self.logits], learning_rate)
        self._temperature, self._label_smoothing = temperature, label_smoothing
        self._generator = torch.Generator().manual_seed(seed)

    def loss(self, images: Tensor, labels: Tensor, noise: Tensor) -> Tensor:
        """Loss of the network that a draw prunes.

        Args:
            images: ``[N, ...]``.
            labels: ``[N]``.
            noise: like the logits, see :func:`gumbel_softmax`.
        """
        drawn = gumbel_softmax(self.logits, noise.to(self._device), self._temperature)
        factors = self._ones.clone()
        for (units, mask), own in zip(self._masks, drawn, strict=True):
            factors[units] = own @ mask
        self._gates.factors = factors.to(self._dtype)
        output = self._model(images.to(self._dtype))
        return F.cross_entropy(output.float(), labels, label_smoothing=self._label_smoothing)

    def step(self, images: Tensor, labels: Tensor) -> None:
        """One draw, and one step of the logits down its loss."""
        uniform = torch.rand(self.logits.shape, generator=self._generator).clamp_(1e-12)
        self._optimizer.zero_grad()
        with torch.enable_grad():
            self.loss(images, labels, -torch.log(-torch.log(uniform))).backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()

    def chosen(self) -> dict[str, int]:
        """The candidate of the largest probability by group, of equal ones the first."""
        return dict(zip(self._names, self.logits.detach().cpu().argmax(1).tolist(), strict=True))
