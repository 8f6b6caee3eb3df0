"""Channel groups: a torch.fx trace of a model in, groups of channels that must be removed together out."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, fx, nn

from pat.coupling import Channels, Coupling, LabelledDim, UnsupportedOperation
from pat.operations import (
    Call,
    Rule,
    elementwise,
    find_rule,
    find_values,
    is_leaf,
    keeps_zero,
    register,
)

__all__ = [
    "ChannelGroup",
    "ChannelGroups",
    "Member",
    "Rule",
    "Slot",
    "UnsupportedOperation",
    "elementwise",
    "keeps_zero",
    "register",
    "trace",
]


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
        return torch.cat([units, units.new_ones(1)])[self.units]  # -1 reads the appended True


@dataclass(frozen=True)
class _Step:
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
        self, groups: Mapping[str, ChannelGroup], slots: tuple[Slot, ...], steps: tuple[_Step, ...]
    ) -> None:
        self._groups = dict(groups)
        self.slots = slots
        self._steps = steps

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


def trace(
    model: nn.Module, example_input: Tensor | tuple[Any, ...], exclude: Collection[str] = ()
) -> ChannelGroups:
    """Find the groups of coupled channels of a model.

    Follows every channel through a symbolic trace along one forward pass of ``example_input`` (in eval
    mode, without gradients; the model is left as it was). Channels that are added, multiplied or pass a
    depthwise convolution are coupled; those of the model's output have to stay.

    Args:
        model: any module that ``torch.fx`` can trace.
        example_input: a batch ``[N, C, H, W]`` on the model's device, or a tuple of arguments.
        exclude: qualified names of layers (or modules with layers inside) whose channels stay.

    Raises:
        UnsupportedOperation: if the model cannot be traced, an operation is unknown where channels could
            be pruned, or a parameter is shared; the message names the node.
        ValueError: if ``exclude`` names no layer of the model, or one without channels.
    """
    modules = dict(model.named_modules())
    for layer in exclude:
        if layer not in modules:
            raise ValueError(f"exclude names {layer!r}, which is no layer of the model")
    walk = _Walk(model, _graph(model))
    arguments = example_input if isinstance(example_input, tuple) else (example_input,)
    training = {name: module.training for name, module in modules.items()}
    try:
        model.eval()
        with torch.no_grad():
            walk.run(*arguments)
    finally:
        for name, module in modules.items():
            module.training = training[name]
    coupling = walk.coupling
    for layer in exclude:
        followed = [*coupling.layers.items(), *coupling.norms.items()]
        inside = [ids for name, ids in followed if f"{name}.".startswith(f"{layer}.")]
        if not inside:
            raise ValueError(f"exclude names {layer!r}, in which no layer's channels are followed")
        for ids in inside:
            coupling.pin(ids)
    _refuse_shared(model, coupling)
    return _collect(coupling, tuple(walk.steps))


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return is_leaf(m) or super().is_leaf_module(m, module_qualified_name)


def _graph(model: nn.Module) -> fx.GraphModule:
    tracer = _Tracer()
    try:
        return fx.GraphModule(model, tracer.trace(model))
    except Exception as error:
        raise UnsupportedOperation(f"{type(model).__name__} cannot be traced by torch.fx: {error}") from error


class _Walk(fx.Interpreter):
    """Runs the trace on real tensors and, beside it, on channel labels."""

    def __init__(self, model: nn.Module, graph: fx.GraphModule) -> None:
        super().__init__(graph, garbage_collect_values=False)
        self.extra_traceback = False
        self.model = model
        self.coupling = Coupling()
        self.values: dict[fx.Node, Any] = {}
        self.steps: list[_Step] = []
        self._index: dict[fx.Node, int] = {}
        self._input_ids: set[int] = set()
        self._held = {name for name, _ in (*model.named_parameters(), *model.named_buffers())}

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        self.values[n] = value = self._value(n, result)
        for changed in n.all_input_nodes:  # in place, as in x.add_(1): whoever reads x reads the result
            if isinstance(result, Tensor) and self.env.get(changed) is result:
                self.values[changed] = value
        inputs = tuple(self._index[i] for i in n.all_input_nodes if i in self._index)
        layer = str(n.target) if n.op == "call_module" and n.target in self.coupling.layers else None
        if n.op != "get_attr" and (inputs or n.op == "placeholder"):
            self._index[n] = len(self.steps)
            self.steps.append(_Step(inputs, layer, n.op == "output"))
        if layer is not None and isinstance(value, Channels):
            self._note_stem(n, layer)
        return result

    def _value(self, n: fx.Node, result: Any) -> Any:
        coupling = self.coupling
        if n.op == "placeholder":
            if not isinstance(result, Tensor) or result.dim() < 2:
                return None
            ids = coupling.new(result.shape[1])
            coupling.pin(ids)
            self._input_ids.update(ids.tolist())
            return Channels(ids, 1)
        args, kwargs = _positional(
            fx.node.map_arg(n.args, self.values.get), fx.node.map_arg(n.kwargs, self.values.get)
        )
        if n.op == "output":
            for value in find_values(args):
                coupling.pin(value.ids)
            return None
        if n.op == "get_attr":
            return self._attribute(str(n.target), result)
        module = self.model.get_submodule(str(n.target)) if n.op == "call_module" else None
        rule = find_rule(n.target if module is None else module)
        concrete_args, concrete_kwargs = _positional(*self.fetch_args_kwargs_from_env(n))
        layer = str(n.target) if module is not None else ""
        call = Call(coupling, n, layer, module, args, kwargs, concrete_args, concrete_kwargs, result)
        return rule(call)

    def _attribute(self, name: str, tensor: Any) -> Channels | None:
        """A bare parameter or buffer: its one long dimension may hold channels.

        A tensor that the code makes or the model holds as a plain attribute cannot be cut: unknown.
        """
        if not isinstance(tensor, Tensor) or name not in self._held:
            return None
        long = [dim for dim, size in enumerate(tensor.shape) if size > 1]
        if len(long) != 1:
            return None
        known = self.coupling.dims.get((name, long[0]))
        ids = self.coupling.new(tensor.shape[long[0]]) if known is None else known.ids
        self.coupling.label(name, long[0], ids, own=True)
        return Channels(ids, long[0])

    def _note_stem(self, n: fx.Node, layer: str) -> None:
        value = next(iter(find_values(fx.node.map_arg(n.args, self.values.get))), None)
        if value is not None and not self._input_ids.isdisjoint(value.ids.tolist()):
            self.coupling.stems.add(layer)


def _positional(args: Any, kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Operands that were given by keyword, as in ``torch.add(x, other=y)``, behind the others."""
    names = [name for name in ("input", "tensors", "other") if name in kwargs]
    rest = {name: value for name, value in kwargs.items() if name not in names}
    return (*args, *(kwargs[name] for name in names)), rest


