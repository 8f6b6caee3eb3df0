"""Layers whose tensors changed their size: attributes follow, and empty layers have a stand-in."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
import torch.fx
from torch import Tensor, nn

from pat.channels import register
from pat.channels.operations.layers import convolution_layer


def empty_value(
    x: Tensor, weight: Tensor, bias: Tensor | None, around: list[int], window: list[int], steps: list[int]
) -> Tensor:
    """Zeros, plus the bias, of the shape that a convolution would have given.

    Args:
        x: its input, ``[N, ...]``.
        weight, bias: its parameters; the first may be without entries.
        around: padding, both sides together, by dimension.
        window: entries that the kernel spans beyond the first one.
        steps: its stride.
    """
    shape = [x.shape[0], weight.shape[0]]
    for i, size in enumerate(x.shape[2:]):
        shape.append((size + around[i] - window[i] - 1) // steps[i] + 1)
    out = x.new_zeros(shape)
    if bias is not None:
        out = out + bias.to(out.dtype).reshape([1, -1] + [1] * (len(shape) - 2))
    return out


torch.fx.wrap("empty_value")  # one node of a graph, since what it does depends on sizes


class _EmptyConv:
    """The forward pass of a convolution that lost all its inputs or outputs, see :func:`empty_value`."""

    if TYPE_CHECKING:
        weight: Tensor
        bias: Tensor | None
        around: list[int]
        window: list[int]
        steps: list[int]

    def forward(self, x: Tensor) -> Tensor:
        return empty_value(x, self.weight, self.bias, self.around, self.window, self.steps)


class EmptyConv1d(_EmptyConv, nn.Conv1d):
    """See :func:`pat.surgery.remove`: zeros (plus bias) of the output's shape."""


class EmptyConv2d(_EmptyConv, nn.Conv2d):
    """See :func:`pat.surgery.remove`: zeros (plus bias) of the output's shape."""


class EmptyConv3d(_EmptyConv, nn.Conv3d):
    """See :func:`pat.surgery.remove`: zeros (plus bias) of the output's shape."""


for _kind in (EmptyConv1d, EmptyConv2d, EmptyConv3d):
    register(_kind, convolution_layer)


def _geometry(conv: nn.modules.conv._ConvNd) -> dict[str, list[int]]:
    """Arguments of :func:`empty_value`: lists, since TorchScript knows no tuples of any length."""
    window = [d * (k - 1) for d, k in zip(conv.dilation, conv.kernel_size, strict=True)]
    if isinstance(conv.padding, str):
        around = window if conv.padding == "same" else [0] * len(window)
    else:
        around = [2 * pad for pad in conv.padding]
    return {"around": around, "window": window, "steps": list(conv.stride)}


class EmptyNorm(nn.modules.batchnorm._NormBase):
    """A BatchNorm that lost all its channels: hands the empty value on."""

    def forward(self, x: Tensor) -> Tensor:
        return x


class StridedConv2d(nn.Conv2d):
    """A strided 1x1 convolution that leaves out pixels first and then has a stride of one: the same function.

    Where a processor has AVX2 but no AVX-512, oneDNN writes beyond its memory in the gradient of the weights
    of a strided 1x1 convolution over fewer than eight channels in channels_last (its issue 6035): wrong
    numbers, or a crash. Pruning leaves such layers, in the shortcuts of a ResNet.
    """

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        down, right = self.stride
        return nn.functional.conv2d(input[..., ::down, ::right], weight, bias)


def spoiled(weight: Tensor, stride: tuple[int, ...], padding: object, groups: int) -> bool:
    """Whether oneDNN would spoil a convolution's gradient here, see :class:`StridedConv2d`."""
    return (
        weight.shape[2:] == (1, 1)
        and 0 < weight.shape[1] < _BLOCK
        and stride != (1, 1)
        and padding in ((0, 0), "valid")
        and groups == 1
        and weight.device.type == "cpu"
        and torch.backends.cpu.get_cpu_capability() == "AVX2"
    )


_BLOCK = 8
_EMPTY = {nn.Conv1d: EmptyConv1d, nn.Conv2d: EmptyConv2d, nn.Conv3d: EmptyConv3d}


def refresh(model: nn.Module, tensors: Iterable[Tensor]) -> None:
    """Make the attributes of layers (channels, groups, features) agree with the sizes of their tensors."""
    changed = set(map(id, tensors))
    for layer in model.modules():
        held = (*layer._parameters.values(), *layer._buffers.values())
        if any(id(tensor) in changed for tensor in held if tensor is not None):
            _fit(layer)


def _fit(layer: nn.Module) -> None:
    if isinstance(layer, nn.modules.conv._ConvNd):
        depthwise = layer.groups == layer.in_channels and layer.groups > 1
        before = layer.out_channels
        if layer.transposed:
            layer.in_channels, layer.out_channels = (
                layer.weight.shape[0],
                layer.weight.shape[1] * layer.groups,
            )
        else:
            layer.out_channels = layer.weight.shape[0]
            layer.in_channels = layer.weight.shape[1] * layer.groups
        if depthwise:
            multiplier = before // layer.groups
            layer.in_channels = layer.groups = layer.weight.shape[0] // (
                1 if layer.transposed else multiplier
            )
            layer.out_channels = layer.in_channels * multiplier
        if layer.weight.numel() == 0:
            kind = next(k for k in _EMPTY if isinstance(layer, k))
            vars(layer).update(_geometry(layer))
            layer.__class__ = _EMPTY[kind]  # keeps hooks, parameters and names
        elif type(layer) is nn.Conv2d and spoiled(layer.weight, layer.stride, layer.padding, layer.groups):
            layer.__class__ = StridedConv2d
    elif isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = layer.weight.shape
    elif isinstance(layer, nn.modules.batchnorm._NormBase):
        held = [layer.weight, layer.running_mean]
        layer.num_features = next(t.shape[0] for t in held if t is not None)
        if layer.num_features == 0:
            layer.__class__ = EmptyNorm
    elif isinstance(layer, nn.GroupNorm) or isinstance(getattr(layer, "normalized_shape", None), tuple):
        if isinstance(layer.weight, Tensor):
            fit_norm(layer, layer.weight.shape[0])
    elif isinstance(layer, nn.PReLU):
        layer.num_parameters = layer.weight.shape[0]
    else:  # a layer of one's own that knows its size
        sizes = {
            t.shape[0]
            for t in (*layer._parameters.values(), *layer._buffers.values())
            if t is not None and t.dim()
        }
        for name in ("channels", "num_channels", "num_features", "dim"):
            if isinstance(getattr(layer, name, None), int) and len(sizes) == 1:
                setattr(layer, name, next(iter(sizes)))


def fit_alone(layer: nn.Module, channels: int) -> None:
    _fit(layer)
    fit_norm(layer, channels)


def fit_norm(layer: nn.Module, channels: int) -> None:
    """The same for a norm, which may have no parameters: as many channels, in groups of the same size."""
    if isinstance(layer, nn.GroupNorm):
        if layer.num_groups > 1:
            layer.num_groups = channels // (layer.num_channels // layer.num_groups)
        layer.num_channels = channels
    elif isinstance(shape := getattr(layer, "normalized_shape", None), tuple):
        vars(layer)["normalized_shape"] = (channels, *shape[1:])
