"""A criterion in one file: filters that others of their layer can stand in for go first."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pat.channels import ChannelGroup
from pat.criteria import CRITERIA, of_weights


def distances(model: nn.Module, groups: Mapping[str, ChannelGroup]) -> dict[str, Tensor]:
    """A filter's distances to all filters of its layer, summed; the mean over a group's layers.

    Args:
        model: the network the groups were traced from.
        groups: groups to score.

    Returns:
        Scores per group name, each ``[group.size]``, on the CPU.
    """
    scores = {}
    for name, group in groups.items():
        sums = []
        for member in group.members:
            filters = model.get_parameter(f"{member.layer}.weight").detach().flatten(1)
            sums.append(torch.cdist(filters, filters).sum(1).cpu()[member.channels])
        scores[name] = torch.stack(sums).mean(0)
    return scores


CRITERIA.register(of_weights("median", "He et al. 2019, FPGM: far from the geometric median", distances))
