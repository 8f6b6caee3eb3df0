"""A rehearsal before training: is the model with channels masked the one with them removed?

The trace knows operations; what it cannot know (a number that the code computes from the number of
channels, a layer that is reached only later, an alias) shows when the removal is tried out once, on copies.
"""

import copy
import random
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from pat import surgery
from pat.channels import ChannelGroup, ChannelGroups, UnsupportedOperation
from pat.channels.operations.op import flat_tensors

TOLERANCE = 1e-6
"""Largest difference of two outputs, relative to the largest value; they are computed in 64 bits."""


def rehearse(
    model: nn.Module,
    example_input: Tensor | tuple[Any, ...],
    groups: ChannelGroups,
    names: Iterable[str] | None = None,
) -> None:
    """Try a removal out: masked against removed, in eval and in train mode, and a backward pass.

    Works on copies in 64 bits and on two samples, with random masks that leave about half of each group and
    random scales and shifts of norms; model, gradients and random numbers are left as they were.

    Args:
        model: the model that ``groups`` was traced from.
        example_input: a batch on the model's device, or a tuple of arguments.
        groups: from :func:`pat.channels.trace`.
        names: the groups to try; all of them by default.

    Raises:
        UnsupportedOperation: if the removal changes the function or something crashes after it; the message
            names the groups' layers, and what to exclude.
    """
    chosen = {name: groups[name] for name in (groups if names is None else names)}
    arguments = example_input if isinstance(example_input, tuple) else (example_input,)
    state = random.getstate()
    devices = {t.device.index or 0 for t in (*model.parameters(), *flat_tensors(arguments)) if t.is_cuda}
    try:
        with torch.random.fork_rng(devices=devices):
            stage = _Stage(model, arguments, groups)
            if not (why := stage.fault(chosen)):
                return
            guilty = {n: g for n, g in chosen.items() if stage.fault({n: g})} or chosen
    finally:
        random.setstate(state)
    layers = list(dict.fromkeys(layer for group in guilty.values() for layer in group.layers))
    raise UnsupportedOperation(
        f"a rehearsal on copies shows that removing channels of {', '.join(guilty)} is not the same as "
        f"masking them: {why}. Keep them whole with exclude={layers}, or switch the rehearsal off with "
        "rehearse=False"
    )


class _Stage:
    """A copy of the model to rehearse on."""

    def __init__(self, model: nn.Module, arguments: tuple[Any, ...], groups: ChannelGroups) -> None:
        self.groups = groups
        self.model = copy.deepcopy(model).double()
        self.model.zero_grad()
        self.arguments = tuple(_prepare(argument) for argument in arguments)
        _roughen(self.model)

    def fault(self, chosen: Mapping[str, ChannelGroup]) -> str:
        """What goes wrong without half of these groups' channels; empty if nothing does."""
        generator = torch.Generator().manual_seed(0)
        kept = {}
        for name, group in chosen.items():
            kept[name] = torch.rand(group.size, generator=generator) < 0.5
            kept[name][int(torch.randint(group.size, (), generator=generator))] = True
        for training in (False, True):
            if why := self._compare(kept, training):
                return why
        return ""

    def _compare(self, kept: Mapping[str, Tensor], training: bool) -> str:
        mode = "train mode" if training else "eval mode"
        masked = copy.deepcopy(self.model).train(training)
        try:
            with _Seeded():
                masked(*self.arguments)  # whether it runs at all, before it is blamed
        except Exception:
            return ""
        removed = copy.deepcopy(self.model).train(training)
        reached: list[str] = []
        try:
            surgery.mask(masked, kept, groups=self.groups)
            surgery.remove(removed, kept, groups=self.groups)
            with _Seeded():
                expected = list(flat_tensors(masked(*self.arguments)))
            for name, module in removed.named_modules():
                module.register_forward_pre_hook(_note(reached, name))
            with _Seeded():
                found = list(flat_tensors(removed(*self.arguments)))
            if training and (losses := [out.square().mean() for out in found if out.requires_grad]):
                torch.autograd.backward(torch.stack(losses).sum())
        except Exception as error:
            return f"in {mode}, layer {reached[-1] if reached else ''!r}: {type(error).__name__}: {error}"
        for a, b in zip(expected, found, strict=True):
            if a.shape != b.shape:
                return f"in {mode} the output's shape is {tuple(b.shape)} and not {tuple(a.shape)}"
            if a.is_floating_point() and a.numel():
                scale = a.abs().max().clamp_min(1e-12)
                gap = float(((a - b).abs().max() / scale).detach())
                if not gap <= TOLERANCE and bool(a.isfinite().all()):
                    return f"in {mode} the outputs differ by {gap:.1e} of the largest value"
        return ""


def _note(reached: list[str], name: str) -> Callable[[nn.Module, Any], None]:
    return lambda module, args: reached.append(name)


class _Seeded(TorchFunctionMode):
    """The same random numbers for both models: one seed, and no dropout, which draws one per entry."""

    def __enter__(self) -> "_Seeded":
        torch.manual_seed(0)
        random.seed(0)
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if "dropout" in getattr(func, "__name__", ""):
            return args[0] if args else (kwargs or {})["input"]
        return func(*args, **(kwargs or {}))


def _prepare(argument: Any) -> Any:
    """Two samples, in 64 bits."""
    if isinstance(argument, Tensor):
        few = argument.detach()[:2] if argument.dim() > 1 else argument.detach()
        few = torch.cat([few, few.flip(-1)]) if few.dim() > 1 and few.shape[0] == 1 else few
        return few.double() if few.is_floating_point() else few.clone()
    return copy.deepcopy(argument)


def _roughen(model: nn.Module) -> None:
    """Nothing at zero or one by chance, as a norm's first scales are: it would hide a difference."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.modules.conv._ConvNd | nn.Linear):
                continue
            for parameter in module.parameters(recurse=False):
                if parameter.is_floating_point():
                    noise = torch.rand(parameter.shape, generator=generator, dtype=torch.float64)
                    parameter.add_(0.2 * noise.to(parameter.device))
