"""What functions of tensors do to channels: arithmetic, reductions, concatenation, views."""

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from pat.channels.coupling import Channels, Opaque, Value
from pat.channels.operations import Call, keeps_zero, no_rule


def conversion(call: Call) -> Value | None:
    """Another type or device, perhaps that of a second value."""
    return call.input if call.input is not None else no_rule(call)


def product(call: Call) -> Value | None:
    return _binary(call, any)


def quotient(call: Call) -> Value | None:
    if any(isinstance(v, Channels | Opaque) for v in call.args[1:]):
        return call.whole("divides by channels that may be zero")
    return _binary(call, any)


def total(call: Call) -> Value | None:
    total = _binary(call, all)
    scalars = [a for a in call.concrete_args[:2] if isinstance(a, int | float)]
    if isinstance(total, Channels) and any(scalar != 0 for scalar in scalars):
        return replace(total, zero=False)
    return total


def _binary(call: Call, zero: Callable[[Iterable[bool]], bool]) -> Value | None:
    """Addition or product of two tensors: channels that meet are coupled."""
    operands = list(zip(call.args[:2], call.concrete_args[:2], strict=False))
    tensors = [(value, c) for value, c in operands if isinstance(c, Tensor)]
    if any(isinstance(value, Opaque) for value, _ in tensors):
        return call.whole("combines channels with a value in which channels are mixed")
    known = [(value, c) for value, c in tensors if isinstance(value, Channels)]
    if not known:
        return None
    first, concrete = known[0]
    from_right = concrete.dim() - first.dim
    size = call.result.shape[call.result.dim() - from_right]
    result = None
    for value, operand in tensors:
        if value is None:  # a constant: the same for all channels, or tied to them all
            extent = operand.shape[-from_right] if operand.dim() >= from_right else 1
            if extent != 1:
                return call.whole("combines channels with a tensor whose channels are unknown")
        elif operand.dim() - value.dim != from_right:
            return call.whole("combines values whose channels stand in different dimensions")
        elif value.ids.numel() != size:  # one channel spread over all
            call.coupling.pin(value.ids)
        elif result is None:
            result = value
        else:
            call.coupling.join(result.ids, value.ids)
    if result is None:
        return call.whole("spreads single channels over each other")
    same = [v for v, _ in known if v.ids.numel() == size]
    masked = zero([v.zero for v in same] + [False] * (len(tensors) - len(same)))
    return Channels(result.ids, call.result.dim() - from_right, masked)


def reduction(call: Call) -> Value | None:
    """A mean or sum over dimensions that are not the channels'."""
    value = call.input
    if value is None:
        return no_rule(call)
    rank = len(call.shape)
    dims = call.argument(1, "dim")
    keepdim = call.argument(2, "keepdim", False)
    if dims is None:
        return call.whole("reduces over the channels")
    reduced = {d % rank for d in ([dims] if isinstance(dims, int) else dims)}
    if value.dim in reduced:
        return call.whole("reduces over the channels")
    shift = 0 if keepdim else sum(d < value.dim for d in reduced)
    return replace(value, dim=value.dim - shift)


def normalize(call: Call) -> Value | None:
    """F.normalize: a masked channel adds nothing to a p-norm."""
    return keeps_zero(call)


def pad(call: Call) -> Value | None:
    value = call.input
    if value is None:
        return no_rule(call)
    widths, fill = call.argument(1, "pad"), call.argument(3, "value", 0)
    if len(widths) // 2 >= len(call.shape) - value.dim:
        return call.whole("pads the channels")
    return value if fill in (0, None) else replace(value, zero=False)


def concatenation(call: Call) -> Value | None:
    parts, concrete = call.args[0], call.concrete_args[0]
    if not call.values:
        return None
    if not isinstance(parts, tuple | list):
        return call.whole("concatenates the parts of one value")
    dim = int(call.argument(1, "dim", 0)) % concrete[0].dim()
    known = [p for p in parts if isinstance(p, Channels)]
    if len(known) < len(parts) or len({p.dim for p in known}) > 1:
        return call.whole("concatenates values whose channels are mixed or in different dimensions")
    zero = all(p.zero for p in known)
    if known[0].dim == dim:
        return Channels(torch.cat([p.ids for p in known]), dim, zero)
    for part in known[1:]:
        call.coupling.join(known[0].ids, part.ids)
    return replace(known[0], zero=zero)


