"""Channel groups: a torch.fx trace of a model in, groups of channels that must be removed together out."""

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, fx, nn

from pat.channels.coupling import Channels, Coupling, UnsupportedOperation
from pat.channels.groups import ChannelGroup, ChannelGroups, Member, Slot, Step, collect
from pat.channels.operations import Call, Rule, elementwise, find_values, keeps_zero
from pat.channels.rules import find_rule, is_leaf, needs_channels, register

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
    return collect(coupling, tuple(walk.steps))


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
        self.steps: list[Step] = []
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
            self.steps.append(Step(inputs, layer, n.op == "output"))
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
        concrete = (concrete_args, concrete_kwargs, result)
        for value in find_values(args) if needs_channels(n.target if module is None else module) else ():
            coupling.pools[n.name] = value.ids
        return rule(Call(coupling, n, layer, module, args, kwargs, *concrete, rule_of=find_rule))

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
