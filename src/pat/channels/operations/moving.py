"""What operations that move entries do to channels: they are run on the labels themselves."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from pat.channels.coupling import Facet
from pat.channels.operations.op import Op, flat_tensors


def compact(ids: Tensor) -> Tensor:
    """Size 1 along dimensions where the label does not change."""
    for dim in range(ids.dim()):
        if ids.shape[dim] > 1 and ids.stride(dim) == 0:
            ids = ids.narrow(dim, 0, 1)
    for dim in range(ids.dim()):
        if ids.shape[dim] > 1 and bool((ids == ids.narrow(dim, 0, 1)).all()):
            ids = ids.narrow(dim, 0, 1)
    return ids


def moved(op: Op) -> list[Facet] | list[list[Facet]]:
    """An operation that only moves entries moves their labels likewise."""
    source = op.tensors[0]
    outs = op.out if isinstance(op.out, tuple | list) else [op.out]
    results: list[list[Facet]] = [[] for _ in outs]
    for facet in op.facets(source):
        if why := _cannot_move(op, facet):
            op.keep(facet, why)
            continue
        if facet.ids.numel() == 1 or op.name in ("index", "index_select", "gather", "unfold"):
            dim = _follow(op, source, facet.dims[0]) if len(facet.dims) == 1 else None
            if dim is None:
                op.keep(facet, "rearranges channels")
                continue
            for i, out in enumerate(outs):
                shape = [1] * out.dim()
                shape[dim] = facet.ids.numel()
                home = dim if facet.ids.numel() == 1 else None
                results[i].append(replace(facet, ids=facet.ids.reshape(shape), home=home))
            continue
        if "channel_shuffle" in op.name:
            op.walk.coupling.join_along(facet.ids.reshape(op.args[1], -1), 0)
        parts = _moved_labels(op, facet.ids, source, outs)
        if op.name.startswith("split") or op.name == "slice":
            parts = _equal_parts(op, facet, parts)
        for i, part in enumerate(parts):
            if found := _rectangular(op, replace(facet, ids=part), outs[i]):
                results[i].append(found)
    return results if isinstance(op.out, tuple | list) else results[0]


def _moved_labels(op: Op, ids: Tensor, source: Tensor, outs: Any) -> list[Tensor]:
    if op.name in ("view", "_unsafe_view", "reshape", "_reshape_alias"):  # of labels, a copy at times
        shape = outs[0].shape
        if ids.shape[0] == 1 and shape and shape[0] == source.shape[0]:  # without the batch
            return [compact(ids.expand(1, *source.shape[1:]).reshape(1, *shape[1:]))]
        return [compact(ids.expand(source.shape).reshape(shape))]
    parts = op.func(ids.expand(source.shape), *op.args[1:], **op.kwargs)
    return [compact(part) for part in (parts if isinstance(parts, tuple | list) else [parts])]


def _follow(op: Op, source: Tensor, dim: int) -> int | None:
    """Where a dimension goes: where one that is longer by two would."""
    shape = list(source.shape)
    shape[dim] += 2
    args = [torch.empty_like(a, device="meta") if isinstance(a, Tensor) else a for a in op.args[1:]]
    if op.name == "index":
        args = [[None if i is None else torch.empty_like(i, device="meta") for i in op.args[1]]]
    try:
        probe = op.func(torch.empty(shape, device="meta"), *args, **op.kwargs)
    except (RuntimeError, IndexError):
        return None
    out = op.out[0] if isinstance(op.out, tuple | list) else op.out
    probe = probe[0] if isinstance(probe, tuple | list) else probe
    if probe.dim() != out.dim():
        return None
    differ = [d for d in range(out.dim()) if probe.shape[d] != out.shape[d]]
    return differ[0] if len(differ) == 1 and probe.shape[differ[0]] == shape[dim] else None


def _cannot_move(op: Op, facet: Facet) -> str:
    """Why an operation would do something else to fewer channels."""
    rank = op.tensors[0].dim()
    if op.name in ("select", "unbind"):
        dim = (op.args[1] if len(op.args) > 1 else op.kwargs.get("dim", 0)) % rank
        return "takes single channels by their number" if dim in facet.dims else ""
    if op.name in ("index", "index_select", "gather", "roll", "unfold", "im2col", "col2im", "diagonal"):
        if op.name == "index":
            touched = {d for d, index in enumerate(op.args[1]) if index is not None}
        elif op.name == "roll":
            touched = {d % rank for d in (op.args[2] if len(op.args) > 2 else range(rank))}
        elif op.name in ("im2col", "col2im", "diagonal"):
            touched = set(range(rank))
        else:
            touched = {op.args[1] % rank}
        return "takes channels by their numbers" if touched & set(facet.dims) else ""
    return ""


def _equal_parts(op: Op, facet: Facet, parts: list[Tensor]) -> list[Tensor]:
    """Chunks: as many channels stay in each. Parts whose sizes are written in the code stay whole."""
    dim = (op.args[2] if len(op.args) > 2 else 0) if op.name.startswith("split") else op.args[1]
    dim %= op.tensors[0].dim()
    total = op.tensors[0].shape[dim]
    size = parts[0].shape[dim]
    if dim not in facet.dims or size in (0, total):
        return parts
    sizes = {out.shape[dim] for out in flat_tensors(op.out)}
    numbers = op.walk.literals - ({0} if op.name == "slice" else set())
    step = op.name == "slice" and len(op.args) > 4 and op.args[4] != 1
    bounds = (
        {n % total for n in op.args[2:4] if isinstance(n, int) and 0 < n < total}
        if op.name == "slice"
        else sizes
    )
    if facet.dims != (dim,) or len(sizes) > 1 or total % size or step or numbers & (bounds | sizes):
        op.keep(facet, "takes a part whose size is written in the code")
        return [part.narrow(0, 0, 0) for part in parts]
    op.walk.used.update(map(id, op.walk.counts))
    row = op.walk.coupling.join_along(facet.ids.reshape(total // size, size), 0)
    shape = [1] * facet.ids.dim()
    shape[dim] = size
    return [row.reshape(shape) for _ in parts]


def _rectangular(op: Op, facet: Facet, out: Tensor) -> Facet | None:
    """After a removal the value must still be a box: of the dimensions that hold channels one may shrink."""
    if facet.ids.numel() == 0:
        return None
    if op.name not in ("view", "_unsafe_view", "reshape", "expand", "pixel_shuffle"):
        return facet
    dims = facet.dims
    if op.name == "pixel_shuffle":
        ids = facet.ids
        for dim in range(out.dim() - 2, out.dim()):
            ids = op.walk.coupling.join_along(ids, dim)
        return replace(facet, ids=ids)
    free = [d for d in dims if op.follows(out.shape[d], d, facet.held)]
    if len(free) != 1:
        op.keep(
            facet, "has the number of its channels written into it" if not free else "splits its channels"
        )
        return None
    ids = facet.ids
    for dim in dims:
        if dim != free[0]:
            ids = op.walk.coupling.join_along(ids, dim)
    for count in op.walk.counts:
        if count == out.shape[free[0]]:
            op.walk.used.add(id(count))
            op.walk.coupling.same_count(count.source, ids, f"{op.where} has the number of other channels")
    return replace(facet, ids=ids)


def concatenated(op: Op) -> list[Facet]:
    """Parts in a row; those without channels stay whole."""
    parts = op.args[0]
    dim = (op.args[1] if len(op.args) > 1 else op.kwargs.get("dim", 0)) % op.out.dim()
    new = op.name == "stack"
    used = [p for p in parts if p.dim() == parts[-1].dim()]
    labels: dict[tuple[int, ...], list[Facet | None]] = {}
    for i, part in enumerate(used):
        for facet in op.facets(part):
            dims = facet.dims
            labels.setdefault(dims, [None] * len(used))[i] = facet
    results = []
    for dims, row in labels.items():
        known = [f for f in row if f is not None]
        if new or dim not in dims:
            if len(known) < len(used) and any(f.ids.numel() > 1 for f in known):
                for facet in known:
                    op.keep(facet, "combines channels with values that do not follow them")
                continue
            for facet in known[1:]:
                op.walk.coupling.join(known[0].ids, facet.ids)
            ids, home = known[0].ids, known[0].home
            if new:
                ids = ids.unsqueeze(dim)
                home = None if home is None else home + (home >= dim)
            results.append(_together(known, ids, home))
        elif dims == (dim,):
            rows = []
            for part, found in zip(used, row, strict=True):
                shape = [1] * part.dim()
                shape[dim] = part.shape[dim]
                if found is None:
                    own = op.walk.coupling.new(part.shape[dim])
                    op.walk.coupling.keep(own, "no layer makes them")
                    rows.append(own.reshape(shape))
                else:
                    rows.append(found.ids)
            results.append(_together(known, torch.cat(rows, dim), None))
        else:
            for facet in known:
                op.keep(facet, "concatenates channels that are spread over several dimensions")
    return results


def _together(parts: list[Facet], ids: Tensor, home: int | None) -> Facet:
    needs = frozenset[str]().union(*(f.if_alone for f in parts))
    return Facet(ids, all(f.zero for f in parts), home, all(f.held for f in parts), needs)


def padded(op: Op) -> list[Facet]:
    """Entries around: those beside the channels stay."""
    widths = op.args[1]
    value = op.args[2] if len(op.args) > 2 else 0
    rank = op.out.dim()
    results = []
    for facet in op.facets(op.tensors[0]):
        around = {rank - 1 - i // 2: widths[i : i + 2] for i in range(0, len(widths), 2)}
        padded_dims = {d for d, (a, b) in around.items() if a or b}
        if not padded_dims & set(facet.dims):
            results.append(replace(facet, zero=facet.zero and value == 0))
        elif len(facet.dims) == 1:
            (dim,) = facet.dims
            first, last = around[dim]
            if first < 0 or last < 0:
                op.keep(facet, "cuts channels off by their numbers")
                continue
            own = op.walk.coupling.new(first + last)
            op.walk.coupling.keep(own, "no layer makes them")
            shape = [1] * rank
            shape[dim] = -1
            row = torch.cat([own[:first], facet.ids.flatten(), own[first:]])
            results.append(replace(facet, ids=row.reshape(shape), home=None))
        else:
            op.keep(facet, "pads channels that are spread over several dimensions")
    return results
