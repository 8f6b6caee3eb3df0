"""What each operation does to channels: one rule per kind of operation that may stand in a traced model.

An operation without a rule is accepted only where all the channels it sees have to stay anyway (as between
a detection head and the model's output); elsewhere :class:`UnsupportedOperation` names its node. Between a
masked channel and its consumer a rule must either keep zeros at zero or say that it does not.
"""

import math
import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from pat.coupling import Channels, Coupling, Opaque, Value, all_ids

Target = type[nn.Module] | Callable[..., Any] | str


@dataclass(frozen=True)
class Call:
    """One node of the trace as a rule sees it.

    Attributes:
        coupling: the channels' labels.
        node: the node, for its name and its literal arguments.
        layer: qualified name of the module called, or an empty string.
        module: the module called, or None.
        args, kwargs: arguments with every traced tensor replaced by its :class:`Value` (None: no channels).
        concrete_args: the arguments as they were in the example's forward pass.
        result: the result in the example's forward pass.
    """

    coupling: Coupling
    node: fx.Node
    layer: str
    module: nn.Module | None
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    concrete_args: tuple[Any, ...]
    concrete_kwargs: dict[str, Any]
    result: Any

    @property
    def values(self) -> list[Value]:
        """All values among the arguments, nested ones included."""
        return list(find_values((self.args, self.kwargs)))

    @property
    def input(self) -> Channels | None:
        """The first argument, where its channels are known."""
        first = self.args[0] if self.args else next(iter(self.kwargs.values()), None)
        return first if isinstance(first, Channels) else None

    @property
    def shape(self) -> torch.Size:
        """Shape of the first argument."""
        first = self.concrete_args[0] if self.concrete_args else None
        if first is None:
            first = next(iter(self.concrete_kwargs.values()))
        return first.shape  # type: ignore[no-any-return]

    def argument(self, position: int, name: str, default: Any = None) -> Any:
        """A concrete argument by position or keyword."""
        if len(self.concrete_args) > position:
            return self.concrete_args[position]
        return self.concrete_kwargs.get(name, default)

    def whole(self, why: str) -> Opaque:
        """Every channel among the arguments has to stay, because of ``why``."""
        ids = torch.unique(all_ids(self.values))
        what = f"{self.node.op} {self.node.target!s}"
        if self.module is not None:
            what += f" ({type(self.module).__name__})"
        problem = (
            f"node {self.node.name!r} ({what}) {why}; exclude the layers before it, "
            "or register a rule with pat.channels.register"
        )
        self.coupling.require_whole(ids, problem)
        return Opaque(ids)


Rule = Callable[[Call], Value | None]


def find_values(tree: Any) -> Iterable[Value]:
    """All channel values in nested tuples, lists and dicts."""
    if isinstance(tree, Channels | Opaque):
        yield tree
    elif isinstance(tree, dict):
        for item in tree.values():
            yield from find_values(item)
    elif isinstance(tree, tuple | list):
        for item in tree:
            yield from find_values(item)


# --- elementwise and spatial operations -------------------------------------------------------------------


def keeps_zero(call: Call) -> Value | None:
    """One value in, the same channels out, f(0) = 0."""
    return call.input if call.input is not None and len(call.values) == 1 else _no_rule(call)


def elementwise(call: Call) -> Value | None:
    """One value in, the same channels out, f(0) != 0 (a sigmoid): usable only as a factor of a product."""
    value = keeps_zero(call)
    return replace(value, zero=False) if isinstance(value, Channels) else value


def _conversion(call: Call) -> Value | None:
    """Another type or device, perhaps that of a second value."""
    return call.input if call.input is not None else _no_rule(call)


def unknown(call: Call) -> Value | None:
    """An operation without a rule."""
    return _no_rule(call)


def _no_rule(call: Call) -> Value | None:
    return call.whole("has no rule for following channels") if call.values else None


def _product(call: Call) -> Value | None:
    return _binary(call, any)


def _quotient(call: Call) -> Value | None:
    if any(isinstance(v, Channels | Opaque) for v in call.args[1:]):
        return call.whole("divides by channels that may be zero")
    return _binary(call, any)


def _sum(call: Call) -> Value | None:
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


def _reduction(call: Call) -> Value | None:
    """A mean or sum over dimensions that are not the channels'."""
    value = call.input
    if value is None:
        return _no_rule(call)
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


