"""An ATen operation and the layer it runs in, as rules see them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from pat.channels.coupling import Facet

INPUT = "they are the model's input"
OUTPUT = "they are the model's output"
FITTED = ("in_channels", "out_channels", "num_features", "num_channels", "channels")
"""Attributes that surgery makes agree with a layer's parameters."""


class Count(int):
    """A number computed from the size of a dimension with channels: it follows them after a removal."""

    source: Tensor


class Share(float):
    """A fraction or root computed from such a number."""

    source: Tensor


def counted(value: Any, source: Tensor) -> Any:
    kind = {int: Count, float: Share}.get(type(value))
    if kind is None:
        return value
    number = kind(value)
    number.source = source
    return number


def _derived(base: type, name: str) -> Callable[[Any, Any], Any]:
    def compute(self: Any, *others: Any) -> Any:
        value = getattr(base, name)(self, *others)
        if value is NotImplemented:  # an int and a float
            value = getattr(float, name)(float(self), *others)
        return counted(value, self.source)

    return compute


for _name in (
    "add",
    "radd",
    "sub",
    "rsub",
    "mul",
    "rmul",
    "floordiv",
    "truediv",
    "rtruediv",
    "pow",
    "rpow",
    "neg",
):
    for _kind, _base in ((Count, int), (Share, float)):
        setattr(_kind, f"__{_name}__", _derived(_base, f"__{_name}__"))


@dataclass(frozen=True)
class Alone:
    """A layer that looks across channels (a LayerNorm): in a masked model it runs on those kept alone.

    Attributes:
        layer: qualified name.
        ids: the labels of its input's channels.
        dim: the dimension of the input that holds them.
        cuts: its parameters and buffers with the dimension to cut.
        scatter: whether its output has the same channels there.
    """

    layer: str
    ids: Tensor
    dim: int
    cuts: tuple[tuple[str, int], ...] = ()
    scatter: bool = True


@dataclass(frozen=True)
class Step:
    """Operations between which channels are known, for finding out whether the input reaches the output."""

    inputs: tuple[int, ...]
    layer: str | None = None
    output: bool = False


@dataclass
class Frame:
    """A module whose forward pass runs.

    Attributes:
        inputs, before: its arguments, and what is known about their channels.
        across: set once an operation in it has mixed channels.
        rule: the user's own for the module.
    """

    name: str
    module: nn.Module
    inputs: list[Tensor]
    before: list[Facet] = field(default_factory=list)
    across: str = ""
    rule: Any = None


@dataclass
class Op:
    """One ATen operation as a rule sees it.

    Attributes:
        walk: the pass that it belongs to.
        func: the operation; ``name`` is its packet's, without the underscore of in-place ones.
        args, kwargs: its arguments; out: its result.
    """

    walk: Any
    func: Any
    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    out: Any = None
    tensors: list[Tensor] = field(default_factory=list)

    def facets(self, tensor: Any) -> list[Facet]:
        """What is known about an argument's channels."""
        known: list[Facet] = self.walk.facets(tensor)
        return known

    def keep(self, facet: Facet, why: str) -> None:
        """These channels stay."""
        self.walk.coupling.keep(facet.ids, f"{self.where} {why}")

    def follows(self, size: int, dim: int, held: bool) -> bool:
        """Whether a size of the result is not a number written in the code, but computed.

        In a parameter's own layer the numbers that surgery makes agree with it (``out_channels``) follow too.
        """
        module = self.walk.frames[-1].module
        if held and module._parameters and size in {getattr(module, name, None) for name in FITTED}:
            return True
        sizes = self.walk.sizes
        if len(sizes) == self.out.dim():
            return isinstance(sizes[dim], Count) or sizes[dim] == -1
        return size not in self.walk.literals

    @property
    def where(self) -> str:
        """The operation and its layer."""
        return f"{self.name} in layer {self.walk.frames[-1].name or '(the model)'!r}"

    def across(self, facet: Facet, why: str) -> None:
        """The operation mixes channels: its layer will see those kept alone, or they stay."""
        frame = self.walk.frames[-1]
        if self.walk.can_be_alone(frame):
            frame.across = f"{self.where} {why}"
        else:
            self.keep(facet, why)


Rule = Callable[[Op], list[Facet] | list[list[Facet]]]


def flat_tensors(tree: Any) -> Iterator[Tensor]:
    """All tensors in nested containers (a model's output, an operation's arguments)."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, dict):
        for item in tree.values():
            yield from flat_tensors(item)
    elif isinstance(tree, tuple | list):
        for item in tree:
            yield from flat_tensors(item)


def numbers(tree: Any) -> Iterator[Any]:
    if isinstance(tree, int | float) and not isinstance(tree, bool):
        yield tree
    elif isinstance(tree, tuple | list):
        for item in tree:
            yield from numbers(item)
    elif isinstance(tree, dict):
        yield from numbers(list(tree.values()))
    elif isinstance(tree, slice):
        yield from numbers((tree.start, tree.stop, tree.step))
