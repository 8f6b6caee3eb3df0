"""What elementwise operations do to channels: entries that meet are coupled.

They need no table: whether an operation keeps zeros at zero is tried out on numbers.
"""

from dataclasses import replace
from functools import cache
from typing import Any

import torch
from torch import Tensor

from pat.channels.coupling import Facet
from pat.channels.operations.op import Op, flat_tensors


def elementwise(op: Op) -> list[Facet]:
    """Arithmetic: entries that meet are coupled; zero where the operation makes zero of zeros."""
    rank = op.out.dim()
    merged: dict[tuple[int, ...], Facet] = {}
    holders: dict[tuple[int, ...], set[int]] = {}
    zeros: dict[tuple[int, ...], set[int]] = {}
    needs: dict[tuple[int, ...], dict[int, frozenset[str]]] = {}
    for i, tensor in enumerate(op.tensors):
        for facet in op.facets(tensor):
            known = facet.rank(rank)
            dims = known.dims
            if any(op.out.shape[d] != known.ids.shape[d] for d in dims):
                op.keep(known, "spreads one channel over others")
                continue
            if overlap := [other for other in merged if other != dims and set(other) & set(dims)]:
                for other in overlap:
                    op.keep(merged.pop(other), "combines channels that are arranged in different ways")
                op.keep(known, "combines channels that are arranged in different ways")
                continue
            if dims in merged:
                op.walk.coupling.join(merged[dims].ids, known.ids)
            else:
                merged[dims], holders[dims], zeros[dims], needs[dims] = known, set(), set(), {}
            holders[dims].add(i)
            if known.zero:
                zeros[dims].add(i)
                needs[dims][i] = known.if_alone
    out = []
    for dims, facet in merged.items():
        loose = [t for i, t in enumerate(op.tensors) if i not in holders[dims] and _extends(t, dims, rank)]
        if loose and facet.ids.numel() > 1:
            op.keep(
                facet, "combines channels with a tensor that is written in the code or does not follow them"
            )
        else:
            plain = {i for i in zeros[dims] if not needs[dims][i]}
            zero = _vanishes(op, plain)
            if_alone: frozenset[str] = frozenset()
            if not zero and len(plain) < len(zeros[dims]):
                zero = _vanishes(op, zeros[dims])
                if_alone = frozenset().union(*needs[dims].values()) if zero else if_alone
            held = all(f.held for t in op.tensors for f in op.facets(t))
            out.append(replace(facet, zero=zero, held=held, if_alone=if_alone))
    return out


def _extends(tensor: Tensor, dims: tuple[int, ...], rank: int) -> bool:
    more = rank - tensor.dim()
    return any(d >= more and tensor.shape[d - more] > 1 and tensor.stride(d - more) != 0 for d in dims)


def _vanishes(op: Op, zeros: set[int]) -> bool:
    """Whether the result is zero wherever these tensors are."""
    if not zeros:
        return False
    zero = tuple(i in zeros for i in range(len(op.tensors)))
    kinds = tuple(t.dtype for t in op.tensors)
    key = repr((_plain(op.args), _plain(op.kwargs)))
    return _try_out(op.func, zero, kinds, key, _Hidden((op.args, op.kwargs)))


class _Hidden:
    """Arguments that a cache does not look at."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Hidden)

    def __hash__(self) -> int:
        return 0


def _plain(tree: Any) -> Any:
    if isinstance(tree, Tensor):
        return "tensor"
    if isinstance(tree, tuple | list):
        return [_plain(item) for item in tree]
    return {k: _plain(v) for k, v in tree.items()} if isinstance(tree, dict) else tree


@cache
def _try_out(func: Any, zero: tuple[bool, ...], kinds: tuple[Any, ...], key: str, call: _Hidden) -> bool:
    samples = iter(
        torch.zeros(3, dtype=kind) if is_zero else torch.tensor([0.7, -1.3, 2.9]).to(kind)
        for is_zero, kind in zip(zero, kinds, strict=True)
    )

    def put(tree: Any) -> Any:
        if isinstance(tree, Tensor):
            return next(samples)
        if isinstance(tree, tuple | list):
            return type(tree)(put(item) for item in tree)
        return {k: put(v) for k, v in tree.items()} if isinstance(tree, dict) else tree

    args, kwargs = put(call.value[0]), put(call.value[1])
    kwargs.pop("device", None)
    try:
        return all(not bool(t.any()) for t in flat_tensors(func(*args, **kwargs)))
    except Exception:  # an operation that does not take these numbers is not known to keep zeros
        return False


def same(op: Op) -> list[Facet]:
    """Another type, memory format or padding of the same entries."""
    return op.facets(op.tensors[0])


def random(op: Op) -> list[Facet]:
    """Entries of their own, as many as the argument has."""
    return [replace(f, zero=False) for f in op.facets(op.tensors[0]) if f.ids.dim() == op.out.dim()]


def filled(op: Op) -> list[Facet]:
    """``zeros_like`` and the like."""
    zero = "zero" in op.name or (op.name in ("fill", "full_like") and op.args[1] == 0)
    same_shape = op.out.shape == op.tensors[0].shape
    return [replace(f, zero=zero) for f in op.facets(op.tensors[0])] if same_shape else []


def copied(op: Op) -> list[Facet]:
    """``a.copy_(b)``: a has b's channels, which are a's."""
    here, there = op.tensors[0], op.tensors[1]
    known = op.facets(here)
    return elementwise(replace_op(op, [here, there], keep=1)) if known else op.facets(there)


def replace_op(op: Op, tensors: list[Tensor], keep: int) -> Op:
    """The same operation as a sum of its tensors, for joining their labels."""
    func = torch.ops.aten.add.Tensor
    return Op(op.walk, func, op.name, tuple(tensors), {}, op.out, tensors)