def reshape(call: Call) -> Value | None:
    """View, reshape or flatten: the channels keep a dimension of their own or swallow what follows them."""
    value = call.input
    if value is None:
        return no_rule(call)
    before, after = list(call.shape), list(call.result.shape)
    outer = math.prod(before[: value.dim])
    size = before[value.dim]
    for dim, extent in enumerate(after):
        if math.prod(after[:dim]) == outer and size > 0 and extent % size == 0 and extent > 0:
            if call.node.target not in (torch.flatten, "flatten") and _is_literal(call, dim):
                return call.whole(f"has the number {extent} of its channels written into it")
            return Channels(value.ids.repeat_interleave(extent // size), dim, value.zero)
    return call.whole("splits or mixes the channels")


def _is_literal(call: Call, dim: int) -> bool:
    """Whether a view's size at ``dim`` is a number in the model's code, and not computed or -1."""
    sizes: Any = call.node.args[1:] if len(call.node.args) > 1 else call.node.kwargs.get("shape", ())
    if len(sizes) == 1 and isinstance(sizes[0], tuple | list):
        sizes = sizes[0]
    return dim < len(sizes) and isinstance(sizes[dim], int) and sizes[dim] != -1


def permutation(call: Call) -> Value | None:
    value = call.input
    if value is None:
        return no_rule(call)
    order = call.concrete_args[1:] or (call.concrete_kwargs.get("dims"),)
    if len(order) == 1 and isinstance(order[0], tuple | list):
        order = tuple(order[0])
    rank = len(call.shape)
    return replace(value, dim=[d % rank for d in order].index(value.dim))


def transposition(call: Call) -> Value | None:
    value = call.input
    if value is None:
        return no_rule(call)
    rank = len(call.shape)
    a, b = call.argument(1, "dim0") % rank, call.argument(2, "dim1") % rank
    return replace(value, dim={a: b, b: a}.get(value.dim, value.dim))


def squeeze(call: Call) -> Value | None:
    value = call.input
    dim = call.argument(1, "dim")
    if value is None or not isinstance(dim, int):
        return no_rule(call)
    dim %= len(call.shape)
    if call.shape[dim] != 1:
        return value
    if dim == value.dim:
        return call.whole("removes the channels' dimension")
    return replace(value, dim=value.dim - (dim < value.dim))


def unsqueeze(call: Call) -> Value | None:
    value = call.input
    if value is None:
        return no_rule(call)
    dim = call.argument(1, "dim") % (len(call.shape) + 1)
    return replace(value, dim=value.dim + (dim <= value.dim))


def item(call: Call) -> Value | None:
    """Indexing: an element of a tuple, or a part of a tensor that has all its channels."""
    container, index = call.args[0], call.concrete_args[1]
    if isinstance(container, tuple | list | dict):
        return container[index]  # type: ignore[no-any-return]
    value = call.input
    if value is None:
        return no_rule(call)
    before, after = 0, 0  # dimensions of the tensor and of its part that the index has passed
    for i in index if isinstance(index, tuple) else (index,):
        if not (i is None or isinstance(i, slice | int)):
            return call.whole("takes some of the channels")
        if i is not None and before == value.dim:
            return replace(value, dim=after) if i == slice(None) else call.whole("takes some of the channels")
        before += i is not None
        after += not isinstance(i, int)
    return replace(value, dim=value.dim - before + after)


def no_channels(call: Call) -> Value | None:
    """A size, a device, a dtype: a number that is recomputed after a removal."""
    if isinstance(call.result, Tensor) and call.values:
        return call.whole("takes an attribute that is itself a tensor")
    return None
