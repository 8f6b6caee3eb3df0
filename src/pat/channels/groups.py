"""Groups: which layers' channels go together, unit by unit, and where they stand in the parameters."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from pat.channels.coupling import Coupling, LabelledDim


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
        return _entries_kept(self.units, units)


@dataclass(frozen=True)
class Step:
    """A node of the trace, for finding out whether the input still reaches the output."""

    inputs: tuple[int, ...]
    layer: str | None
    output: bool


class ChannelGroups(Mapping[str, ChannelGroup]):
    """All groups of a model by name, in the trace's order, and where their channels stand in parameters.

    Refers to parameters by qualified name, so it holds for deep copies and EMA models as well. After a
    removal the sizes are others: trace again.
    """

    def __init__(
        self,
        groups: Mapping[str, ChannelGroup],
        slots: tuple[Slot, ...],
        steps: tuple[Step, ...],
        pools: Mapping[str, Tensor],
    ) -> None:
        self._groups = dict(groups)
        self.slots = slots
        self._steps = steps
        self._pools = dict(pools)

    def __getitem__(self, name: str) -> ChannelGroup:
        return self._groups[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._groups)

    def __len__(self) -> int:
        return len(self._groups)

    def __repr__(self) -> str:
        rows = "\n".join(f"  {g.name}: {g.size} channels of {', '.join(g.layers)}" for g in self.values())
        return f"ChannelGroups({len(self)} groups)\n{rows}"

    def neurons(self, keep_stem: bool = True) -> dict[str, ChannelGroup]:
        """The groups that make up F: convolutions' channels, without the stem's if ``keep_stem``."""
        return {
            name: group
            for name, group in self.items()
            if group.convolutional and not (keep_stem and group.reads_input)
        }

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
        for node, wanted in self._pools.items():
            if not bool(_entries_kept(wanted, units).any()):
                raise ValueError(
                    f"node {node!r} would have no channel left, which torch cannot pool or resize: keep "
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


def collect(coupling: Coupling, steps: tuple[Step, ...]) -> ChannelGroups:
    """Classes of coupled channels with the same layers become one group."""
    pinned = coupling.pinned_roots()
    classes: dict[int, list[tuple[str, int]]] = {}
    for layer, ids in coupling.layers.items():
        for channel, label in enumerate(ids.tolist()):
            root = coupling.find(label)
            if root not in pinned:
                classes.setdefault(root, []).append((layer, channel))
    by_layers: dict[tuple[str, ...], list[int]] = {}
    for root, channels in classes.items():
        by_layers.setdefault(tuple(layer for layer, _ in channels), []).append(root)

    norms = {layer: _channels_by_root(coupling, ids) for layer, ids in coupling.norms.items()}
    groups: dict[str, ChannelGroup] = {}
    unit_of: dict[int, int] = {}
    for layers, roots in by_layers.items():
        convolutional = any(layer in coupling.convolutions for layer in layers)
        producing = [i for i, lay in enumerate(layers) if lay in coupling.convolutions or not convolutional]
        name = layers[producing[0]]
        same = sum(known == name or known.startswith(f"{name}#") for known in groups)
        name = f"{name}#{same + 1}" if same else name
        start = len(unit_of)
        unit_of.update({root: start + i for i, root in enumerate(roots)})
        groups[name] = ChannelGroup(
            name=name,
            size=len(roots),
            members=tuple(
                Member(layers[i], torch.tensor([classes[root][i][1] for root in roots])) for i in producing
            ),
            norms=_norms(norms, roots),
            convolutional=convolutional,
            reads_input=any(layer in coupling.stems for layer in layers),
            units=range(start, start + len(roots)),
        )
    slots = tuple(_slot(coupling, unit_of, dim) for dim in coupling.dims.values())
    pools = {node: _units(coupling, unit_of, ids) for node, ids in coupling.pools.items()}
    return ChannelGroups(groups, tuple(s for s in slots if bool((s.units >= 0).any())), steps, pools)


def _entries_kept(entries: Tensor, units: Tensor) -> Tensor:
    """For unit numbers, whether each stays; -1 reads the appended True."""
    return torch.cat([units, units.new_ones(1)])[entries]


def _norms(tables: dict[str, dict[int, list[int]]], roots: list[int]) -> tuple[Member, ...]:
    members = []
    for layer, channels in tables.items():
        if roots[0] in channels:
            for row in zip(*(channels.get(root, ()) for root in roots), strict=True):
                members.append(Member(layer, torch.tensor(row)))
    return tuple(members)


def _channels_by_root(coupling: Coupling, ids: Tensor) -> dict[int, list[int]]:
    table: dict[int, list[int]] = {}
    for channel, label in enumerate(ids.tolist()):
        table.setdefault(coupling.find(label), []).append(channel)
    return table


def _slot(coupling: Coupling, unit_of: dict[int, int], dim: LabelledDim) -> Slot:
    return Slot(dim.tensor, dim.dim, _units(coupling, unit_of, dim.ids), dim.own)


def _units(coupling: Coupling, unit_of: dict[int, int], ids: Tensor) -> Tensor:
    """The unit behind each label, -1 where the channel stays."""
    return torch.tensor([unit_of.get(coupling.find(label), -1) for label in ids.tolist()], dtype=torch.int64)
