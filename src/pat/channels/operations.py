"""Operations of a trace as rules see them, and the plainest rules."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import fx, nn

from pat.channels.coupling import Channels, Coupling, Opaque, Value, all_ids


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
        rule_of: the rule of another module, for layers that hold activations.
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
    rule_of: Callable[[nn.Module], "Rule"]

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


def keeps_zero(call: Call) -> Value | None:
    """One value in, the same channels out, f(0) = 0."""
    return call.input if call.input is not None and len(call.values) == 1 else no_rule(call)


def elementwise(call: Call) -> Value | None:
    """One value in, the same channels out, f(0) != 0 (a sigmoid): usable only as a factor of a product."""
    value = keeps_zero(call)
    return replace(value, zero=False) if isinstance(value, Channels) else value


def unknown(call: Call) -> Value | None:
    """An operation without a rule."""
    return no_rule(call)


def no_rule(call: Call) -> Value | None:
    return call.whole("has no rule for following channels") if call.values else None
