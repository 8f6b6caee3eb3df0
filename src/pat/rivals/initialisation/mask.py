"""The base of the rules: a ratio and scores in, the mask that a network begins its training with out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pat.methods import Method, Pruner, Start

if TYPE_CHECKING:
    from torch import Tensor

    from pat.channels import ChannelGroup, ChannelGroups

    Kept = Mapping[str, Tensor]
    Scorer = Callable[[Kept], dict[str, Tensor]]


@dataclass(frozen=True)
class AtInitialisation(Method):
    """Base of the rules that remove channels before the first step.

    A channel's score is the sum of the scores that the rule's paper gives to single weights, over all filters
    that produce the channel: one of a convolution (or a row of a Linear layer), and one of each further layer
    that an addition or a depthwise convolution couples with it. Biases and norms have no score, as in the
    papers. All channels are ranked together, as in Algorithm 2; every group keeps ``min_channels``.

    Attributes:
        returning: whether a channel that is out may be in again after a later round.

    Args:
        ratio: alpha, the share of neurons to remove, in [0, 1).

    Raises:
        ValueError: for a ratio out of range.
    """

    returning: ClassVar[bool] = False

    ratio: float

    def __post_init__(self) -> None:
        if not 0 <= self.ratio < 1:
            raise ValueError(f"ratio must lie in [0, 1), got {self.ratio}")

    @property
    def rounds(self) -> int:
        """How often it scores and prunes, on FORCE's exponential schedule."""
        return 1

    @property
    def passes(self) -> int:
        """Forward and backward passes of a minibatch that scoring takes."""
        return 0

    def scorer(
        self, start: Start, groups: "ChannelGroups", neurons: "Mapping[str, ChannelGroup]"
    ) -> "Scorer":
        """What scores channels while some are switched off.

        Args:
            start: the network and its data; it leaves them as they are.
            groups, neurons: of the network's trace, and those whose channels may go.

        Returns:
            A function of what is kept (bool ``[size]`` by group) that gives scores ``[size]`` by group, on
            the CPU. Those of channels that are off count only if they may return.
        """
        raise NotImplementedError

    def build(self, start: Start) -> Pruner:
        """The network without its lowest channels, and a pruner that has nothing more to do.

        Raises:
            ValueError: if ``min_channels`` does not allow the ratio, or a channel has no finite score.
        """
        import torch

        from pat.policy import Never
        from pat.rivals.initialisation.lost import Lost

        pruner = start.algorithm1(ratio=self.ratio, policy=Never())
        with torch.random.fork_rng(devices=[start.example.device] if start.example.is_cuda else []):
            torch.manual_seed(start.seed)  # dropout, whatever was drawn before
            kept = self._mask(start, pruner.groups, pruner.neurons)
        if pruner.groups.collapsed(kept):
            return Lost(start.model, pruner.groups, pruner.neurons, kept, self.title)
        pruner.adopt(kept)
        return pruner

    def _mask(
        self, start: Start, groups: "ChannelGroups", neurons: "Mapping[str, ChannelGroup]"
    ) -> "dict[str, Tensor]":
        import torch

        from pat.loops.counting import Counting
        from pat.schedule import exponential

        counting = Counting(neurons, start.count, start.min_channels, self.ratio)
        scorer = self.scorer(start, groups, neurons)
        kept = {name: torch.ones(group.size, dtype=torch.bool) for name, group in neurons.items()}
        for left in exponential(counting.total, counting.keep, self.rounds):
            scores = scorer(kept)
            for name, score in scores.items():
                if not bool(score.isfinite().all()):
                    raise ValueError(f"{self.title}: scores must be finite, those of {name!r} are {score}")
            if self.returning:
                kept = counting.top(scores, left)
            else:
                now = {name: score.where(kept[name], -torch.inf) for name, score in scores.items()}
                kept = {name: best & kept[name] for name, best in counting.top(now, left).items()}
            if groups.collapsed(kept):
                break  # no gradient tells the channels of such a network apart
        return kept

    def describe(self) -> str:
        return f"{self.title} {100 * self.ratio:g} %"

    def training_share(
        self, dense: int, final: int, steps_per_epoch: int, removals: Sequence[tuple[int, int]], epochs: int
    ) -> float:
        """Small from the first step on; the passes that score count as dense ones."""
        return final / dense + self.passes / (steps_per_epoch * epochs)


def at_least_one(**settings: int) -> None:
    """Refuse settings below 1.

    Raises:
        ValueError: naming the setting and its value.
    """
    for name, value in settings.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
