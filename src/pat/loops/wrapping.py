"""Models as loops hold them: wrapped for several ranks or devices, compiled, averaged."""

import inspect
from collections.abc import Iterable, Iterator
from typing import Any

from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from pat.channels import ChannelGroups

_MEGABYTE = 1024 * 1024


def bare(model: nn.Module) -> nn.Module:
    """The model within ``DistributedDataParallel``, ``DataParallel`` and what ``torch.compile`` returns.

    Raises:
        ValueError: for a model whose parameters are not whole tensors of its layers: sharded, or scripted.
    """
    *_, model = _nested(model)
    kind = type(model).__name__
    if any(hasattr(p, "placements") or getattr(p, "_is_flat_param", False) for p in model.parameters()):
        raise ValueError(
            f"the parameters of this {kind} are sharded (FSDP or DTensor), no rank has whole channels: use "
            "DistributedDataParallel, or shard the model after it was pruned"
        )
    if hasattr(model, "_c") and hasattr(model, "code"):
        raise ValueError(
            f"a scripted or traced {kind} has its sizes fixed: give the model that it was made of"
        )
    return model


def distributed(model: nn.Module) -> DistributedDataParallel | None:
    """The ``DistributedDataParallel`` around or within other wrappers, if there is one."""
    found = (m for m in _nested(model) if isinstance(m, DistributedDataParallel))
    return next(found, None)


def _nested(model: nn.Module) -> Iterator[nn.Module]:
    """The model, what it wraps, and so on, the bare model last."""
    yield model
    compiled = getattr(model, "_orig_mod", None)
    if isinstance(model, DistributedDataParallel | DataParallel):
        yield from _nested(model.module)
    elif isinstance(compiled, nn.Module):
        yield from _nested(compiled)


def copies(extra_models: Iterable[nn.Module], model: nn.Module, groups: ChannelGroups) -> list[nn.Module]:
    """Copies of a model that are cut with it, each without wrappers.

    Args:
        extra_models: for example a moving average of the weights.
        model: the bare model, which ``groups`` was traced from.
        groups: from :func:`pat.channels.trace`.

    Raises:
        ValueError: if one is no copy of the model, saying what to give instead.
    """
    found = []
    own = {id(parameter) for parameter in model.parameters()}
    for i, extra in enumerate(extra_models):
        plain = bare(extra)
        if plain is model or any(id(parameter) in own for parameter in plain.parameters()):
            raise ValueError(f"extra model {i} shares parameters with the model: it needs no cut of its own")
        if why := _misfit(plain, model, groups):
            inner = getattr(plain, "module", None)
            fits = isinstance(inner, nn.Module) and not _misfit(inner, model, groups)
            hint = "; give its .module" if fits else ": give a copy of the model"
            raise ValueError(f"extra model {i} ({type(plain).__name__}) {why}{hint}")
        found.append(plain)
    return found


def _misfit(copy: nn.Module, model: nn.Module, groups: ChannelGroups) -> str:
    held = {**dict(copy.named_parameters()), **dict(copy.named_buffers())}
    mine = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    for name in dict.fromkeys(slot.tensor for slot in groups.slots):
        if name not in held:
            return f"has no {name!r}"
        if held[name].shape != mine[name].shape:
            return f"has {name!r} of size {tuple(held[name].shape)}, the model {tuple(mine[name].shape)}"
    return ""


def rewrap(wrapped: DistributedDataParallel) -> DistributedDataParallel:
    """Wrap a model in ``DistributedDataParallel`` anew after its parameters became smaller, in place.

    The reducer of gradients knows the old sizes. Every rank has to call this, at the same time. Settings,
    communication hooks and the wrapper's own forward hooks stay. :class:`pat.PruningAwareTraining` calls it
    by itself if it was given the wrapper.

    Args:
        wrapped: around the model that was pruned.

    Returns:
        The same object, so that a loop's other references to it stay right.

    Raises:
        ValueError: for DistributedDataParallel's own mixed precision.
    """
    if getattr(wrapped, "mixed_precision", None) is not None:
        raise ValueError(
            "DistributedDataParallel with mixed_precision hooks every layer: wrap the model anew"
        )
    taken = inspect.signature(DistributedDataParallel.__init__).parameters
    settings: dict[str, Any] = {name: getattr(wrapped, name) for name in taken if hasattr(wrapped, name)}
    for name, other in (("device_mesh", "process_group"), ("forward_sync_buffers", "broadcast_buffers")):
        if settings.get(name) is not None:  # two ways to say the same, of which one may be said
            settings.pop(other, None)
    if not wrapped.bucket_bytes_cap_default:
        settings["bucket_cap_mb"] = wrapped.bucket_bytes_cap / _MEGABYTE
    kept = {
        name: held for name, held in vars(wrapped).items() if name.endswith("_hooks") or name == "training"
    }
    comm_hooks = list(wrapped._comm_hooks)
    vars(wrapped).update(reducer=None, logger=None)  # the old reducer takes its hooks off the parameters
    # Nothing to send: the ranks agree already, and buffers that differ among them may be meant to.
    DistributedDataParallel.__init__(wrapped, **settings, init_sync=False)
    vars(wrapped).update(
        {n: held for n, held in kept.items() if n not in {"_comm_hooks", "_accum_grad_hooks"}}
    )
    for hook, state in comm_hooks:
        wrapped.register_comm_hook(state, hook)
    return wrapped
