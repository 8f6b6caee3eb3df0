"""Which channels go together: labels on the entries of values, joined by a union-find over arrays."""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor


class UnsupportedOperation(ValueError):
    """Channels cannot be followed through a model; the message names the layers and what to exclude."""


@dataclass(frozen=True)
class Facet:
    """One way in which the entries of a value belong to channels.

    Attributes:
        ids: int64, of the value's rank, size 1 along dimensions where the label does not change.
        zero: whether a masked channel is exactly zero here, so that a consumer may lose it.
        if_alone: layers that would have to run on the kept channels alone for that.
        home: the dimension of a single channel, where no size can tell.
        held: whether the value is computed from parameters and buffers alone.
    """

    ids: Tensor
    zero: bool = True
    home: int | None = None
    held: bool = False
    if_alone: frozenset[str] = frozenset()

    @property
    def dims(self) -> tuple[int, ...]:
        """The dimensions along which labels change."""
        long = tuple(dim for dim, size in enumerate(self.ids.shape) if size > 1)
        return long if long or self.home is None else (self.home,)

    def only(self, dim: int) -> bool:
        """Whether the labels change along this one dimension."""
        return self.dims == (dim,)

    def rank(self, rank: int) -> "Facet":
        """The same in a value of a higher rank: dimensions of size 1 in front."""
        more = rank - self.ids.dim()
        home = None if self.home is None else self.home + more
        return replace(self, ids=self.ids.reshape([1] * more + list(self.ids.shape)), home=home)


@dataclass
class Labelled:
    """A dimension of a parameter or buffer: its labels, and whether its entries produce the channel (a
    filter, a bias, a scale: zeroing them masks it) or only read it (an input channel of the next layer)."""

    ids: Tensor
    own: bool = True


class Coupling:
    """What is known about labels so far: joins, and what has to stay; resolved once, at the end."""

    def __init__(self) -> None:
        self.size = 0
        self.tensors: dict[tuple[str, int], Labelled] = {}
        self.layers: dict[str, Tensor] = {}
        self.convolutions: set[str] = set()
        self.norms: dict[str, Tensor] = {}
        self.grouped: dict[str, Tensor] = {}
        self.pools: dict[str, Tensor] = {}
        self.stems: set[str] = set()
        self.whole: list[tuple[Tensor, str]] = []
        self.refused: list[tuple[Tensor, str]] = []
        self._starts: list[int] = []
        self._owners: list[tuple[str, int]] = []
        self._edges: list[tuple[Tensor, Tensor]] = []
        self._equal: list[tuple[Tensor, Tensor, str]] = []

    def new(self, size: int) -> Tensor:
        """``size`` fresh labels, int64 ``[size]``."""
        self.size += size
        return torch.arange(self.size - size, self.size)

    def of_tensor(self, name: str, dim: int, size: int) -> Tensor:
        """The labels along a dimension of a parameter or buffer: always the same."""
        if (name, dim) not in self.tensors:
            self._starts.append(self.size)
            self._owners.append((name, dim))
            self.tensors[name, dim] = Labelled(self.new(size))
        return self.tensors[name, dim].ids

    def owner(self, ids: Tensor) -> tuple[str, int] | None:
        """The parameter or buffer, and its dimension, that labels were made for."""
        if not ids.numel():
            return None
        first = int(ids.flatten()[0])
        i = bisect_right(self._starts, first) - 1
        if i < 0 or first >= self._starts[i] + self.tensors[self._owners[i]].ids.numel():
            return None
        return self._owners[i]

    def join(self, first: Tensor, second: Tensor) -> None:
        """Couple labels entry by entry; shapes are broadcast."""
        if first is not second:
            one, other = torch.broadcast_tensors(first, second)  # type: ignore[no-untyped-call]
            self._edges.append((one.flatten(), other.flatten()))

    def join_along(self, ids: Tensor, dim: int) -> Tensor:
        """Couple all labels along a dimension; the first stand for them."""
        first = ids.narrow(dim, 0, 1)
        self.join(ids, first)
        return first

    def keep(self, ids: Tensor, why: str) -> None:
        """These channels stay, because of ``why``."""
        self.whole.append((ids.flatten(), why))

    def same_count(self, source: Tensor, target: Tensor, why: str) -> None:
        """A number counts ``source`` and is used for ``target``: the same channels, or all of both stay."""
        self._equal.append((source.flatten(), target.flatten(), why))

    def resolve(self) -> tuple[Tensor, dict[int, str]]:
        """The classes of labels.

        Returns:
            int64 ``[labels]``, each label's representative (the smallest label of its class), and why
            classes stay, by representative.

        Raises:
            UnsupportedOperation: if an operation that cannot be followed sees channels that could go.
        """
        root = _components(self.size, self._edges)
        for source, target, why in self._equal:
            if set(root[source].tolist()) != set(root[target].tolist()):
                self.whole += [(source, why), (target, why)]
        reasons: dict[int, str] = {}
        for ids, why in self.whole:
            for label in torch.unique(root[ids]).tolist():
                reasons.setdefault(label, why)
        layers = {name: torch.unique(root[ids]).tolist() for name, ids in self.layers.items()}
        bad: dict[str, list[str]] = {}
        for ids, why in self.refused:
            free = {label for label in torch.unique(root[ids]).tolist() if label not in reasons}
            if names := [name for name, roots in layers.items() if not free.isdisjoint(roots)]:
                bad.setdefault(why, []).extend(names)
        if bad:
            names = list(dict.fromkeys(name for found in bad.values() for name in found))
            raise UnsupportedOperation(
                f"channels cannot be followed through {'; '.join(bad)}. Keep the layers before whole with "
                f"exclude={names}, or register a rule with pat.channels.register"
            )
        return root, reasons


