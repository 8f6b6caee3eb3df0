"""Surgery: kept channels in, a smaller model out, with its optimizer and its copies, from one index plan."""

from collections.abc import Iterable, Mapping
from typing import cast

import torch
from torch import Tensor, nn

from pat.channels import ChannelGroups, Slot, alone
from pat.channels.fitting import fit_alone, fit_norm, refresh
from pat.channels.groups import entries_kept
from pat.loops.optimizers import Optimizers, State, everyone, hidden_memory, states

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
            model.get_submodule(lone.layer), lone.keep(units), lone.dim, cuts, lone.scatter, fit_alone
        )


def apply_factors(model: nn.Module, factors: Mapping[str, Tensor]) -> None:
    """Multiply tensors by what :func:`mask_factors` gave, in place."""
    with torch.no_grad():
        for name, factor in factors.items():
            tensor_of(model, name).mul_(factor)


def mask_factors(model: nn.Module, kept: Mapping[str, Tensor], *, groups: ChannelGroups) -> dict[str, Tensor]:
    """Factors, 1 where kept and 0 elsewhere, for every tensor that :func:`mask` changes.

    Each has the tensor's type and device and broadcasts against it. Tensors that lose nothing are absent.
    """
    units = groups.unit_mask(kept)
    factors = {}
    for slot in groups.slots:
        keep = slot.keep(units)
        if slot.own and not bool(keep.all()):
            tensor = tensor_of(model, slot.tensor)
            shape = [1] * tensor.dim()
            shape[slot.dim] = -1
            factors[slot.tensor] = keep.to(tensor.device, tensor.dtype).reshape(shape)
    return factors


def remove(
    model: nn.Module,
    kept: Mapping[str, Tensor],
    *,
    groups: ChannelGroups,
    optimizer: Optimizers | None = None,
    extra_models: Iterable[nn.Module] = (),
) -> None:
    """Remove the channels that are not kept, in place: the function that :func:`mask` leaves, made smaller.

    Parameters keep their identity (the optimizer's groups need no change), as do gradients, training mode,
    ``requires_grad`` and memory format; the optimizer's state (momentum, Adam's moments) is cut with them.
    A convolution that loses all its inputs or outputs stays, see :class:`~pat.channels.fitting.EmptyConv2d`;
    one whose gradient this processor would spoil is replaced by the same function, see
    :class:`~pat.channels.fitting.StridedConv2d`.
    A model wrapped in DistributedDataParallel must be wrapped anew, since its reducer knows the old sizes.

    Args:
        model: the model that ``groups`` was traced from, or a copy.
        kept: bool ``[group.size]`` per group name; absent groups stay whole.
        groups: from :func:`pat.channels.trace`; it does not fit the smaller model, so trace again.
        optimizer: one or several over the model's parameters; wrapped ones are looked into.
        extra_models: copies of the model, such as an exponential moving average, to be cut likewise.

    Raises:
        ValueError: for an unknown group, a mask of another size or type, a copy of other sizes, a pooling
            operation that would be left without channels, or an optimizer state that is not laid out like
            its parameter. Nothing is changed then.
    """
    units = groups.unit_mask(kept)
    groups.check_pools(kept)
    plan = _plan(groups.slots, units)
    models = [(each, tensors(each)) for each in (model, *extra_models)]
    for _, held in models:
        _check_sizes(held, groups.slots)
    memories = [] if optimizer is None else [state for _, state in states(everyone(optimizer))]
    if optimizer is not None:
        check_optimizer(model, optimizer, groups=groups)
    for each, held in models:
        for lone in groups.alone:
            alone.detach(each.get_submodule(lone.layer))
        for name, cuts in plan.items():
            _cut(held[name], cuts, memories if each is model else [])
        refresh(each, (held[name] for name in plan))
        for layer, entries in groups.normed.items():
            fit_norm(each.get_submodule(layer), int(entries_kept(entries, units).sum()))


def check_optimizer(model: nn.Module, optimizer: Optimizers, *, groups: ChannelGroups) -> None:
    """Find out whether the state of one or several optimizers can be cut with the channels.

    That can be told once they have stepped.

    Raises:
        ValueError: if a state is not laid out like its parameter (as Adafactor's factored moments), or kept
            elsewhere than an optimizer's state.
    """
    several = everyone(optimizer)
    for each in several:
        if why := hidden_memory(each):
            raise ValueError(why)
    for slot in groups.slots:
        tensor = tensor_of(model, slot.tensor)
        if isinstance(tensor, nn.Parameter):
            for kind, state in states(several):
                _check_state(kind, state, slot.tensor, tensor)


def sizes(model: nn.Module) -> Sizes:
    """The model's structure: the shape of every parameter and buffer, by name."""
    return {name: list(tensor.shape) for name, tensor in tensors(model).items()}


def tensors(model: nn.Module) -> dict[str, Tensor]:
    """Every parameter and buffer of a model by qualified name."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def tensor_of(model: nn.Module, name: str) -> Tensor:
    """A parameter or buffer by its qualified name."""
    layer, _, attribute = name.rpartition(".")
    return cast(Tensor, getattr(model.get_submodule(layer), attribute))


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
    changed = []
    for name, shape in wanted.items():
        tensor = held[name]
        if tuple(tensor.shape) != shape:
            tensor.grad = None
            _set_data(tensor, tensor.data[tuple(slice(size) for size in shape)].clone())
            changed.append(tensor)
    refresh(model, changed)


Cuts = list[tuple[int, Tensor]]


def _plan(slots: tuple[Slot, ...], units: Tensor) -> dict[str, Cuts]:
    """Per tensor that shrinks, the indices to keep along each of its dimensions."""
    plan: dict[str, Cuts] = {}
    for slot in slots:
        keep = slot.keep(units)
        if not bool(keep.all()):
            plan.setdefault(slot.tensor, []).append((slot.dim, keep.nonzero().flatten()))
    return plan


def _cut(tensor: Tensor, cuts: Cuts, memories: Iterable[State]) -> None:
    before = tensor.shape
    grad = tensor.grad
    for memory in memories:
        state = memory.get(tensor, {})
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


def _check_sizes(held: Mapping[str, Tensor], slots: tuple[Slot, ...]) -> None:
    for slot in slots:
        tensor = held[slot.tensor]
        if tensor.shape[slot.dim] != slot.units.numel():
            raise ValueError(
                f"{slot.tensor!r} has {tensor.shape[slot.dim]} entries along dimension {slot.dim}, "
                f"the trace knew {slot.units.numel()}: trace the model again"
            )


def _check_state(kind: str, memory: State, name: str, parameter: nn.Parameter) -> None:
    for key, value in memory.get(parameter, {}).items():
        if type(value) in (Tensor, nn.Parameter):
            fits, form = value.numel() <= 1 or value.shape == parameter.shape, str(tuple(value.shape))
        else:  # a tensor of another class may hold more than its entries, such as scales of blocks
            fits, form = value is None or isinstance(value, int | float | str), type(value).__name__
        if not fits:
            raise ValueError(
                f"{kind} keeps {key!r} of {name!r} as {form}, not like "
                f"the parameter {tuple(parameter.shape)}: it cannot be cut with its channels"
            )
