"""SNIP (Lee et al. 2019): one minibatch at initialisation says which connections the loss is sensitive to."""

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
class SNIP(AtInitialisation):
    """One shot: the channels with the lowest connection sensitivity go.

    A weight's score is ``|w dL/dw|`` (the paper's normalisation changes no ranking), a channel's the sum
    over its filters.

    Args:
        ratio: share of neurons to remove, in [0, 1).
        batches: minibatches that the gradient is the mean of; one in the paper.

    Raises:
        ValueError: for a setting out of range.
    """

    name = "snip"
    title = "SNIP"
    source = "Lee et al. 2019, Sec. 4.1 and Algorithm 1"

    batches: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(batches=self.batches)

    @property
    def passes(self) -> int:
        return self.rounds * self.batches

    def scorer(
        self, start: Start, groups: "ChannelGroups", neurons: "Mapping[str, ChannelGroup]"
    ) -> "Scorer":
        from pat.rivals.scores.sensitivity import ConnectionSensitivity

        return ConnectionSensitivity(start, groups, neurons, self.batches, returning=self.returning)
