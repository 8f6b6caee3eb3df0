"""Structures: scores and a pruning ratio in, kept channels and channels per layer out (Sec. 3.2, 3.3)."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from pat.channels import ChannelGroup


def kept_count(total: int, ratio: float) -> int:
    """Channels left of ``total`` when at least the share ``ratio`` goes (constraint of Eq. 1).

    ``total - ceil(ratio * total)``; the product is lowered by 1e-9 before rounding up so that a ratio such
    as 0.9, which has no exact float, removes 90 of 100 and not 91.

    Raises:
        ValueError: if ``ratio`` is outside [0, 1] or ``total`` is negative.
    """
    if not 0 <= ratio <= 1:
        raise ValueError(f"ratio must lie in [0, 1], got {ratio}")
    if total < 0:
        raise ValueError(f"total must not be negative, got {total}")
    return total - math.ceil(ratio * total - 1e-9)


def top_channels(
    scores: Mapping[str, "Tensor"],
    keep: int,
    multiplicity: Mapping[str, int] | None = None,
    min_channels: int = 0,
) -> dict[str, "Tensor"]:
    """The best channels by one global ranking (Algorithm 2, line 7).

    Equal scores keep the earlier group, then the lower channel.

    Args:
        scores: per group, ``[size]``; finite, or ``-inf`` for channels that are already gone.
        keep: how many to keep: channels, or with ``multiplicity`` filters.
        multiplicity: filters that one channel of a group stands for. The longest prefix of the ranking
            whose filters sum to at most ``keep`` is kept.
        min_channels: channels that every group keeps, its best first; the rest goes by rank.

    Returns:
        Per group a bool tensor ``[size]`` on the CPU, True where kept.

    Raises:
        ValueError: if ``keep`` is negative or more than there is, a score is NaN, or ``min_channels`` of
            each group are more than ``keep``.
    """
    import torch

    sizes = {name: score.numel() for name, score in scores.items()}
    weights = {name: 1 if multiplicity is None else multiplicity[name] for name in scores}
    total = sum(size * weights[name] for name, size in sizes.items())
    if not 0 <= keep <= total:
        raise ValueError(f"keep must lie between 0 and the {total} there are, got {keep}")
    if min_channels < 0:
        raise ValueError(f"min_channels must not be negative, got {min_channels}")
    if not sizes:
        return {}
    flat = torch.cat([score.detach().flatten().to("cpu", torch.float64) for score in scores.values()])
    if bool(torch.isnan(flat).any()):
        bad = [name for name, score in scores.items() if bool(torch.isnan(score).any())]
        raise ValueError(f"scores must not be NaN, as in {bad[0]!r}")
    cost = torch.cat([torch.full((size,), weights[name]) for name, size in sizes.items()])
    kept = torch.zeros(flat.numel(), dtype=torch.bool)
    offset = 0
    for size in sizes.values():
        best = torch.sort(flat[offset : offset + size], descending=True, stable=True).indices
        kept[offset + best[:min_channels]] = True
        offset += size
    reserved = int(cost[kept].sum())
    if reserved > keep:
        raise ValueError(
            f"min_channels={min_channels} of each of {len(sizes)} groups are {reserved}, "
            f"more than the {keep} to keep"
        )
    order = torch.sort(flat, descending=True, stable=True).indices
    order = order[~kept[order]]
    fits = reserved + cost[order].cumsum(0) <= keep
    kept[order[fits]] = True  # costs are positive, so what fits is a prefix
    return dict(zip(sizes, torch.split(kept, list(sizes.values())), strict=True))


def rounded_channels(
    scores: Mapping[str, "Tensor"],
    keep: int,
    multiple: int,
    multiplicity: Mapping[str, int] | None = None,
    min_channels: int = 0,
) -> dict[str, "Tensor"]:
    """The best channels in widths that kernels are fast at: of each group a multiple, or all of it.

    Not in the paper, which keeps exact counts. From those of :func:`top_channels`, every group goes to the
    multiple below; then those go to the one above, the largest remainder first (as a share of the step; of
    equal ones the earlier group), that bring the total nearer to ``keep``. So a group is less than a multiple
    off its rank's count, and the total at most half a multiple off ``keep``, with ``multiplicity`` that of
    the group with the largest; a multiple of 1 is :func:`top_channels` itself. Where rounding gives a group
    more than its rank for the sake of ``min_channels``, the others pay, since it gets them before the
    ranking begins.

    Args:
        scores, keep, multiplicity: see :func:`top_channels`.
        multiple: of channels; 1 for the exact counts.
        min_channels: that every group keeps, rounded up to a multiple: with at least 1, groups that are no
            larger than a multiple stay whole.

    Returns:
        Per group a bool tensor ``[size]`` on the CPU, True where kept: its best channels, of equal scores the
        lower ones.

    Raises:
        ValueError: if ``multiple`` is under 1, and as :func:`top_channels`.
    """
    least = round_up(min_channels, multiple) if min_channels > 0 else min_channels
    kept = top_channels(scores, keep, multiplicity, least)
    if multiple == 1:
        return kept
    exact = {name: min(count, _left(scores[name])) for name, count in channel_counts(kept).items()}
    above = {name: min(round_up(count, multiple), _left(scores[name])) for name, count in exact.items()}
    counts = {n: exact[n] if exact[n] == above[n] else exact[n] // multiple * multiple for n in kept}
    weights = {name: 1 if multiplicity is None else multiplicity[name] for name in kept}
    missing = keep - sum(count * weights[name] for name, count in counts.items())
    between = [name for name in kept if counts[name] < above[name]]
    for name in sorted(between, key=lambda n: (counts[n] - exact[n]) / (above[n] - counts[n])):
        gain = (above[name] - counts[name]) * weights[name]
        if abs(missing - gain) < abs(missing):
            counts[name], missing = above[name], missing - gain
    return {name: _best(scores[name], count) for name, count in counts.items()}


def widened_channels(
    scores: Mapping[str, "Tensor"], kept: Mapping[str, "Tensor"], multiple: int
) -> dict[str, "Tensor"]:
    """What is kept, and of each group the next best up to a multiple or all of it.

    Args:
        scores: ``[size]`` per group, by which ``kept`` is the best; ``-inf`` for channels that are gone.
        kept: bool ``[size]`` per group.
        multiple: of channels.
    """
    counts = {name: round_up(count, multiple) for name, count in channel_counts(kept).items()}
    return {name: _best(scores[name], min(count, _left(scores[name]))) for name, count in counts.items()}


def round_up(count: int, multiple: int) -> int:
    """The least multiple that is not under a count.

    Raises:
        ValueError: if ``multiple`` is under 1.
    """
    if multiple < 1:
        raise ValueError(f"the multiple to round to must be at least 1, got {multiple}")
    return -(-count // multiple) * multiple


def _left(score: "Tensor") -> int:
    """Channels that are not gone."""
    return int((score > -math.inf).sum())


def _best(score: "Tensor", count: int) -> "Tensor":
    """Bool ``[size]``: so many of the highest scores; of equal ones the lower channels."""
    import torch

    kept = torch.zeros(score.numel(), dtype=torch.bool)
    kept[torch.sort(score.detach().cpu(), descending=True, stable=True).indices[:count]] = True
    return kept


def channel_counts(
    kept: Mapping[str, "Tensor"], groups: Mapping[str, "ChannelGroup"] | None = None
) -> dict[str, int]:
    """A structure N = {n_1, ..., n_L}: how many channels each group, or each layer, keeps.

    Args:
        kept: bool tensor ``[size]`` per group.
        groups: with groups, counts are per convolution: a coupled group's count for each of its layers.
    """
    counts = {name: int(mask.sum()) for name, mask in kept.items()}
    if groups is None:
        return counts
    layers: dict[str, int] = {}
    for name, count in counts.items():
        for member in groups[name].members:
            layers[member.layer] = layers.get(member.layer, 0) + count
    return layers
