"""Which rule holds for which operation that may stand in a traced model.

An operation without a rule is accepted only where all the channels it sees have to stay anyway (as between
a detection head and the model's output); elsewhere :class:`~pat.channels.coupling.UnsupportedOperation` names
its node. Between a masked channel and its consumer a rule must either keep zeros at zero or say that it does
not.
"""

import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from pat.channels import layer_rules, tensor_rules
from pat.channels.operations import Rule, elementwise, keeps_zero, unknown

Target = type[nn.Module] | Callable[..., Any] | str

_RULES: dict[Target, Rule] = {}

# By package and name, since neither package is needed here. Stochastic depth scales whole samples; timm's
# Linear only converts types.
_FOREIGN: dict[tuple[str, str], Rule] = {
    ("timm", "BatchNormAct2d"): layer_rules.norm_layer,
    ("timm", "DropPath"): keeps_zero,
    ("timm", "Linear"): layer_rules.linear_layer,
    ("torchvision", "StochasticDepth"): keeps_zero,
}


_POOLS = tuple(
    getattr(nn, f"{kind}{d}d") for kind in ("MaxPool", "AvgPool", "AdaptiveMaxPool") for d in (1, 2, 3)
) + (nn.Upsample,)
_POOL_FUNCTIONS = (F.max_pool2d, F.avg_pool2d, F.adaptive_max_pool2d, F.interpolate)


def register(target: Target, rule: Rule) -> None:
    """Teach the trace an operation.

    Args:
        target: a module class (then never traced into; subclasses that run its forward follow it), a
            function, or the name of a tensor method.
        rule: :func:`keeps_zero` (one input, same channels, f(0) = 0), :func:`elementwise` (the same but
            f(0) != 0), or a function from a :class:`Call` to the result's channels.
    """
    _RULES[target] = rule


def needs_channels(target: nn.Module | Callable[..., Any] | str) -> bool:
    """Whether torch computes an operation only where there is at least one channel."""
    return isinstance(target, _POOLS) if isinstance(target, nn.Module) else target in _POOL_FUNCTIONS


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
        (layer_rules.convolution, [n.Conv1d, n.Conv2d, n.Conv3d]),
        (layer_rules.linear_layer, [n.Linear]),
        (layer_rules.norm_layer, [n.BatchNorm1d, n.BatchNorm2d, n.BatchNorm3d, n.SyncBatchNorm]),
        (layer_rules.norm_layer, [n.InstanceNorm1d, n.InstanceNorm2d, n.InstanceNorm3d]),
        (layer_rules.prelu, [n.PReLU]),
        (layer_rules.hardtanh, [n.Hardtanh]),
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
        (tensor_rules.conversion, ["to", "type", "type_as"]),
        (
            elementwise,
            [n.Sigmoid, n.Hardsigmoid, n.Softplus, n.LogSigmoid, n.ConstantPad2d]
            + [f.sigmoid, f.hardsigmoid, f.softplus, f.logsigmoid, t.sigmoid, t.exp, t.cos]
            + ["sigmoid", "sigmoid_", "exp", "cos"],
        ),
        (tensor_rules.total, [o.add, o.iadd, o.sub, o.isub, t.add, t.sub, "add", "add_", "sub", "sub_"]),
        (tensor_rules.product, [o.mul, o.imul, t.mul, "mul", "mul_"]),
        (tensor_rules.quotient, [o.truediv, t.div, "div", "div_"]),
        (tensor_rules.reduction, [t.mean, t.sum, t.amax, "mean", "sum", "amax"]),
        (tensor_rules.normalize, [f.normalize]),
        (tensor_rules.pad, [f.pad]),
        (tensor_rules.concatenation, [t.cat, t.concat, t.concatenate]),
        (tensor_rules.reshape, [n.Flatten, t.flatten, t.reshape, "flatten", "view", "reshape"]),
        (tensor_rules.permutation, [t.permute, "permute"]),
        (tensor_rules.transposition, [t.transpose, "transpose"]),
        (tensor_rules.squeeze, [t.squeeze, "squeeze"]),
        (tensor_rules.unsqueeze, [t.unsqueeze, "unsqueeze"]),
        (tensor_rules.item, [o.getitem]),
        (tensor_rules.no_channels, [getattr, "size", "dim", "numel", "ndimension"]),
    ]
    for rule, targets in rows:
        for target in targets:
            register(target, rule)


_fill_table()
