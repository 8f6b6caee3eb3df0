"""Surgery: kept channels in, a smaller model out, with its optimizer and its copies, from one index plan."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from pat.channels import ChannelGroups, Slot, alone, register
from pat.channels.groups import entries_kept
from pat.channels.layers import convolution_layer

Sizes = dict[str, list[int]]


def mask(model: nn.Module, kept: Mapping[str, Tensor], *, groups: ChannelGroups) -> None:
    """Zero the channels that are not kept, in place: filter, bias, gamma and beta. Shapes stay.

    Layers that look across channels, such as LayerNorm, run on the channels kept alone from then on, through
    a forward hook, until :func:`remove` takes it away.

    Args:
        model: the model that ``groups`` was traced from, or a copy.
        kept: bool ``[group.size]`` per group name; absent groups stay whole.
        groups: from :func:`pat.channels.trace`.

    Raises:
        ValueError: for an unknown group or a mask of another size or type.
    """
    apply_factors(model, mask_factors(model, kept, groups=groups))
    units = groups.unit_mask(kept)
    slots = {(slot.tensor, slot.dim): slot for slot in groups.slots}
    for lone in groups.alone:
        cuts = {
            name.rpartition(".")[2]: (dim, slots[name, dim].keep(units).nonzero().flatten())
            for name, dim in lone.cuts
            if (name, dim) in slots
        }
        alone.attach(
            model.get_submodule(lone.layer), lone.keep(units), lone.dim, cuts, lone.scatter, _fit_alone
        )


def apply_factors(model: nn.Module, factors: Mapping[str, Tensor]) -> None:
    """Multiply tensors by what :func:`mask_factors` gave, in place."""
    with torch.no_grad():
        for name, factor in factors.items():
            _tensor(model, name).mul_(factor)


def mask_factors(model: nn.Module, kept: Mapping[str, Tensor], *, groups: ChannelGroups) -> dict[str, Tensor]:
    """Factors, 1 where kept and 0 elsewhere, for every tensor that :func:`mask` changes.

    Each has the tensor's type and device and broadcasts against it. Tensors that lose nothing are absent.
    """
    units = groups.unit_mask(kept)
    factors = {}
    for slot in groups.slots:
        keep = slot.keep(units)
        if slot.own and not bool(keep.all()):
            tensor = _tensor(model, slot.tensor)
            shape = [1] * tensor.dim()
            shape[slot.dim] = -1
            factors[slot.tensor] = keep.to(tensor.device, tensor.dtype).reshape(shape)
    return factors


def remove(
    model: nn.Module,
    kept: Mapping[str, Tensor],
    *,
    groups: ChannelGroups,
    optimizer: Optimizer | None = None,
    extra_models: Iterable[nn.Module] = (),
) -> None:
    """Remove the channels that are not kept, in place: the function that :func:`mask` leaves, made smaller.

    Parameters keep their identity (the optimizer's groups need no change), as do gradients, training mode,
    ``requires_grad`` and memory format; the optimizer's state (momentum, Adam's moments) is cut with them.
    A convolution that loses all its inputs or outputs stays as an :class:`EmptyConv2d` (1d, 3d).
    A model wrapped in DistributedDataParallel must be wrapped anew, since its reducer knows the old sizes.

    Args:
        model: the model that ``groups`` was traced from, or a copy.
        kept: bool ``[group.size]`` per group name; absent groups stay whole.
        groups: from :func:`pat.channels.trace`; it does not fit the smaller model, so trace again.
        optimizer: an optimizer over the model's parameters.
        extra_models: copies of the model, such as an exponential moving average, to be cut likewise.

    Raises:
        ValueError: for an unknown group, a mask of another size or type, a copy of other sizes, a pooling
            operation that would be left without channels, or an optimizer state that is not laid out like
            its parameter. Nothing is changed then.
    """
    units = groups.unit_mask(kept)
    groups.check_pools(kept)
    plan = _plan(groups.slots, units)
    models = [model, *extra_models]
    for each in models:
        _check_sizes(each, groups.slots)
    if optimizer is not None:
        check_optimizer(model, optimizer, groups=groups)
    for each in models:
        for lone in groups.alone:
            alone.detach(each.get_submodule(lone.layer))
        for name, cuts in plan.items():
            _cut(each, name, cuts, optimizer if each is model else None)
        refresh(each, plan)
        for layer, entries in groups.normed.items():
            _fit_norm(each.get_submodule(layer), int(entries_kept(entries, units).sum()))


def check_optimizer(model: nn.Module, optimizer: Optimizer, *, groups: ChannelGroups) -> None:
    """Find out before anything is masked whether an optimizer's state can be cut with the channels.

    Raises:
        ValueError: if a state is not laid out like its parameter (as Adafactor's factored moments).
    """
    for slot in groups.slots:
        tensor = _tensor(model, slot.tensor)
        if isinstance(tensor, nn.Parameter):
            _check_state(optimizer, slot.tensor, tensor)


def sizes(model: nn.Module) -> Sizes:
    """The model's structure: the shape of every parameter and buffer, by name."""
    return {name: list(tensor.shape) for name, tensor in tensors(model).items()}


def tensors(model: nn.Module) -> dict[str, Tensor]:
    """Every parameter and buffer of a model by qualified name."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def resize(model: nn.Module, target: Mapping[str, Iterable[int]]) -> None:
    """Give a freshly built model the structure that :func:`sizes` recorded; its values are undefined.

    The first entries along every dimension stay; load the values afterwards.

    Raises:
        ValueError: if names differ or a size is larger than the model's.
    """
    held = tensors(model)
    if held.keys() != target.keys():
        odd = sorted(held.keys() ^ target.keys())
        raise ValueError(f"the structure has other tensors than the model: {', '.join(odd[:5])}")
    wanted = {name: tuple(int(size) for size in shape) for name, shape in target.items()}
    for name, shape in wanted.items():
        now = tuple(held[name].shape)
        if len(now) != len(shape) or any(new > old or new < 0 for new, old in zip(shape, now, strict=True)):
            raise ValueError(f"{name!r} has size {now} and cannot become {shape}")
    changed = set()
    for name, shape in wanted.items():
        tensor = held[name]
        if tuple(tensor.shape) != shape:
            tensor.grad = None
            _set_data(tensor, tensor.data[tuple(slice(size) for size in shape)].clone())
            changed.add(name)
    refresh(model, changed)


class _EmptyConv:
    """The forward pass of a convolution that lost all its inputs or outputs; ``around`` is its padding."""

    if TYPE_CHECKING:  # TorchScript reads annotations, and knows no tuples of any length
        weight: Tensor
        bias: Tensor | None
        around: tuple[int, ...]
        dilation: tuple[int, ...]
        kernel_size: tuple[int, ...]
        stride: tuple[int, ...]

    def forward(self, x: Tensor) -> Tensor:
        shape = [x.shape[0], self.weight.shape[0]]
        for i, size in enumerate(x.shape[2:]):
            window = self.dilation[i] * (self.kernel_size[i] - 1)
            shape.append((size + self.around[i] - window - 1) // self.stride[i] + 1)
        out = x.new_zeros(shape)
        bias = self.bias
        if bias is not None:
            out = out + bias.to(out.dtype).reshape([1, -1] + [1] * (len(shape) - 2))
        return out


class EmptyConv1d(_EmptyConv, nn.Conv1d):
    """See :func:`remove`: zeros (plus bias) of the output's shape."""


class EmptyConv2d(_EmptyConv, nn.Conv2d):
    """See :func:`remove`: zeros (plus bias) of the output's shape."""


class EmptyConv3d(_EmptyConv, nn.Conv3d):
    """See :func:`remove`: zeros (plus bias) of the output's shape."""


for _kind in (EmptyConv1d, EmptyConv2d, EmptyConv3d):
    register(_kind, convolution_layer)


def _padding(conv: nn.modules.conv._ConvNd) -> tuple[int, ...]:
    """Entries that a convolution puts around its input, both sides together."""
    if conv.padding == "same":
        return tuple(d * (k - 1) for d, k in zip(conv.dilation, conv.kernel_size, strict=True))
    if isinstance(conv.padding, str):
        return (0,) * len(conv.kernel_size)
    return tuple(2 * pad for pad in conv.padding)


class EmptyNorm(nn.modules.batchnorm._NormBase):
    """A BatchNorm that lost all its channels: hands the empty value on."""

    def forward(self, x: Tensor) -> Tensor:
        return x


_EMPTY = {nn.Conv1d: EmptyConv1d, nn.Conv2d: EmptyConv2d, nn.Conv3d: EmptyConv3d}


def refresh(model: nn.Module, tensors: Iterable[str]) -> None:
    """Make the attributes of layers (channels, groups, features) agree with the sizes of their tensors."""
    changed = {id(_tensor(model, name)) for name in tensors}
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
            vars(layer)["around"] = _padding(layer)
            layer.__class__ = _EMPTY[kind]  # keeps hooks, parameters and names
    elif isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = layer.weight.shape
    elif isinstance(layer, nn.modules.batchnorm._NormBase):
        held = [layer.weight, layer.running_mean]
        layer.num_features = next(t.shape[0] for t in held if t is not None)
        if layer.num_features == 0:
            layer.__class__ = EmptyNorm
    elif isinstance(layer, nn.GroupNorm) or isinstance(getattr(layer, "normalized_shape", None), tuple):
        if isinstance(layer.weight, Tensor):
            _fit_norm(layer, layer.weight.shape[0])
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


def _fit_alone(layer: nn.Module, channels: int) -> None:
    _fit(layer)
    _fit_norm(layer, channels)


def _fit_norm(layer: nn.Module, channels: int) -> None:
    """The same for a norm, which may have no parameters: as many channels, in groups of the same size."""
    if isinstance(layer, nn.GroupNorm):
        if layer.num_groups > 1:
            layer.num_groups = channels // (layer.num_channels // layer.num_groups)
        layer.num_channels = channels
    elif isinstance(shape := getattr(layer, "normalized_shape", None), tuple):
        vars(layer)["normalized_shape"] = (channels, *shape[1:])


Cuts = list[tuple[int, Tensor]]


def _plan(slots: tuple[Slot, ...], units: Tensor) -> dict[str, Cuts]:
    """Per tensor that shrinks, the indices to keep along each of its dimensions."""
    plan: dict[str, Cuts] = {}
    for slot in slots:
        keep = slot.keep(units)
        if not bool(keep.all()):
            plan.setdefault(slot.tensor, []).append((slot.dim, keep.nonzero().flatten()))
    return plan


def _cut(model: nn.Module, name: str, cuts: Cuts, optimizer: Optimizer | None) -> None:
    tensor = _tensor(model, name)
    before = tensor.shape
    grad = tensor.grad
    if isinstance(tensor, nn.Parameter) and optimizer is not None and tensor in optimizer.state:
        state = optimizer.state[tensor]
        for key, value in state.items():
            if isinstance(value, Tensor) and value.shape == before:
                state[key] = _select(value, cuts)
    tensor.grad = None
    _set_data(tensor, _select(tensor.data, cuts))
    if grad is not None:
        tensor.grad = _select(grad, cuts)


def _set_data(tensor: Tensor, data: Tensor) -> None:
    """Give a tensor other data. A graph that is still alive, as a loop's last loss, keeps the node that
    collects a parameter's gradient, and with it the old shape; another type for a moment drops it."""
    if tensor.requires_grad:
        other = torch.float32 if tensor.dtype == torch.float64 else torch.float64
        tensor.data = data.new_empty(0, dtype=other)
    tensor.data = data


def _select(tensor: Tensor, cuts: Cuts) -> Tensor:
    channels_last = tensor.dim() == 4 and (
        tensor.is_contiguous(memory_format=torch.channels_last) and not tensor.is_contiguous()
    )
    for dim, index in cuts:
        tensor = tensor.index_select(dim, index.to(tensor.device))
    return tensor.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


def _check_sizes(model: nn.Module, slots: tuple[Slot, ...]) -> None:
    for slot in slots:
        tensor = _tensor(model, slot.tensor)
        if tensor.shape[slot.dim] != slot.units.numel():
            raise ValueError(
                f"{slot.tensor!r} has {tensor.shape[slot.dim]} entries along dimension {slot.dim}, "
                f"the trace knew {slot.units.numel()}: trace the model again"
            )


def _check_state(optimizer: Optimizer, name: str, parameter: nn.Parameter) -> None:
    state: dict[str, Any] = optimizer.state.get(parameter, {})
    for key, value in state.items():
        if isinstance(value, Tensor):
            fits, kind = value.numel() <= 1 or value.shape == parameter.shape, str(tuple(value.shape))
        else:
            fits, kind = value is None or isinstance(value, int | float | str), type(value).__name__
        if not fits:
            raise ValueError(
                f"{type(optimizer).__name__} keeps {key!r} of {name!r} as {kind}, not like "
                f"the parameter {tuple(parameter.shape)}: it cannot be cut with its channels"
            )


def _tensor(model: nn.Module, name: str) -> Tensor:
    layer, _, attribute = name.rpartition(".")
    return cast(Tensor, getattr(model.get_submodule(layer), attribute))
