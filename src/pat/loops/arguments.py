"""What a loop asks for, checked."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor

from pat.channels import ChannelGroup, ChannelGroups, UnsupportedOperation
from pat.criteria import CRITERIA

Adjust = Callable[[Mapping[str, Tensor], Mapping[str, Tensor]], Mapping[str, Tensor]]
"""Scores ``[size]`` per group and what is kept of it (bool ``[size]``) in, the scores to rank by out."""


def check(
    ratio: float,
    steps_per_epoch: int,
    prune_steps: int,
    criteria: Iterable[str],
    policy: Any,
    start_epoch: int,
) -> None:
    """Refuse arguments of :class:`pat.PruningAwareTraining` that no model can be right for.

    Raises:
        ValueError: naming the argument, its value, and what was expected.
    """
    if not 0 <= ratio < 1:
        raise ValueError(f"ratio must lie in [0, 1), got {ratio}")
    if steps_per_epoch < 1 or prune_steps < 1:
        raise ValueError(
            f"steps_per_epoch and prune_steps must be at least 1, got {steps_per_epoch}, {prune_steps}"
        )
    for name in criteria:
        if name not in CRITERIA:
            raise ValueError(f"criterion must be one of {', '.join(CRITERIA)}, got {name!r}")
    if isinstance(policy, type) or not hasattr(policy, "prune_epoch"):
        raise ValueError(
            f"policy must be one of pat.policy (Never, AtEpoch, RandomEpoch, EPI, ...), got {policy!r}"
        )
    due = policy.prune_epoch
    if due is not None and due < start_epoch:
        raise ValueError(f"the policy prunes in epoch {due}, before start_epoch={start_epoch}")


def neurons(groups: ChannelGroups, keep_stem: bool, linear: bool | None) -> dict[str, ChannelGroup]:
    """The groups whose channels may go, see :class:`pat.PruningAwareTraining`.

    Raises:
        UnsupportedOperation: if there are none.
    """
    found = groups.neurons(keep_stem, linear)
    if not found:
        raise UnsupportedOperation(f"the model has no convolution whose channels could be pruned: {groups!r}")
    return found


def adjusted(
    adjust: Adjust | None, scores: Mapping[str, Tensor], kept: Mapping[str, Tensor]
) -> Mapping[str, Tensor]:
    """The scores to rank by.

    Raises:
        ValueError: if ``adjust`` gave others than those of the same groups and sizes.
    """
    if adjust is None:
        return scores
    ranked = adjust(scores, kept)
    for name, score in scores.items():
        if name not in ranked or ranked[name].shape != score.shape:
            raise ValueError(f"adjust must give {score.numel()} scores for group {name!r}")
    return ranked
