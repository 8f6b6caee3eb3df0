"""A rival in one file: channels drawn at random go before training begins."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from pat.methods import METHODS, Method, Pruner, Start


@METHODS.register
@dataclass(frozen=True)
class RandomStart(Method):
    """A share of every group's channels, drawn with the run's seed, goes before the first step.

    Args:
        share: of each group's channels, in [0, 1); at least one stays.

    Raises:
        ValueError: for a share out of range.
    """

    name = "random_start"
    title = "random channels at the start"
    source = "a baseline of Blalock et al. 2020"

    share: float

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise ValueError(f"share must lie in [0, 1), got {self.share}")

    def build(self, start: Start) -> Pruner:
        from pat.policy import Never

        pruner = start.algorithm1(ratio=0.0, policy=Never())
        generator = torch.Generator().manual_seed(start.seed)
        kept = {}
        for name, group in pruner.neurons.items():
            order = torch.randperm(group.size, generator=generator)
            kept[name] = order < max(1, round((1 - self.share) * group.size))
        pruner.adopt(kept)
        return pruner

    def training_share(
        self, dense: int, final: int, steps_per_epoch: int, removals: Sequence[tuple[int, int]], epochs: int
    ) -> float:
        return final / dense  # small from the first step on