def _normalize(call: Call) -> Value | None:
    """F.normalize: a masked channel adds nothing to a p-norm."""
    return keeps_zero(call)


def _pad(call: Call) -> Value | None:
    value = call.input
    if value is None:
        return _no_rule(call)
    widths, fill = call.argument(1, "pad"), call.argument(3, "value", 0)
    if len(widths) // 2 >= len(call.shape) - value.dim:
        return call.whole("pads the channels")
    return value if fill in (0, None) else replace(value, zero=False)


def _concatenation(call: Call) -> Value | None:
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


# --- operations on shapes ---------------------------------------------------------------------------------


def _reshape(call: Call) -> Value | None:
    """View, reshape or flatten: the channels keep a dimension of their own or swallow what follows them."""
    value = call.input
    if value is None:
        return _no_rule(call)
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


def _permutation(call: Call) -> Value | None:
    value = call.input
    if value is None:
        return _no_rule(call)
    order = call.concrete_args[1:] or (call.concrete_kwargs.get("dims"),)
    if len(order) == 1 and isinstance(order[0], tuple | list):
        order = tuple(order[0])
    rank = len(call.shape)
    return replace(value, dim=[d % rank for d in order].index(value.dim))


def _transposition(call: Call) -> Value | None:
    value = call.input
    if value is None:
        return _no_rule(call)
    rank = len(call.shape)
    a, b = call.argument(1, "dim0") % rank, call.argument(2, "dim1") % rank
    return replace(value, dim={a: b, b: a}.get(value.dim, value.dim))


def _squeeze(call: Call) -> Value | None:
    value = call.input
    dim = call.argument(1, "dim")
    if value is None or not isinstance(dim, int):
        return _no_rule(call)
    dim %= len(call.shape)
    if call.shape[dim] != 1:
        return value
    if dim == value.dim:
        return call.whole("removes the channels' dimension")
    return replace(value, dim=value.dim - (dim < value.dim))


def _unsqueeze(call: Call) -> Value | None:
    value = call.input
    if value is None:
        return _no_rule(call)
    dim = call.argument(1, "dim") % (len(call.shape) + 1)
    return replace(value, dim=value.dim + (dim <= value.dim))


def _item(call: Call) -> Value | None:
    """Indexing: an element of a tuple, or a part of a tensor that has all its channels."""
    container, index = call.args[0], call.concrete_args[1]
    if isinstance(container, tuple | list | dict):
        return container[index]  # type: ignore[no-any-return]
    value = call.input
    if value is None:
        return _no_rule(call)
    before, after = 0, 0  # dimensions of the tensor and of its part that the index has passed
    for i in index if isinstance(index, tuple) else (index,):
        if not (i is None or isinstance(i, slice | int)):
            return call.whole("takes some of the channels")
        if i is not None and before == value.dim:
            return replace(value, dim=after) if i == slice(None) else call.whole("takes some of the channels")
        before += i is not None
        after += not isinstance(i, int)
    return replace(value, dim=value.dim - before + after)


def _no_channels(call: Call) -> Value | None:
    """A size, a device, a dtype: a number that is recomputed after a removal."""
    if isinstance(call.result, Tensor) and call.values:
        return call.whole("takes an attribute that is itself a tensor")
    return None


# --- layers -----------------------------------------------------------------------------------------------


