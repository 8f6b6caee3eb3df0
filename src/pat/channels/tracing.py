"""Channel groups: a watched forward pass of a model in, groups of channels that go together out."""

import copy
import random
from collections.abc import Collection
from functools import cache
from types import CodeType
from typing import Any

import torch
from torch import Tensor, nn

from pat.channels.coupling import Coupling, UnsupportedOperation
from pat.channels.groups import ChannelGroups, collect
from pat.channels.operations.op import flat_tensors
from pat.channels.operations.own import own_rule
from pat.channels.operations.table import find_rule
from pat.channels.walk import Walk


def trace(
    model: nn.Module, example_input: Tensor | tuple[Any, ...], exclude: Collection[str] = ()
) -> ChannelGroups:
    """Find the groups of coupled channels of a model.

    Follows every channel through the operations of forward passes of a copy, one in eval mode and, where the
    model's code asks for the mode or has layers that were not reached, one in train mode; the model, its
    buffers and the random numbers are left as they were. Where the model allows, the copy is without storage,
    so that nothing is computed. Channels that are added, multiplied or pass a depthwise convolution are
    coupled; those of the model's input and output stay.

    Args:
        model: any module.
        example_input: a batch ``[N, C, H, W]`` on the model's device, or a tuple of arguments.
        exclude: qualified names of layers (or modules with layers inside) whose channels stay.

    Raises:
        UnsupportedOperation: if the model cannot be copied or run, or an operation without a rule sees
            channels that could be pruned; the message names the layers, all of them, and what to exclude.
        ValueError: if ``exclude`` names no layer of the model, or one without channels.
    """
    modules = dict(model.named_modules())
    for layer in exclude:
        if layer not in modules:
            raise ValueError(f"exclude names {layer!r}, which is no layer of the model")
    arguments = example_input if isinstance(example_input, tuple) else (example_input,)
    state = random.getstate()
    devices = {t.device for t in (*model.parameters(), *flat_tensors(arguments)) if t.is_cuda}
    try:
        with torch.random.fork_rng(devices=[device.index or 0 for device in devices]):
            try:
                coupling, walk = _watch(_copy(model, without_storage=True), _without_storage(arguments))
            except Exception:  # numbers are read from values, or an operation has no shapes of its own
                try:
                    coupling, walk = _watch(_copy(model), copy.deepcopy(arguments))
                except Exception as error:
                    raise UnsupportedOperation(
                        f"{type(model).__name__} cannot be run: {type(error).__name__}: {error}"
                    ) from error
    finally:
        random.setstate(state)
    for layer in exclude:
        inside = [
            held.ids
            for (name, _), held in coupling.tensors.items()
            if name.startswith(f"{layer}.") and held.own
        ]
        if not inside and (not layer or not any(True for _ in modules[layer].parameters())):
            raise ValueError(f"exclude names {layer!r}, in which no layer's channels are followed")
        for ids in inside:
            coupling.keep(ids, "excluded")
    return collect(coupling, tuple(walk.steps), walk.alone.values())


def _watch(model: nn.Module, arguments: tuple[Any, ...]) -> tuple[Coupling, Walk]:
    """An eval pass, whose path counts, and a train pass, which may run more layers, where it could differ."""
    coupling = Coupling()
    walk = Walk(coupling, model.eval(), find_rule, own_rule)
    ids = walk.run(arguments, None)
    if not _unseen(model, walk.reached) and not any(map(_asks_for_mode, model.modules())):
        return coupling, walk
    training = Walk(coupling, model.train(), find_rule, own_rule)
    try:
        training.run(arguments, ids)
    except Exception as error:
        training = Walk(coupling, model, find_rule, own_rule)
        try:  # a BatchNorm over one value wants a second sample
            training.run(tuple(map(_doubled, arguments)), ids)
        except Exception:
            unseen = _unseen(model, walk.reached)
            if unseen:
                raise UnsupportedOperation(
                    f"layers {unseen} are not reached in eval mode, and the model cannot be run in train "
                    f"mode: {error}"
                ) from error
    walk.alone.update(training.alone)
    return coupling, walk


def _asks_for_mode(module: nn.Module) -> bool:
    """Whether a module's own code may do something else in training; PyTorch's layers keep their channels.

    Code outside of the module's class that asks is not seen: a rehearsal, in both modes, finds what it does.
    """
    return "forward" in vars(module) or _mentions_mode(type(module))  # type: ignore[arg-type]


@cache
def _mentions_mode(kind: type[nn.Module]) -> bool:
    own = [base for base in kind.__mro__ if not base.__module__.startswith(("torch.nn.", "builtins"))]
    held = [value for base in own for value in vars(base).values()]
    found = [getattr(value, name, value) for value in held for name in ("__func__", "fget")]
    codes = [code for value in found if isinstance(code := getattr(value, "__code__", None), CodeType)]
    while codes:
        code = codes.pop()
        if "training" in code.co_names or "training" in code.co_consts:
            return True
        codes += [inner for inner in code.co_consts if isinstance(inner, CodeType)]
    return False


def _unseen(model: nn.Module, reached: set[str]) -> list[str]:
    with_parameters = {
        name for name, module in model.named_modules() if list(module.parameters(recurse=False))
    }
    return sorted(with_parameters - reached)


def _doubled(argument: Any) -> Any:
    return torch.cat([argument, argument]) if isinstance(argument, Tensor) and argument.dim() else argument


def _copy(model: nn.Module, without_storage: bool = False) -> nn.Module:
    """A deep copy; without storage, its tensors have shapes and no values."""
    memo: dict[int, Any] = {}
    for module in model.modules():
        held = [*module._parameters.items(), *module._buffers.items(), *vars(module).items()]
        for tensor in (value for _, value in held if isinstance(value, Tensor)):
            if id(tensor) not in memo and (without_storage or not tensor.is_leaf):
                blank = (
                    torch.empty_like(tensor, device="meta") if without_storage else tensor.detach().clone()
                )
                kind = isinstance(tensor, nn.Parameter)
                memo[id(tensor)] = nn.Parameter(blank, tensor.requires_grad) if kind else blank
    if without_storage:
        memo |= {id(m): _leaf(m, memo) for m in model.modules() if m is not model and _is_plain(m)}
    return copy.deepcopy(model, memo)


def _is_plain(module: nn.Module) -> bool:
    """Whether it is a layer of PyTorch's of numbers and tensors, without hooks: most of a model."""
    held = vars(module)
    known = type(module).__module__.startswith("torch.nn.modules.") and not module._modules
    return known and all(
        value is None
        or isinstance(value, bool | int | float | str | tuple)
        or (isinstance(value, dict | set) and (not value or name in _TENSORS))
        for name, value in held.items()
    )


def _leaf(module: nn.Module, memo: dict[int, Any]) -> nn.Module:
    """A copy of a plain layer, with the tensors that stand for its own."""
    new = object.__new__(type(module))
    vars(new).update((n, copy.copy(v) if isinstance(v, dict | set) else v) for n, v in vars(module).items())
    for name in _TENSORS:
        own = vars(new)[name]
        own.update((key, memo[id(tensor)]) for key, tensor in own.items() if tensor is not None)
    return new


_TENSORS = ("_parameters", "_buffers")


def _without_storage(tree: Any) -> Any:
    if isinstance(tree, Tensor):
        return torch.empty_like(tree, device="meta")
    if isinstance(tree, tuple | list):
        parts = [_without_storage(item) for item in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    return {k: _without_storage(v) for k, v in tree.items()} if isinstance(tree, dict) else tree
