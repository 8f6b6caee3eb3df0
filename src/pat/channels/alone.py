"""Layers that look across channels, in a masked model: they see those kept alone, as after the removal.

A LayerNorm's mean counts the zeros of masked channels; the smaller model's does not. So while channels are
masked such a layer's forward pass runs on the channels kept, with its parameters cut to them; the others are
zeros behind it.
"""

import copy
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call

Cut = Mapping[str, tuple[int, Tensor]]


class _OnKept:
    """A forward pass in place of a module's own; holds nothing that could not be copied or saved."""

    def __init__(
        self, module: nn.Module, small: nn.Module, keep: Tensor, dim: int, cuts: Cut, scatter: bool
    ) -> None:
        self.module, self.small, self.dim, self.cuts, self.scatter = module, small, dim, dict(cuts), scatter
        self.keep, self.index = keep, keep.nonzero().flatten()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        held = {**dict(self.module.named_parameters()), **dict(self.module.named_buffers())}
        for name, (dim, entries) in self.cuts.items():
            held[name] = held[name].index_select(dim, entries.to(held[name].device))
        self.small.train(self.module.training)
        size = self.keep.numel()

        def cut(value: Any) -> Any:
            return (
                value.index_select(self.dim, self.index.to(value.device))
                if isinstance(value, Tensor)
                else value
            )

        few = functional_call(self.small, held, tuple(map(cut, args)), {k: cut(v) for k, v in kwargs.items()})
        if not self.scatter:
            return few
        shape = list(few.shape)
        shape[self.dim] = size
        return few.new_zeros(shape).index_copy(self.dim, self.index.to(few.device), few)


def attach(
    module: nn.Module, keep: Tensor, dim: int, cuts: Cut, scatter: bool, fit: Callable[[nn.Module, int], None]
) -> None:
    """Let a layer run on the channels kept alone.

    Args:
        module: the layer.
        keep: bool ``[channels]`` of its input.
        dim: the dimension of the input that holds them.
        cuts: per parameter and buffer, the dimension to cut and the entries that stay.
        scatter: whether the output has them there too.
        fit: makes a layer's attributes agree with its parameters and its number of channels.
    """
    detach(module)
    if bool(keep.all()):
        return
    small = copy.deepcopy(module)
    for name, (cut_dim, entries) in cuts.items():
        tensor = getattr(small, name)
        tensor.data = tensor.data.index_select(cut_dim, entries.to(tensor.device))
    fit(small, int(keep.sum()))
    # Beside the module's parts, not among them, and callable without its hooks, which its own call runs.
    module.__dict__["forward"] = _OnKept(module, _bare(small), keep, dim, cuts, scatter)


def detach(module: nn.Module) -> None:
    """Let a layer run on all its channels again."""
    if isinstance(module.__dict__.get("forward"), _OnKept):
        del module.__dict__["forward"]


def _bare(module: nn.Module) -> nn.Module:
    for hooks in (module._forward_hooks, module._forward_pre_hooks):
        hooks.clear()
    return module
