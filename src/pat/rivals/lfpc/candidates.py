"""The criteria that LFPC chooses from: filters in, scores and the masks that they lead to out."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from pat.channels import ChannelGroup, ChannelGroups
from pat.loops.shrinking import by_group
from pat.rivals.scores.gates import weights
from pat.structure import kept_count


def _l1(filters: Tensor) -> Tensor:
    return filters.abs().sum(1)


def _l2(filters: Tensor) -> Tensor:
    return filters.square().sum(1).sqrt()


def _geometric_median(filters: Tensor) -> Tensor:
    return torch.cdist(filters, filters).sum(1)


CANDIDATES: dict[str, Callable[[Tensor], Tensor]] = {
    "l1": _l1,
    "l2": _l2,
    "geometric_median": _geometric_median,
}
"""Scores ``[n]`` of a layer's filters ``[n, weights of each]``: two norms, and the sum of distances to all
filters of the layer, which is least near their geometric median (He et al. 2019). The lowest go."""


@torch.no_grad()
def candidate_scores(
    model: nn.Module, groups: ChannelGroups, neurons: Mapping[str, ChannelGroup]
) -> dict[str, Tensor]:
    """Scores of channels by every candidate; a coupled channel's are summed over its filters.

    Args:
        model: the network that ``groups`` was traced from.
        groups, neurons: its trace, and those to score.

    Returns:
        Float64 ``[candidates, size]`` by group, on the CPU.
    """
    own = weights(model)
    total = torch.zeros(len(CANDIDATES), sum(group.size for group in groups.values()), dtype=torch.float64)
    for slot in groups.slots:
        if slot.own and slot.tensor in own:
            filters = own[slot.tensor].detach().double().transpose(0, slot.dim).flatten(1)
            scores = torch.stack([of(filters) for of in CANDIDATES.values()]).cpu()
            taking_part = slot.units >= 0
            total.index_add_(1, slot.units[taking_part], scores[:, taking_part])
    return {name: scores.T for name, scores in by_group(total.T, neurons).items()}


def candidate_masks(scores: Tensor, ratio: float, min_channels: int) -> Tensor:
    """What each candidate keeps of a group: its best; of equal scores the lower channels.

    Args:
        scores: ``[candidates, size]``.
        ratio: share to remove.
        min_channels: that stay.

    Returns:
        Bool ``[candidates, size]``.
    """
    size = scores.shape[1]
    keep = max(kept_count(size, ratio), min(min_channels, size))
    order = torch.sort(scores, dim=1, descending=True, stable=True).indices
    return torch.zeros_like(scores, dtype=torch.bool).scatter_(1, order[:, :keep], True)