def convolution(call: Call) -> Value | None:
    conv, value, coupling = call.module, call.input, call.coupling
    assert isinstance(conv, nn.modules.conv._ConvNd)
    if not _holds_weight(conv):
        return call.whole("computes its weight from other parameters")
    if call.result.dim() != conv.weight.dim():
        return call.whole("convolves a value without a batch dimension")
    out = coupling.of_layer(call.layer, conv.out_channels)
    coupling.convolutions.add(call.layer)
    weight = f"{call.layer}.weight"
    depthwise = conv.groups == conv.in_channels and conv.groups > 1
    if value is None or value.dim != 1:
        _read_whole(call, conv.weight.shape[1])
        if conv.groups > 1:  # its filters stand beside its inputs
            coupling.pin(out)
    elif depthwise:
        coupling.join(out, value.ids.repeat_interleave(conv.out_channels // conv.groups))
    else:
        _read(call, value)
        inputs = value.ids
        if conv.groups > 1:
            inputs = _same_in_every_group(coupling, inputs, conv.groups)
            _same_in_every_group(coupling, out, conv.groups)
        coupling.label(weight, 1, inputs, own=False)
    coupling.label(weight, 0, out, own=True)
    if conv.bias is not None:
        coupling.label(f"{call.layer}.bias", 0, out, own=True)
    return Channels(out, 1)


def _same_in_every_group(coupling: Coupling, ids: Tensor, groups: int) -> Tensor:
    """Couple the i-th channels of all convolution groups: each group must keep the same number."""
    table = ids.reshape(groups, -1)
    for row in table[1:]:
        coupling.join(table[0], row)
    return table[0]


def _linear(call: Call) -> Value | None:
    linear, value, coupling = call.module, call.input, call.coupling
    assert isinstance(linear, nn.Linear)
    if not _holds_weight(linear):
        return call.whole("computes its weight from other parameters")
    last = call.result.dim() - 1
    out = coupling.of_layer(call.layer, linear.out_features)
    if value is None or value.dim != last:
        _read_whole(call, linear.in_features)
    else:
        _read(call, value)
        coupling.label(f"{call.layer}.weight", 1, value.ids, own=False)
    coupling.label(f"{call.layer}.weight", 0, out, own=True)
    if linear.bias is not None:
        coupling.label(f"{call.layer}.bias", 0, out, own=True)
    return Channels(out, last)


def _holds_weight(module: nn.Module) -> bool:
    """False under weight or spectral norm, where the weight is no parameter that could be cut."""
    return "weight" in dict(module.named_parameters(recurse=False))


def _read_whole(call: Call, size: int) -> None:
    """A layer behind mixed or unknown channels needs them all; its own outputs are known again."""
    if call.values:
        call.whole("reads channels that are mixed or stand in another dimension")
    ids = call.coupling.new(size)
    call.coupling.pin(ids)
    call.coupling.label(f"{call.layer}.weight", 1, ids, own=False)


def _read(call: Call, value: Channels) -> None:
    if not value.zero:
        call.whole("reads channels that are not zero when masked")


def norm_layer(call: Call) -> Value | None:
    """BatchNorm and InstanceNorm: one scale and shift a channel."""
    norm, value, coupling = call.module, call.input, call.coupling
    if value is None:
        return _no_rule(call)
    if value.dim != 1:
        return call.whole("normalises a value whose channels are not dimension 1")
    assert norm is not None
    affine = getattr(norm, "weight", None) is not None
    for name in ("weight", "bias", "running_mean", "running_var"):
        if getattr(norm, name, None) is not None:
            own = name in ("weight", "bias") or (name == "running_mean" and not affine)
            coupling.label(f"{call.layer}.{name}", 0, value.ids, own=own)
    coupling.norms[call.layer] = value.ids
    fused = [m for m in norm.children() if not isinstance(m, nn.Identity)]  # timm's BatchNormAct2d
    plain = all(find_rule(module) is keeps_zero for module in fused)
    return replace(value, zero=(affine or value.zero) and plain)


def _prelu(call: Call) -> Value | None:
    assert isinstance(call.module, nn.PReLU)
    if call.input is not None and call.module.num_parameters > 1:
        call.coupling.label(f"{call.layer}.weight", 0, call.input.ids, own=False)
    return keeps_zero(call)


def _hardtanh(call: Call) -> Value | None:
    assert isinstance(call.module, nn.Hardtanh)
    bounds = call.module.min_val, call.module.max_val
    return keeps_zero(call) if bounds[0] <= 0 <= bounds[1] else elementwise(call)


# --- the table --------------------------------------------------------------------------------------------

_RULES: dict[Target, Rule] = {}

# By package and name, since neither package is needed here. Stochastic depth scales whole samples; timm's
# Linear only converts types.
_FOREIGN: dict[tuple[str, str], Rule] = {
    ("timm", "BatchNormAct2d"): norm_layer,
    ("timm", "DropPath"): keeps_zero,
    ("timm", "Linear"): _linear,
    ("torchvision", "StochasticDepth"): keeps_zero,
}


def register(target: Target, rule: Rule) -> None:
    """Teach the trace an operation.

    Args:
        target: a module class (then never traced into; subclasses that run its forward follow it), a
            function, or the name of a tensor method.
        rule: :func:`keeps_zero` (one input, same channels, f(0) = 0), :func:`elementwise` (the same but
            f(0) != 0), or a function from a :class:`Call` to the result's :class:`Value`.
    """
    _RULES[target] = rule


def find_rule(target: nn.Module | Callable[..., Any] | str) -> Rule:
    """The rule of a module (by its class, or a base whose forward it runs), function or method name."""
    if not isinstance(target, nn.Module):
        return _RULES.get(target, unknown)
    own = type(target)
    for kind in own.__mro__:
        rule = _RULES.get(kind)
        if rule is not None and issubclass(kind, nn.Module) and own.forward is kind.forward:
            return rule
    module = own.__module__.partition(".")[0]
    return _FOREIGN.get((module, own.__name__), unknown)


def is_leaf(module: nn.Module) -> bool:
    """Whether a module has a rule, and is not to be traced into."""
    return find_rule(module) is not unknown


def _fill_table() -> None:
    n, f, t, o = nn, F, torch, operator
    pools = [
        getattr(nn, f"{kind}Pool{d}d")
        for kind in ("Max", "Avg", "AdaptiveMax", "AdaptiveAvg")
        for d in (1, 2, 3)
    ]
    rows: list[tuple[Rule, list[Target]]] = [
        (convolution, [n.Conv1d, n.Conv2d, n.Conv3d]),
        (_linear, [n.Linear]),
        (norm_layer, [n.BatchNorm1d, n.BatchNorm2d, n.BatchNorm3d, n.SyncBatchNorm]),
        (norm_layer, [n.InstanceNorm1d, n.InstanceNorm2d, n.InstanceNorm3d]),
        (_prelu, [n.PReLU]),
        (_hardtanh, [n.Hardtanh]),
        (
            keeps_zero,
            [n.ReLU, n.ReLU6, n.LeakyReLU, n.ELU, n.CELU, n.SELU, n.SiLU, n.GELU, n.Mish, n.Tanh]
            + [n.Hardswish, n.Softsign, n.Tanhshrink, n.Hardshrink, n.Softshrink]
            + [n.Identity, n.Dropout, n.Dropout1d, n.Dropout2d, n.Dropout3d]
            + [n.Upsample, n.ZeroPad2d, n.ReflectionPad2d, n.ReplicationPad2d, *pools]
            + [f.relu, f.relu_, f.relu6, f.leaky_relu, f.elu, f.selu, f.silu, f.gelu, f.mish]
            + [f.hardswish, f.tanh, f.dropout, f.dropout2d, f.interpolate]
            + [f.max_pool2d, f.avg_pool2d, f.adaptive_avg_pool2d, f.adaptive_max_pool2d]
            + [t.relu, t.relu_, t.tanh, t.abs, t.neg, t.clone, o.neg]
            + ["relu", "relu_", "tanh", "abs", "neg", "clone", "contiguous", "detach", "float"]
            + ["half", "bfloat16", "double"],
        ),
        (_conversion, ["to", "type", "type_as"]),
        (
            elementwise,
            [n.Sigmoid, n.Hardsigmoid, n.Softplus, n.LogSigmoid, n.ConstantPad2d]
            + [f.sigmoid, f.hardsigmoid, f.softplus, f.logsigmoid, t.sigmoid, t.exp, t.cos]
            + ["sigmoid", "sigmoid_", "exp", "cos"],
        ),
        (_sum, [o.add, o.iadd, o.sub, o.isub, t.add, t.sub, "add", "add_", "sub", "sub_"]),
        (_product, [o.mul, o.imul, t.mul, "mul", "mul_"]),
        (_quotient, [o.truediv, t.div, "div", "div_"]),
        (_reduction, [t.mean, t.sum, t.amax, "mean", "sum", "amax"]),
        (_normalize, [f.normalize]),
        (_pad, [f.pad]),
        (_concatenation, [t.cat, t.concat, t.concatenate]),
        (_reshape, [n.Flatten, t.flatten, t.reshape, "flatten", "view", "reshape"]),
        (_permutation, [t.permute, "permute"]),
        (_transposition, [t.transpose, "transpose"]),
        (_squeeze, [t.squeeze, "squeeze"]),
        (_unsqueeze, [t.unsqueeze, "unsqueeze"]),
        (_item, [o.getitem]),
        (_no_channels, [getattr, "size", "dim", "numel", "ndimension"]),
    ]
    for rule, targets in rows:
        for target in targets:
            register(target, rule)


_fill_table()
