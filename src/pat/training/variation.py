"""Other masks for one network: the same structure with other channels, or another structure (Sec. 4.5)."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from pat.channels import ChannelGroup
from pat.stability import similarity
from pat.structure import channel_counts

Kept = Mapping[str, Tensor]
_DIVISIONS = 20  # of the groups into givers and takers, until one has room enough


def same_structure(kept: Kept, generator: torch.Generator) -> dict[str, Tensor]:
    """As many channels in each group, drawn at random.

    Args:
        kept: bool ``[size]`` per group, the mask to vary.
        generator: the source of the draw.
    """
    return {name: _draw(mask.numel(), int(mask.sum()), generator) for name, mask in kept.items()}


def other_structure(
    kept: Kept,
    groups: Mapping[str, ChannelGroup],
    target: float,
    generator: torch.Generator,
    *,
    by_filter: bool = True,
) -> dict[str, Tensor]:
    """A random structure of about the same size at a given similarity, its channels drawn at random.

    Half of the groups, drawn at random, give channels to the other half, one at a time, until Psi to the
    first structure has come down to the target. No group that kept something is emptied.

    Args:
        kept: bool ``[size]`` per group, the mask to vary.
        groups: the neurons F.
        target: Psi (Eq. 5) to the structure of ``kept``, in (0, 1).
        generator: the source of the draws.
        by_filter: a channel of a coupled group counts once for each of its layers, in the size and in Psi.

    Returns:
        A mask that is smaller than ``kept`` by less than the largest group's multiplicity, if at all.

    Raises:
        ValueError: if the target is out of range, or cannot be reached.
    """
    if not 0 < target < 1:
        raise ValueError(f"a target similarity must lie in (0, 1), got {target}")
    names = list(kept)
    weight = {name: groups[name].multiplicity if by_filter else 1 for name in names}
    counts = {name: int(mask.sum()) for name, mask in kept.items()}
    start = _structure(counts, kept, groups, by_filter)
    for _ in range(_DIVISIONS):
        found, psi = _moved(
            counts,
            kept,
            weight,
            lambda c: similarity(start, _structure(c, kept, groups, by_filter)),
            target,
            generator,
        )
        if found is not None:
            return {name: _draw(kept[name].numel(), found[name], generator) for name in names}
    raise ValueError(f"no structure of similarity {target} was found; the last came to {psi:.3f}")


def _moved(
    before: Mapping[str, int],
    kept: Kept,
    weight: Mapping[str, int],
    psi_of: Callable[[Mapping[str, int]], float],
    target: float,
    generator: torch.Generator,
) -> tuple[dict[str, int] | None, float]:
    """Channels moved from one random half of the groups to the other (None if that fills first), and Psi."""
    names, counts = list(before), dict(before)
    order = [names[i] for i in torch.randperm(len(names), generator=generator).tolist()]
    givers, takers = order[: len(order) // 2], order[len(order) // 2 :]
    size = total = sum(counts[name] * weight[name] for name in names)
    while True:
        psi = psi_of(counts)
        able = [n for n in takers if counts[n] < kept[n].numel() and size + weight[n] <= total]
        step = 1
        if not able and psi <= target:
            return counts, psi
        if not able:  # nothing fits into the gap: make it wider
            able, step = [name for name in givers if counts[name] > 1], -1
        if not able or all(counts[name] == kept[name].numel() for name in takers):
            return None, psi
        chosen = able[int(torch.randint(len(able), (), generator=generator))]
        counts[chosen] += step
        size += step * weight[chosen]


def _structure(
    counts: Mapping[str, int], kept: Kept, groups: Mapping[str, ChannelGroup], by_filter: bool
) -> dict[str, int]:
    masks = {name: torch.arange(kept[name].numel()) < n for name, n in counts.items()}
    return channel_counts(masks, groups if by_filter else None)


def _draw(size: int, count: int, generator: torch.Generator) -> Tensor:
    mask = torch.zeros(size, dtype=torch.bool)
    mask[torch.randperm(size, generator=generator)[:count]] = True
    return mask
