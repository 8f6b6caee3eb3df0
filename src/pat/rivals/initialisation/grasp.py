"""GraSP (Wang et al. 2020): one product of Hessian and gradient says which weights the gradient flows by."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pat.methods import METHODS, Start
from pat.rivals.initialisation.mask import AtInitialisation, at_least_one

if TYPE_CHECKING:
    from pat.channels import ChannelGroup, ChannelGroups
    from pat.rivals.initialisation.mask import Scorer

_PASSES = 4  # for the gradient one; for Hg forward, backward, and backward through both


@METHODS.register
@dataclass(frozen=True)
class GraSP(AtInitialisation):
    """One shot: the channels go whose removal lowers the norm of the gradient least, or raises it most.

    Removing a weight changes ``||g||^2 / 2`` by ``-w (Hg)_w`` to first order, and GraSP removes the weights
    where that is largest. The score here is ``w (Hg)_w``, so that the highest stay; a channel's
    is the sum over its filters, with signs: the effect of removing their weights together. g and H are over
    the weights of all convolutions and Linear layers.

    Over a filter before a BatchNorm the sum is ``-||g_filter||^2``, since the loss does not depend on its
    scale: there this rule removes the channels with the largest gradient.

    Args:
        ratio: share of neurons to remove, in [0, 1).
        batches: minibatches of g and H. The authors take ten images of each class.
        temperature: that logits are divided by; 200 in the authors' code.

    Raises:
        ValueError: for a setting out of range.
    """

    name = "grasp"
    title = "GraSP"
    source = "Wang et al. 2020, Algorithm 1"

    batches: int = 1
    temperature: float = 200.0

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(batches=self.batches)
        if not 0 < self.temperature < float("inf"):
            raise ValueError(f"temperature must be positive and finite, got {self.temperature}")

    @property
    def passes(self) -> int:
        return _PASSES * self.batches

    def scorer(
        self, start: Start, groups: "ChannelGroups", neurons: "Mapping[str, ChannelGroup]"
    ) -> "Scorer":
        from pat.rivals.scores.gradient_flow import gradient_flow
        from pat.rivals.scores.sums import channel_sums

        return lambda kept: channel_sums(
            gradient_flow(start, self.batches, self.temperature), groups, neurons
        )
