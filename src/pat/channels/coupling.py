"""Which channels go together: labels on the channels of values, joined by union-find along a trace."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor


class UnsupportedOperation(ValueError):
    """A model holds an operation through which channels cannot be followed; the message names its node."""


@dataclass(frozen=True)
class Channels:
    """A value whose channels are known.

    Attributes:
        ids: int64 ``[size of dim]``, the label of each entry along ``dim``.
        dim: the dimension that holds the channels, counted from the front.
        zero: whether a masked channel is exactly zero here, so that a consumer may lose it.
    """

    ids: Tensor
    dim: int
    zero: bool = True


@dataclass(frozen=True)
class Opaque:
    """A value in which channels have been mixed: they all have to stay.

    Attributes:
        ids: int64, the labels of all channels that went in.
    """

    ids: Tensor


Value = Channels | Opaque


@dataclass(frozen=True)
class LabelledDim:
    """One dimension of one parameter or buffer that follows the channels.

    Attributes:
        tensor: qualified name.
        dim: the dimension.
        ids: int64 ``[size of dim]``, a label for each entry.
        own: whether the entries produce the channel (a filter, a bias, a scale), so that zeroing them
            masks it, or only read it (an input channel of the next layer).
    """

    tensor: str
    dim: int
    ids: Tensor
    own: bool


class Coupling:
    """Union-find over channel labels, with what is known about them so far."""

    def __init__(self) -> None:
        self._parent: list[int] = []
        self._layers: dict[str, Tensor] = {}
        self._pinned: list[Tensor] = []
        self._conditions: list[tuple[Tensor, str]] = []
        self.dims: dict[tuple[str, int], LabelledDim] = {}
        self.convolutions: set[str] = set()
        self.norms: dict[str, Tensor] = {}
        self.pools: dict[str, Tensor] = {}
        self.stems: set[str] = set()

    def new(self, size: int) -> Tensor:
        """``size`` fresh labels, int64 ``[size]``."""
        start = len(self._parent)
        self._parent.extend(range(start, start + size))
        return torch.arange(start, start + size)

    def of_layer(self, layer: str, size: int) -> Tensor:
        """The labels of a layer's output channels: the same at every call of the layer."""
        if layer not in self._layers:
            self._layers[layer] = self.new(size)
        return self._layers[layer]

    @property
    def layers(self) -> dict[str, Tensor]:
        """Labels of the outputs of every convolution and Linear layer, in the trace's order."""
        return self._layers

    def find(self, label: int) -> int:
        """The representative of a label's class (the smallest label in it)."""
        root = label
        while self._parent[root] != root:
            root = self._parent[root]
        while self._parent[label] != root:
            self._parent[label], label = root, self._parent[label]
        return root

    def join(self, first: Tensor, second: Tensor) -> None:
        """Couple two rows of labels of equal length, entry by entry."""
        for a, b in zip(first.tolist(), second.tolist(), strict=True):
            x, y = self.find(a), self.find(b)
            if x != y:
                self._parent[max(x, y)] = min(x, y)

    def pin(self, ids: Tensor) -> None:
        """These channels have to stay: they are the model's input or output, or were excluded."""
        self._pinned.append(ids)

    def require_whole(self, ids: Tensor, problem: str) -> None:
        """These channels have to turn out pinned at the end of the walk, or ``problem`` is raised."""
        self._conditions.append((ids, problem))

    def label(self, tensor: str, dim: int, ids: Tensor, *, own: bool) -> None:
        """Note that a dimension of a parameter follows these channels."""
        known = self.dims.get((tensor, dim))
        if known is not None:  # a layer that is called twice reads both values' channels
            self.join(known.ids, ids)
        else:
            self.dims[tensor, dim] = LabelledDim(tensor, dim, ids, own)

    def pinned_roots(self) -> set[int]:
        """Representatives of the classes that have to stay.

        Raises:
            UnsupportedOperation: if an operation needs channels whole that could be pruned.
        """
        roots = {self.find(i) for ids in self._pinned for i in ids.tolist()}
        for ids, problem in self._conditions:
            if any(self.find(i) not in roots for i in ids.tolist()):
                raise UnsupportedOperation(problem)
        return roots


def all_ids(values: Iterable[Value]) -> Tensor:
    """All labels of some values in one row."""
    return torch.cat([torch.zeros(0, dtype=torch.int64), *(value.ids for value in values)])