def _components(size: int, edges: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Connected components over arrays: the smaller representative wins, until nothing changes.

    ``index_select`` throughout: indexing takes six times as long.
    """
    root = torch.arange(size)
    if not edges:
        return root
    a, b = (torch.cat(side) for side in zip(*edges, strict=True))
    while True:
        a, b = root.index_select(0, a), root.index_select(0, b)
        differ = (a != b).nonzero().flatten()
        if not differ.numel():
            return root
        a, b = a.index_select(0, differ), b.index_select(0, differ)
        root.scatter_reduce_(0, torch.maximum(a, b), torch.minimum(a, b), "amin")
        while not torch.equal(root, jumped := root.index_select(0, root)):
            root = jumped


def classes(labels: list[Tensor], stays: Tensor) -> Iterator[tuple[Tensor, list[int], Tensor]]:
    """Labels that may go, each with all others that the same layers have, in the order of their first use.

    Args:
        labels: of each layer's channels.
        stays: by label.

    Yields:
        The labels ``[n]``; the numbers of the layers that have each, in order, ``m``; their channels there,
        ``[n, m]``.
    """
    if not labels:
        return
    all_labels = torch.cat(labels)
    free = ~stays[all_labels]
    layer = torch.cat([torch.full_like(own, i) for i, own in enumerate(labels)])[free]
    channel = torch.cat([torch.arange(len(own)) for own in labels])[free]
    known, mine, counts = torch.unique(all_labels[free], return_inverse=True, return_counts=True)
    if not known.numel():
        return
    order = torch.sort(mine, stable=True).indices  # by label, then in the order of use
    begins = counts.cumsum(0) - counts
    by_use = torch.sort(order[begins]).indices  # labels in the order of their first use
    alike = _same_layers(mine, layer, len(labels), known.numel())[by_use]
    _, kind = torch.unique(alike, return_inverse=True)
    first = torch.full((int(kind.max()) + 1,), len(kind)).scatter_reduce(
        0, kind, torch.arange(len(kind)), "amin"
    )
    sorted_by_kind = torch.sort(first[kind], stable=True).indices
    for rows in torch.split(by_use[sorted_by_kind], torch.bincount(kind)[torch.argsort(first)].tolist()):
        used = order[begins[rows][:, None] + torch.arange(int(counts[rows[0]]))]
        yield known[rows], layer[used[0]].tolist(), channel[used]


def _same_layers(mine: Tensor, layer: Tensor, layers: int, labels: int) -> Tensor:
    """A number by label, the same for those that the same layers have, equally often in the same order."""
    kind, count = torch.zeros(labels, dtype=torch.long), 1
    for own in torch.split(mine, torch.bincount(layer, minlength=layers).tolist()):
        for once in _rounds(own):
            before, now = torch.unique(kind[once], return_inverse=True)
            kind[once] = now + count
            count += len(before)
    return kind


def _rounds(labels: Tensor) -> Iterator[Tensor]:
    """Labels without repetition; those that are left over come again."""
    ranked = torch.sort(labels).values
    while ranked.numel():
        repeated = torch.cat([ranked.new_zeros(1, dtype=torch.bool), ranked[1:] == ranked[:-1]])
        yield ranked[~repeated]
        ranked = ranked[repeated]
