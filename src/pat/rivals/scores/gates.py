"""Channels switched off where layers read them: a mask in, the network that it leaves, its weights whole."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from pat.channels import ChannelGroups, Slot

LAYERS = (nn.modules.conv._ConvNd, nn.Linear)
"""Layers whose weights the rules score."""


class Gates:
    """Hooks on a model that switch channels off.

    A convolution or Linear layer that reads a channel which is off reads zero, which is what its removal
    would give. The filters that produce the channel stay as they are: zeros before a BatchNorm or a ReLU have
    no gradient that says what the channel would be worth.

    With ``returning`` the channel's filters get the gradient that its readers would send back (FORCE: the
    gradient at the pruned network, the dense weights), and nothing before them does: to other weights the
    channel does not exist.

    A layer that looks across channels, such as a LayerNorm, still sees those that are off.

    Args:
        model: of the trace, or a copy; hooks stay on it.
        groups: its trace.
        returning: see above.

    Raises:
        ValueError: if channels are read by something else than a layer's weight.
    """

    def __init__(self, model: nn.Module, groups: ChannelGroups, returning: bool = False) -> None:
        self._groups, self._returning = groups, returning
        self._units = groups.unit_mask({})
        parameters = dict(model.named_parameters())
        for slot in groups.slots:
            layer, _, kind = slot.tensor.rpartition(".")
            module = model.get_submodule(layer)
            if kind == "weight" and isinstance(module, LAYERS):
                if not slot.own:
                    module.register_forward_pre_hook(partial(self._read, slot))
                elif returning and not depthwise(module):
                    module.register_forward_hook(partial(self._written, slot))
            elif not slot.own and slot.tensor in parameters:
                raise ValueError(f"channels that {slot.tensor!r} reads cannot be switched off one by one")

    def set(self, kept: Mapping[str, Tensor]) -> None:
        """Switch off what is not kept (bool ``[size]`` by group)."""
        self._units = self._groups.unit_mask(kept)

    def _read(self, slot: Slot, module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        value, keep = args[0], self._entries(slot, module, args[0])
        if keep is None:
            return None
        nothing = value - value.detach() if self._returning else torch.zeros_like(value)
        return (torch.where(keep, value, nothing), *args[1:])

    def _written(self, slot: Slot, module: nn.Module, args: tuple[Any, ...], out: Tensor) -> Tensor | None:
        keep = self._entries(slot, module, out)
        if keep is None:
            return None
        return torch.where(keep, out, module.forward(args[0].detach(), *args[1:]))

    def _entries(self, slot: Slot, module: nn.Module, value: Tensor) -> Tensor | None:
        """Which channels of a value are on, as bool that broadcasts against it; None if all are."""
        keep = slot.keep(self._units)
        if bool(keep.all()):
            return None
        return along_channels(keep, module, value)


def along_channels(entries: Tensor, module: nn.Module, value: Tensor) -> Tensor:
    """One entry per channel, in a shape that broadcasts against what a layer reads or gives.

    Args:
        entries: ``[channels]``; a convolution of several groups has the same in each.
        module: a convolution or Linear layer.
        value: its input or output.
    """
    shape = [1] * value.dim()
    dim = value.dim() - 1 if isinstance(module, nn.Linear) else 1
    shape[dim] = value.shape[dim]
    times = value.shape[dim] // max(entries.numel(), 1)
    return entries.repeat(times).reshape(shape).to(value.device)


def depthwise(module: nn.Module) -> bool:
    """Whether a layer reads no channels but those that it produces."""
    return isinstance(module, nn.modules.conv._ConvNd) and 1 < module.groups == module.in_channels


def weights(model: nn.Module) -> dict[str, Tensor]:
    """The weights that the rules score, by parameter's name: those of convolutions and Linear layers."""
    layers = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, LAYERS)}
    return {
        name: weight for name, weight in model.named_parameters() if name in layers and weight.requires_grad
    }
