"""How neurons are counted, and which of them a ratio keeps: by filters, or by coupled channels."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from pat.channels import ChannelGroup
from pat.structure import channel_counts, kept_count, rounded_channels, top_channels, widened_channels

Count = Literal["filter", "unit"]


class Counting:
    """The neurons F, each group's channels counted as the filters that they are, or once.

    Args:
        neurons: groups by name.
        count: ``"filter"`` or ``"unit"``, see :class:`pat.PruningAwareTraining`.
        min_channels: that every group keeps.
        ratio: alpha, the share to remove.
        round_to: the multiple that the last step of Algorithm 1 rounds each group's channels to.

    Attributes:
        total: ``|F|``.
        keep: how many stay.

    Raises:
        ValueError: for another way to count, or if so many cannot stay.
    """

    def __init__(
        self,
        neurons: Mapping[str, ChannelGroup],
        count: Count,
        min_channels: int,
        ratio: float,
        round_to: int = 1,
    ) -> None:
        if count not in ("filter", "unit"):
            raise ValueError(f"count must be 'filter' or 'unit', got {count!r}")
        if isinstance(round_to, bool) or not isinstance(round_to, int) or round_to < 1:
            raise ValueError(f"round_to must be a whole number of channels, at least 1, got {round_to!r}")
        self._neurons, self.count, self.min_channels = neurons, count, min_channels
        self._each = {name: g.multiplicity if count == "filter" else 1 for name, g in neurons.items()}
        self.total = sum(g.size * self._each[name] for name, g in neurons.items())
        self.keep = kept_count(self.total, ratio)
        self._round_to = round_to
        equal = {name: torch.zeros(g.size) for name, g in neurons.items()}
        self.top(equal, self.keep)
        try:
            self.left(equal, self.keep, last=True)
        except ValueError as error:
            raise ValueError(f"with round_to={round_to}, {error}; lower it, or the ratio") from None

    def top(self, scores: Mapping[str, Tensor], keep: int) -> dict[str, Tensor]:
        """The channels (bool ``[size]`` by group) of the so many highest scores ``[size]``."""
        return top_channels(scores, keep, self._each, self.min_channels)

    def left(self, scores: Mapping[str, Tensor], keep: int, *, last: bool) -> dict[str, Tensor]:
        """The channels (bool ``[size]`` by group) after a step of Algorithm 1.

        With ``round_to`` the last step rounds, see :func:`pat.structure.rounded_channels`. Until then every
        group keeps its next best up to a multiple, so that the last step may round up.

        Args:
            scores: ``[size]`` by group, ``-inf`` where an earlier step took the channel.
            keep: neurons by the schedule.
            last: whether this is the last step.
        """
        if self._round_to == 1:
            return self.top(scores, keep)
        if last:
            return rounded_channels(scores, keep, self._round_to, self._each, self.min_channels)
        return widened_channels(scores, self.top(scores, keep), self._round_to)

    def neurons(self, kept: Mapping[str, Tensor]) -> int:
        """How many are kept, in the way they are counted."""
        return sum(count * self._each[name] for name, count in channel_counts(kept).items())

    def settings(self) -> dict[str, Any]:
        """What a state must have been saved with."""
        own = {"count": self.count, "keep": self.keep, "min_channels": self.min_channels}
        return own if self._round_to == 1 else {**own, "round_to": self._round_to}

    def structure(self, kept: Mapping[str, Tensor]) -> dict[str, int]:
        """Channels that are kept by layer, or by group where units are counted."""
        return channel_counts(kept, self._neurons if self.count == "filter" else None)
