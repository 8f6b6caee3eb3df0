"""The Python calls behind operations: which numbers are written in the code, and which are counted."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from pat.channels.operations.op import Count, Op, Share, counted, flat_tensors, numbers


class Calls(TorchFunctionMode):
    """Sees the Python call behind operations: which numbers are written in the code, and which counted."""

    def __init__(self, walk: Any) -> None:
        super().__init__()
        self.walk = walk

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        walk, name = self.walk, getattr(func, "__name__", "")
        if func == _SHAPE or name == "size":
            return self._size(func(*args, **kwargs), args, kwargs, func)
        if "dropout" in name:  # a factor of its own for every entry: nothing to follow, no random number
            return args[0] if args else kwargs["input"]
        given = list(numbers((args, kwargs)))
        walk.counts, walk.used = [n for n in given if isinstance(n, Count | Share)], set()
        counted = set(map(id, walk.counts))
        walk.literals = {n for n in given if id(n) not in counted} if name != "chunk" else set()
        walk.sizes = list(numbers(args[1:])) if name in ("view", "reshape", "expand") else []
        if name == "multi_head_attention_forward":
            for tensor in flat_tensors(args[:3]):
                for facet in walk.facets(tensor):
                    walk.coupling.keep(facet.ids, "an attention has its width written into it")
        rule = walk.own_rule(func) or (walk.own_rule(name) if not isinstance(func, type) else None)
        if rule is None:
            out = func(*args, **kwargs)
        else:
            frame = replace(walk.frames[-1], rule=rule)
            walk.frames.append(frame)
            try:
                out = func(*args, **kwargs)
                tensors = list(flat_tensors((args, kwargs)))
                op = Op(walk, func, name, args, kwargs, out, tensors)
                if isinstance(out, Tensor) and any(walk.facets(t) for t in tensors):
                    walk.set(out, list(rule(op)))
            finally:
                walk.frames.pop()
        for count in walk.counts:
            if id(count) not in walk.used and "conv" not in name and not walk.suspended:
                walk.coupling.keep(
                    count.source, f"{name} in layer {walk.frames[-1].name!r} uses their number"
                )
        walk.counts, walk.literals, walk.sizes = [], set(), []
        return out

    def _size(self, size: Any, args: Any, kwargs: Any, func: Any) -> Any:
        tensor = args[0]
        along = {f.dims[0]: f.ids for f in self.walk.facets(tensor) if len(f.dims) == 1}
        if not along:
            return size
        whole = isinstance(size, torch.Size)
        if whole:
            return torch.Size(counted(n, along[d]) if d in along else n for d, n in enumerate(size))
        dim = (args[1] if len(args) > 1 else kwargs["dim"]) % tensor.dim()
        return counted(size, along[dim]) if dim in along else size


_SHAPE = Tensor.shape.__get__  # type: ignore[attr-defined]
