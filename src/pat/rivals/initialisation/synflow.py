"""SynFlow (Tanaka et al. 2020): the flow through a network's absolute weights, without data."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pat.methods import METHODS, Start
from pat.rivals.initialisation.mask import AtInitialisation, at_least_one

if TYPE_CHECKING:
    from pat.channels import ChannelGroup, ChannelGroups
    from pat.rivals.initialisation.mask import Scorer


@METHODS.register
@dataclass(frozen=True)
class SynFlow(AtInitialisation):
    """In many rounds the channels go through which the least synaptic flow runs.

    A weight's score is ``|w| dR/d|w|``, R the sum of outputs of the network of absolute weights on an input
    of ones; a channel's is the sum over its filters. In a chain of layers the scores of
    each layer sum up to R, and what flows into a channel is what flows out of it, so that a layer is not
    emptied while others are full. No data is looked at; its cost, one image a round, is left out of the
    training's.

    Args:
        ratio: share of neurons to remove, in [0, 1).
        steps: rounds, on an exponential schedule; 100 in the paper.

    Raises:
        ValueError: for a setting out of range.
    """

    name = "synflow"
    title = "SynFlow"
    source = "Tanaka et al. 2020, Algorithm 1"

    steps: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(steps=self.steps)

    @property
    def rounds(self) -> int:
        return self.steps

    def scorer(
        self, start: Start, groups: "ChannelGroups", neurons: "Mapping[str, ChannelGroup]"
    ) -> "Scorer":
        from pat.rivals.scores.synaptic_flow import SynapticFlow

        return SynapticFlow(start.model, start.example, groups, neurons)