def _refuse_shared(model: nn.Module, coupling: Coupling) -> None:
    owners: dict[int, str] = {}
    named = {name for name, _ in coupling.dims}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        other = owners.setdefault(id(parameter), name)
        if other != name and {other, name} & named:
            raise UnsupportedOperation(f"parameter {name!r} is the same tensor as {other!r}")


def _collect(coupling: Coupling, steps: tuple[_Step, ...]) -> ChannelGroups:
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
    return ChannelGroups(groups, tuple(s for s in slots if bool((s.units >= 0).any())), steps)


def _norms(tables: dict[str, dict[int, list[int]]], roots: list[int]) -> tuple[Member, ...]:
    members = []
    for layer, channels in tables.items():
        if roots[0] in channels:
            for row in zip(*(channels.get(root, ()) for root in roots), strict=False):
                members.append(Member(layer, torch.tensor(row)))
    return tuple(members)


def _channels_by_root(coupling: Coupling, ids: Tensor) -> dict[int, list[int]]:
    table: dict[int, list[int]] = {}
    for channel, label in enumerate(ids.tolist()):
        table.setdefault(coupling.find(label), []).append(channel)
    return table


def _slot(coupling: Coupling, unit_of: dict[int, int], dim: LabelledDim) -> Slot:
    units = torch.tensor(
        [unit_of.get(coupling.find(label), -1) for label in dim.ids.tolist()], dtype=torch.int64
    )
    return Slot(dim.tensor, dim.dim, units, dim.own)
