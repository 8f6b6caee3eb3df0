"""Channels drawn at random: what pruning at initialisation has to be better than."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pat.methods import METHODS, Start
from pat.rivals.initialisation.mask import AtInitialisation

if TYPE_CHECKING:
    from torch import Tensor

    from pat.channels import ChannelGroup, ChannelGroups
    from pat.rivals.initialisation.mask import Scorer


@METHODS.register
@dataclass(frozen=True)
class RandomChannels(AtInitialisation):
    """Every channel's score is drawn uniformly, with the run's seed.

    Args:
        ratio: share of neurons to remove, in [0, 1).

    Raises:
        ValueError: for a ratio out of range.
    """

    name = "random"
    title = "random channels"
    source = "the baseline of Frankle et al. 2021"

    def scorer(
        self, start: Start, groups: "ChannelGroups", neurons: "Mapping[str, ChannelGroup]"
    ) -> "Scorer":
        import torch

        generator = torch.Generator().manual_seed(start.seed)

        def draw(kept: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
            return {name: torch.rand(group.size, generator=generator) for name, group in neurons.items()}

        return draw
