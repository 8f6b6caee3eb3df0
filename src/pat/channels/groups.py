"""Groups: which layers' channels go together, unit by unit, and where they stand in the parameters."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from pat.channels.coupling import Coupling, classes
from pat.channels.operations.op import INPUT, OUTPUT, Alone, Step


@dataclass(frozen=True, eq=False)
class Member:
    """A layer's share in a group.

    Attributes:
        layer: qualified name.
        channels: int64 ``[group.size]``, the layer's channel that belongs to each unit of the group.
    """

    layer: str
    channels: Tensor


@dataclass(frozen=True, eq=False)
class ChannelGroup:
    """Channels of several layers that go together, unit by unit.

    Attributes:
        name: the first layer's qualified name (with ``#2`` ... for further groups of the same layer).
        size: number of units.
        members: convolutions that produce the channels (Linear layers, if no convolution does). A layer
            stands here twice if two of its channels belong to one unit.
        norms: BatchNorm layers that act on the channels.
        convolutional: whether a convolution produces the channels; only then they are neurons.
        reads_input: whether one of the convolutions reads the model's input (the stem).
        units: number of the group's first unit among all units of the model.
    """

    name: str
    size: int
    members: tuple[Member, ...]
    norms: tuple[Member, ...]
    convolutional: bool
    reads_input: bool
    units: range

    @property
    def layers(self) -> tuple[str, ...]:
        """The members' layers, each once, in the trace's order."""
        return tuple(dict.fromkeys(member.layer for member in self.members))

    @property
    def multiplicity(self) -> int:
        """Filters that go with one unit."""
        return len(self.members)


@dataclass(frozen=True, eq=False)
class Slot:
    """One dimension of a parameter or buffer that shrinks with the channels.

    Attributes:
        tensor: qualified name.
        dim: the dimension.
        units: int64 ``[size of dim]``, the unit behind each entry, -1 where it stays.
        own: whether zeroing the entries masks the channel.
    """

    tensor: str
    dim: int
    units: Tensor
    own: bool

    def keep(self, units: Tensor) -> Tensor:
        """Bool ``[size of dim]``: the entries that stay when ``units`` (bool, all units) do."""
        return entries_kept(self.units, units)


@dataclass(frozen=True, eq=False)
class Lone:
    """A layer that looks across channels (a LayerNorm): in a masked model it runs on those kept alone.

    Attributes:
        layer: qualified name.
        units: int64 ``[channels]``, the unit behind each channel of its input, -1 where it stays.
        dim: the dimension of its input that holds the channels.
        cuts: its parameters and buffers with the dimension to cut.
        scatter: whether its output has the same channels there.
    """

    layer: str
    units: Tensor
    dim: int
    cuts: tuple[tuple[str, int], ...]
    scatter: bool

    def keep(self, units: Tensor) -> Tensor:
        """Bool ``[channels]``: the channels that stay when ``units`` (bool, all units) do."""
        return entries_kept(self.units, units)


class ChannelGroups(Mapping[str, ChannelGroup]):
    """All groups of a model by name, in the trace's order, and where their channels stand in parameters.

    Refers to parameters by qualified name, so it holds for deep copies and EMA models as well. After a
    removal the sizes are others: trace again.

    Attributes:
        slots: where the channels stand in parameters and buffers.
        alone: layers that look across channels.
        normed: per layer that knows its number of channels, the unit behind each (a GroupNorm's).
        whole: layers with channels that stay whole though they are neither input nor output, with the
            reason (an attention's heads, a number written in the code, ``exclude``).
    """

    def __init__(
        self,
        groups: Mapping[str, ChannelGroup],
        slots: tuple[Slot, ...],
        steps: tuple[Step, ...],
        pools: Mapping[str, Tensor],
        alone: tuple[Lone, ...] = (),
        whole: Mapping[str, str] | None = None,
        normed: Mapping[str, Tensor] | None = None,
    ) -> None:
        self._groups = dict(groups)
        self.slots = slots
        self._steps = steps
        self._pools = dict(pools)
        self.alone = alone
        self.whole = dict(whole or {})
        self.normed = dict(normed or {})

    def __getitem__(self, name: str) -> ChannelGroup:
        return self._groups[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._groups)

    def __len__(self) -> int:
        return len(self._groups)

    def __repr__(self) -> str:
        rows = "\n".join(f"  {g.name}: {g.size} channels of {', '.join(g.layers)}" for g in self.values())
        whole = "".join(f"\n  {layer} stays whole: {why}" for layer, why in self.whole.items())
        return f"ChannelGroups({len(self)} groups)\n{rows}{whole}"

    def neurons(self, keep_stem: bool = True, linear: bool | None = None) -> dict[str, ChannelGroup]:
        """The groups that make up F.

        Args:
            keep_stem: without the group of a convolution that reads the input.
            linear: with the hidden units of Linear layers, beside the convolutions' channels. None: only in
                a network in which no convolution has channels that could go.
        """
        found = [g for g in self.values() if g.convolutional and not (keep_stem and g.reads_input)]
        if linear or (linear is None and not found):
            found = [g for g in self.values() if g in found or not g.convolutional]
        return {group.name: group for group in found}

    def unit_mask(self, kept: Mapping[str, Tensor]) -> Tensor:
        """Bool over all units of the model: False where ``kept`` drops one; absent groups stay whole.

        Raises:
            ValueError: for an unknown group, or a mask of another size or type.
        """
        for name, mask in kept.items():
            if name not in self:
                raise ValueError(f"no channel group {name!r}; there are {', '.join(self)}")
            if mask.dtype != torch.bool or mask.shape != (self[name].size,):
                raise ValueError(
                    f"group {name!r} needs a bool mask of shape ({self[name].size},), "
                    f"got {mask.dtype} {tuple(mask.shape)}"
                )
        masks = [
            kept[name].cpu() if name in kept else torch.ones(group.size, dtype=torch.bool)
            for name, group in self.items()
        ]
        return torch.cat(masks) if masks else torch.ones(0, dtype=torch.bool)

    @cached_property
    def _layer_slots(self) -> dict[str, list[Slot]]:
        table: dict[str, list[Slot]] = {}
        for slot in self.slots:
            layer, _, kind = slot.tensor.rpartition(".")
            if kind == "weight":
                table.setdefault(layer, []).append(slot)
        return table

    def check_pools(self, kept: Mapping[str, Tensor]) -> None:
        """Find out whether a pooling or resizing operation would be left without any channel.

        Raises:
            ValueError: naming its node; torch has no result for it.
        """
        units = self.unit_mask(kept)
        lone = {f"layer {a.layer!r}": a.units for a in self.alone}
        for node, wanted in {**self._pools, **lone}.items():
            if not bool(entries_kept(wanted, units).any()):
                raise ValueError(
                    f"{node} would have no channel left, which torch has no result for: keep "
                    "min_channels=1, or exclude the layers before it"
                )

    def collapsed(self, kept: Mapping[str, Tensor]) -> bool:
        """Whether no path of layers with channels left leads from the model's input to its output."""
        units = self.unit_mask(kept)
        alive: list[bool] = []
        for step in self._steps:
            reached = not step.inputs or any(alive[i] for i in step.inputs)
            if reached and step.layer is not None:
                slots = self._layer_slots.get(step.layer, [])
                reached = all(bool(slot.keep(units).any()) for slot in slots)
            alive.append(reached)
        return not any(a for a, step in zip(alive, self._steps, strict=True) if step.output)


def collect(coupling: Coupling, steps: tuple[Step, ...], alone: Iterable[Alone]) -> ChannelGroups:
    """Classes of coupled channels with the same layers become one group.

    Raises:
        UnsupportedOperation: where labels cannot be told apart, naming the layers.
    """
    root, reasons = coupling.resolve()
    stays = torch.zeros(coupling.size, dtype=torch.bool)
    stays[list(reasons)] = True
    names, labels = list(coupling.layers), [root[ids] for ids in coupling.layers.values()]
    whole = {
        name: why for name, own in zip(names, labels, strict=True) if (why := _reason(own, stays, reasons))
    }
    unit = torch.full((coupling.size,), -1)
    groups: dict[str, ChannelGroup] = {}
    start = 0
    for roots, uses, channels in classes(labels, stays):
        layers = [names[use] for use in uses]
        convolutional = any(layer in coupling.convolutions for layer in layers)
        producing = [i for i, lay in enumerate(layers) if lay in coupling.convolutions or not convolutional]
        name = layers[producing[0]]
        same = sum(known == name or known.startswith(f"{name}#") for known in groups)
        name = f"{name}#{same + 1}" if same else name
        units = range(start, start + len(roots))
        unit[roots] = torch.arange(units.start, units.stop)
        start = units.stop
        groups[name] = ChannelGroup(
            name=name,
            size=len(roots),
            members=tuple(Member(layers[i], channels[:, i]) for i in producing),
            norms=(),
            convolutional=convolutional,
            reads_input=any(layer in coupling.stems for layer in layers),
            units=units,
        )
    unit = unit[root]
    norms = _norms({layer: unit[ids] for layer, ids in coupling.norms.items()}, groups)
    groups = {name: replace(group, norms=tuple(norms[name])) for name, group in groups.items()}
    slots = (Slot(name, dim, unit[held.ids], held.own) for (name, dim), held in coupling.tensors.items())
    return ChannelGroups(
        groups,
        slots=tuple(slot for slot in slots if bool((slot.units >= 0).any())),
        steps=steps,
        pools={node: unit[ids] for node, ids in coupling.pools.items()},
        alone=tuple(
            Lone(a.layer, unit[a.ids], a.dim, a.cuts, a.scatter)
            for a in alone
            if bool((unit[a.ids] >= 0).any())
        ),
        whole=whole,
        normed={layer: unit[ids] for layer, ids in coupling.grouped.items()},
    )


def _reason(labels: Tensor, stays: Tensor, reasons: Mapping[int, str]) -> str | None:
    """Why a layer's first channel stays that does not belong to the model's input or output."""
    found = (reasons[label] for label in labels[stays[labels]].tolist())
    return next((why for why in found if why not in (INPUT, OUTPUT)), None)


def _norms(tables: Mapping[str, Tensor], groups: Mapping[str, ChannelGroup]) -> dict[str, list[Member]]:
    """By group the layers with a scale for each of its units, once for each time that one has it."""
    members: dict[str, list[Member]] = {name: [] for name in groups}
    ends = torch.tensor([group.units.stop for group in groups.values()])
    names = list(groups)
    for layer, table in tables.items():
        channels = (table >= 0).nonzero().flatten()
        owners = torch.bucketize(table[channels], ends, right=True)
        for owner in torch.unique(owners).tolist():
            own, size = channels[owners == owner], groups[names[owner]].size
            if own.numel() % size == 0:
                rows = own[torch.sort(table[own], stable=True).indices].reshape(size, -1)
                members[names[owner]] += [Member(layer, row) for row in rows.t()]
    return members


def entries_kept(entries: Tensor, units: Tensor) -> Tensor:
    """For unit numbers, whether each stays; -1 reads the appended True."""
    return torch.cat([units, units.new_ones(1)])[entries]
