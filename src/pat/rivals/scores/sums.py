"""Scores of weights in, scores of channels out."""

from collections.abc import Mapping

import torch
from torch import Tensor

from pat.channels import ChannelGroup, ChannelGroups


def channel_sums(
    scores: Mapping[str, Tensor], groups: ChannelGroups, neurons: Mapping[str, ChannelGroup]
) -> dict[str, Tensor]:
    """For each channel the sum over the filters that produce it.

    Args:
        scores: of weights, by parameter's name, each of the parameter's shape.
        groups: the trace of their model.
        neurons: the groups to score.

    Returns:
        Float64 ``[size]`` by group, on the CPU.
    """
    total = torch.zeros(sum(group.size for group in groups.values()), dtype=torch.float64)
    for slot in groups.slots:
        if slot.own and slot.tensor in scores:
            values = scores[slot.tensor].detach().double().transpose(0, slot.dim).flatten(1).sum(1).cpu()
            taking_part = slot.units >= 0
            total.index_add_(0, slot.units[taking_part], values[taking_part])
    return {name: total[group.units.start : group.units.stop] for name, group in neurons.items()}
