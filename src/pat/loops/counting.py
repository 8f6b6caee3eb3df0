"""How neurons are counted, and which of them a ratio keeps: by filters, or by coupled channels."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from pat.channels import ChannelGroup
from pat.structure import channel_counts, kept_count, top_channels

Count = Literal["filter", "unit"]


class Counting:
    """The neurons F, each group's channels counted as the filters that they are, or once.

    Args:
        neurons: groups by name.
        count: ``"filter"`` or ``"unit"``, see :class:`pat.PruningAwareTraining`.
        min_channels: that every group keeps.
        ratio: alpha, the share to remove.

    Attributes:
        total: ``|F|``.
        keep: how many stay.

    Raises:
        ValueError: for another way to count, or if so many cannot stay.
    """

    def __init__(
        self, neurons: Mapping[str, ChannelGroup], count: Count, min_channels: int, ratio: float
    ) -> None:
        if count not in ("filter", "unit"):
            raise ValueError(f"count must be 'filter' or 'unit', got {count!r}")
        self._neurons, self.count, self.min_channels = neurons, count, min_channels
        self._each = {name: g.multiplicity if count == "filter" else 1 for name, g in neurons.items()}
        self.total = sum(g.size * self._each[name] for name, g in neurons.items())
        self.keep = kept_count(self.total, ratio)
        self.top({name: torch.zeros(g.size) for name, g in neurons.items()}, self.keep)

    def top(self, scores: Mapping[str, Tensor], keep: int) -> dict[str, Tensor]:
        """The channels (bool ``[size]`` by group) of the so many highest scores ``[size]``."""
        return top_channels(scores, keep, self._each, self.min_channels)

    def structure(self, kept: Mapping[str, Tensor]) -> dict[str, int]:
        """Channels that are kept by layer, or by group where units are counted."""
        return channel_counts(kept, self._neurons if self.count == "filter" else None)
