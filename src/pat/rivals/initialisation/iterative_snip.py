"""Iterative SNIP (de Jorge et al. 2021): SNIP in many small steps, each on what the last one left."""

from dataclasses import dataclass

from pat.methods import METHODS
from pat.rivals.initialisation.mask import at_least_one
from pat.rivals.initialisation.snip import SNIP


@METHODS.register
@dataclass(frozen=True)
class IterativeSNIP(SNIP):
    """SNIP's scores on the network that is left, a few channels at a time; what is out stays out.

    Its structured form is what the paper on when to prune says its column "Init." is (Table 1), and so is
    that of :class:`~pat.rivals.initialisation.force.FORCE`. There it is Algorithm 1 in epoch 0, by Eq. 3 on
    BatchNorm, with the weights being trained between two steps: ``--policy epoch --prune-epoch 0``. Here all
    steps are taken on the initial weights.

    Args:
        ratio: share of neurons to remove, in [0, 1).
        batches: minibatches of a round, new ones each time.
        steps: rounds of scoring and pruning, on an exponential schedule; 60 in the authors' examples.

    Raises:
        ValueError: for a setting out of range.
    """

    name = "iterative_snip"
    title = "iterative SNIP"
    source = "de Jorge et al. 2021, iterative SNIP"

    steps: int = 60

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(steps=self.steps)

    @property
    def rounds(self) -> int:
        return self.steps
