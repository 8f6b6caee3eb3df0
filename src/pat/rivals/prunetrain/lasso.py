"""Group lasso: a model's weights in, the penalty on its channels and its gradient out (Lym et al. 2019)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pat.channels import ChannelGroup, ChannelGroups, Slot


class GroupLasso:
    """The penalty ``sum_g ||w_g||_2`` on a model's weights.

    A group w_g is an output channel ``W[k]`` or an input channel ``W[:, c]`` of a convolution, or an input of
    a Linear layer that reads a convolution's channels. As in the authors' code of PruneTrain, depthwise
    convolutions are left alone, and so are the network's input and outputs; beyond that, channels that cannot
    go are not penalised.

    Args:
        model: the network that ``groups`` was traced from; its weights are read at every call.
        groups: from :func:`pat.channels.trace`.
        neurons: those of the groups whose channels may go.
    """

    def __init__(self, model: nn.Module, groups: ChannelGroups, neurons: Mapping[str, ChannelGroup]) -> None:
        self._model = model
        self._units = sum(group.size for group in groups.values())
        may_go = torch.zeros(self._units + 1, dtype=torch.bool)  # the last one is read by -1
        for group in neurons.values():
            may_go[group.units.start : group.units.stop] = True
        self._slots = [s for s in groups.slots if _penalised(model, s) and bool(may_go[s.units].any())]
        self._may_go = may_go
        self.follow(torch.ones(self._units, dtype=torch.bool))

    def follow(self, kept: Tensor) -> None:
        """Go on with weights that have been cut.

        Args:
            kept: bool over the units of the trace that this was made with: those that are left.
        """
        self._dims: dict[str, dict[int, Tensor]] = {}
        for slot in self._slots:
            units = slot.units[slot.keep(kept)]
            self._dims.setdefault(slot.tensor, {})[slot.dim] = units.where(self._may_go[units], -1)

    @torch.no_grad()
    def norm(self) -> float:
        """``sum_g ||w_g||_2``."""
        total = 0.0
        for name, dims in self._dims.items():
            weight = self._model.get_parameter(name)
            for dim, units in dims.items():
                norms = torch.linalg.vector_norm(weight, dim=_others(weight, dim), dtype=torch.float64)
                total += float(norms[(units >= 0).to(norms.device)].sum())
        return total

    @torch.no_grad()
    def add_gradient(self, coefficient: float) -> None:
        """Add each group's subgradient ``coefficient * w / ||w_g||`` to ``grad``; 0 where all of it is zero.

        Raises:
            RuntimeError: if no penalised weight has a gradient.
        """
        weights = {name: self._model.get_parameter(name) for name in self._dims}
        weights = {name: weight for name, weight in weights.items() if weight.numel()}
        if weights and all(weight.grad is None for weight in weights.values()):
            raise RuntimeError("no gradients to add to: call step() after loss.backward()")
        for name, weight in weights.items():
            if not weight.requires_grad:
                continue
            if weight.grad is None:  # the loss did not reach it, the penalty does
                weight.grad = torch.zeros_like(weight)
            for dim, units in self._dims[name].items():
                norms = torch.linalg.vector_norm(weight, dim=_others(weight, dim), keepdim=True)
                along = [-1 if d == dim else 1 for d in range(weight.dim())]
                counted = (units >= 0).to(norms.device).reshape(along) & (norms > 0)
                weight.grad.addcmul_(weight, torch.where(counted, coefficient / norms, 0.0))

    @torch.no_grad()
    def largest(self) -> Tensor:
        """Largest absolute weight in each unit's groups, ``[units of the trace]`` on the CPU; 0 if none."""
        found = torch.zeros(self._units)
        for name, dims in self._dims.items():
            weight = self._model.get_parameter(name)
            for dim, units in dims.items() if weight.numel() else ():
                maxima = weight.abs().amax(_others(weight, dim)).float().cpu()
                counted = units >= 0
                found.scatter_reduce_(0, units[counted], maxima[counted], "amax")
        return found


def _penalised(model: nn.Module, slot: Slot) -> bool:
    """Whether a slot is a dimension of a convolution's (not a depthwise one's) or a Linear layer's weight."""
    layer, _, attribute = slot.tensor.rpartition(".")
    module = model.get_submodule(layer)
    if isinstance(module, nn.modules.conv._ConvNd) and module.groups > 1:
        return attribute == "weight" and module.groups != module.in_channels
    return attribute == "weight" and isinstance(module, nn.modules.conv._ConvNd | nn.Linear)


def _others(weight: Tensor, dim: int) -> list[int]:
    return [d for d in range(weight.dim()) if d != dim]
