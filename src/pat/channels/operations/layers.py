"""What operations with parameters do to channels: convolutions, matrix products, normalisations."""

from dataclasses import replace

from torch import Tensor, nn

from pat.channels.coupling import Facet
from pat.channels.operations.op import Op, Rule


def _along(op: Op, tensor: Tensor | None, dim: int, why: str = "") -> Facet | None:
    """The labels along one dimension alone; with ``why``, other channels stay."""
    found = None
    for facet in op.facets(tensor):
        if facet.only(dim):
            found = facet
        elif why:
            op.keep(facet, why)
    return found


def _row(ids: Tensor, rank: int, dim: int) -> Facet:
    shape = [1] * rank
    shape[dim] = ids.numel()
    return Facet(ids.reshape(shape), True, dim if ids.numel() <= 1 else None)


def convolution(op: Op) -> list[Facet]:
    """Filters make channels out of others; a depthwise one scales each for itself."""
    value, weight, bias = op.args[:3]
    transposed, groups = op.args[6], op.args[8]
    coupling = op.walk.coupling
    for facet in op.facets(value):
        if not facet.only(1):
            op.across(facet, "convolves over channels")
            if op.walk.frames[-1].across:
                return []
    given = _along(op, value, 1)
    depthwise = groups > 1 and groups == value.shape[1]
    first = 1 if transposed and not depthwise else 0  # a depthwise weight has its channels in front
    made, read = _along(op, weight, first), _along(op, weight, 1 - first)
    if made is None or (depthwise and transposed and weight.shape[1] > 1):
        if given is not None:
            op.keep(given, "has a weight that does not follow the channels")
        return []
    out = made.ids.flatten()
    if depthwise:
        if given is None:
            coupling.keep(out, f"{op.where} reads channels that are not followed")
        else:
            ids = given.ids.flatten()
            coupling.join(out, ids.repeat_interleave(out.numel() // ids.numel()))
    else:
        out = _convolved(op, given, out, read, groups, transposed)
    layer = op.walk.produces(made.ids, convolution=True)
    low, high = op.walk.inputs
    if layer and given is not None and bool(((given.ids >= low) & (given.ids < high)).any()):
        coupling.stems.add(layer)
    if (shift := _along(op, bias, 0)) is not None:
        coupling.join(shift.ids.flatten(), out)
    return [_row(out, op.out.dim(), 1)]


def convolution_layer(op: Op) -> list[Facet]:
    """A convolution as a whole layer, whatever runs inside: normalised weights, no channels."""
    module, value = op.func, next(t for t in op.tensors if op.facets(t) or t.dim() > 2)
    rest = (module.stride, module.padding, module.dilation, module.transposed, 0, module.groups)
    args = (value, module.weight, module.bias, *rest)
    return convolution(Op(op.walk, op.func, "convolution", args, {}, op.out, [value]))


def _convolved(
    op: Op, given: Facet | None, out: Tensor, read: Facet | None, groups: int, transposed: bool
) -> Tensor:
    """Couple what a convolution reads with its weight, in every group the same; the labels of its outputs."""
    coupling = op.walk.coupling
    if groups > 1 and not transposed:
        coupling.join_along(out.reshape(groups, -1), 0)
    out = out.repeat(groups) if transposed else out
    if read is not None:
        op.walk.reads(read.ids)
    if given is None or read is None:
        for facet in (given, read):
            if facet is not None:
                op.keep(facet, "reads channels that are not followed")
        if groups > 1:
            coupling.keep(out, f"{op.where} reads channels that are not followed")
        return out
    if not op.walk.needs_zero(given):
        op.keep(given, "reads channels that are not zero when masked")
    ids, wanted = given.ids.flatten(), read.ids.flatten()
    if groups > 1:
        coupling.join_along(ids.reshape(groups, -1), 0)
        ids = ids if transposed else ids[: wanted.numel()]
    coupling.join(wanted, ids)
    return out


def product(op: Op) -> list[Facet]:
    """Matrix products: what is summed over goes together, and must be zero when masked."""
    with_bias = op.name in ("addmm", "baddbmm")
    first, second = op.args[1:3] if with_bias else op.args[:2]
    coupling, rank = op.walk.coupling, op.out.dim()
    kept: list[Facet] = []
    if first.dim() < 2 or second.dim() < 2:
        for tensor in (first, second):
            for facet in op.facets(tensor):
                op.keep(facet, "multiplies vectors")
        return []
    inner = first.dim() - 1, second.dim() - 2
    summed = [[f for f in op.facets(t) if d in f.dims] for t, d in zip((first, second), inner, strict=True)]
    left, right = summed
    simple = len(left) == len(right) == 1 and all(f.only(d) for (f,), d in zip(summed, inner, strict=True))
    if simple:
        coupling.join(left[0].ids.flatten(), right[0].ids.flatten())
        zero = False
        for facet in (left[0], right[0]):
            if facet.held:
                op.walk.reads(facet.ids)
            else:
                zero = zero or op.walk.needs_zero(facet)
        if not zero:
            op.keep(left[0], "reads channels that are not zero when masked")
    else:
        for facet in (*left, *right):
            op.keep(facet, "multiplies channels that are not followed in both")
    for tensor, gone in ((first, left), (second, right)):
        for facet in op.facets(tensor):
            if not any(facet is f for f in gone):
                kept.append(facet)
                if facet.held and facet.only(tensor.dim() - 1 if tensor is second else tensor.dim() - 2):
                    op.walk.produces(facet.ids, convolution=False)
    by_dims: dict[tuple[int, ...], Facet] = {}
    for facet in kept:
        known = by_dims.get(facet.dims)
        if known is None:
            by_dims[facet.dims] = facet
        else:
            coupling.join(known.ids, facet.ids)
    results = [replace(facet, held=False) for facet in by_dims.values()]
    if with_bias:
        for shift in op.facets(op.args[0]):
            aligned = shift.rank(rank)
            match = [f for f in results if f.dims == aligned.dims]
            if match:
                coupling.join(match[0].ids, aligned.ids)
    return results


def batch_norm(op: Op) -> list[list[Facet]]:
    """One scale and shift per channel."""
    value = op.args[0]
    given = _along(op, value, 1)
    for facet in op.facets(value):
        if facet is not given:
            op.across(facet, "normalises over channels")
    held = list(op.args[1:5])
    if given is None:
        for tensor in held:
            for facet in op.facets(tensor):
                op.keep(facet, "normalises channels that are not followed")
        return [[]]
    ids = given.ids.flatten()
    affine = held[0] is not None
    owned = False
    for i, tensor in enumerate(held):
        found = _along(op, tensor, 0) if isinstance(tensor, Tensor) else None
        if found is not None:
            op.walk.coupling.join(found.ids.flatten(), ids)
            owner = op.walk.coupling.owner(found.ids)
            if owner is not None and (i == 3 or (i == 2 and affine)):
                op.walk.coupling.tensors[owner].own = False
            if owner is not None and not owned:
                owned = True
                norm(op, owner[0].rpartition(".")[0], op.walk.coupling.tensors[owner].ids)
        elif isinstance(tensor, Tensor):
            op.keep(given, "has statistics that do not follow the channels")
            return [[]]
    if not owned and op.walk.frames[-1].name:
        norm(op, op.walk.frames[-1].name, ids)
    return [[replace(given, zero=True, if_alone=frozenset()) if affine else given], [], []]


def norm(op: Op, layer: str, ids: Tensor) -> None:
    """Note a layer with one scale per channel."""
    if not isinstance(op.walk.frames[-1].module, nn.modules.conv._ConvNd):  # which normalises its weight
        op.walk.coupling.join(op.walk.coupling.norms.setdefault(layer, ids), ids)


def layer_norm(op: Op) -> list[list[Facet]]:
    """Over channels, those kept count alone; over other dimensions each channel is for itself."""
    value, shape = op.args[0], op.args[1]
    results = []
    for facet in op.facets(value):
        if any(d >= value.dim() - len(shape) for d in facet.dims):
            op.across(facet, "normalises over channels")
        else:
            results.append(replace(facet, zero=facet.zero and op.args[3] is None))
    return [results, [], []]


def group_norm(op: Op) -> list[list[Facet]]:
    """Whole groups of channels go together; where there is one group, those kept count alone."""
    value, weight, bias, groups = op.args[0], op.args[1], op.args[2], op.args[6]
    given = _along(op, value, 1, "normalises channels in another dimension")
    if given is None:
        return [[], [], []]
    if groups == 1:
        op.across(given, "normalises over channels")
        return [[], [], []]
    ids = given.ids.flatten()
    op.walk.coupling.join_along(ids.reshape(groups, -1), 1)
    for tensor in (weight, bias):
        if (found := _along(op, tensor, 0)) is not None:
            op.walk.coupling.join(found.ids.flatten(), ids)
    op.walk.coupling.grouped[op.walk.frames[-1].name] = ids
    return [[replace(given, zero=True, if_alone=frozenset()) if weight is not None else given], [], []]


LAYERS: dict[str, Rule] = {
    "convolution": convolution,
    **dict.fromkeys(("mm", "bmm", "addmm", "baddbmm"), product),
    **dict.fromkeys(
        (
            "native_batch_norm",
            "_native_batch_norm_legit",
            "_native_batch_norm_legit_no_training",
            "cudnn_batch_norm",
            "_batch_norm_with_update",
            "_batch_norm_no_update",
        ),
        batch_norm,
    ),
    "native_layer_norm": layer_norm,
    "native_group_norm": group_norm,
}
