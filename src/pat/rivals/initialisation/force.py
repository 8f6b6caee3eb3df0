"""FORCE (de Jorge et al. 2021): connection sensitivity after pruning; channels may come back on the way."""

from dataclasses import dataclass

from pat.methods import METHODS
from pat.rivals.initialisation.iterative_snip import IterativeSNIP


@METHODS.register
@dataclass(frozen=True)
class FORCE(IterativeSNIP):
    """Each round ranks all channels anew, those that are off as well, by the gradient of the pruned network.

    A weight's score is ``|w dL/dw|`` with the dense weight w and the gradient at the network that the last
    round left, a channel's the sum over its filters. Whole channels are switched off where they are read
    (:class:`~pat.rivals.scores.gates.Gates`): a filter of zeros before BatchNorm or ReLU, which is
    the paper's formula taken literally, has a gradient that grows beyond bounds or is zero. Without these two
    both are the same. One step is SNIP.

    Args:
        ratio: share of neurons to remove, in [0, 1).
        batches: minibatches of a round, new ones each time.
        steps: rounds, on an exponential schedule; 60 in the authors' examples.

    Raises:
        ValueError: for a setting out of range.
    """

    name = "force"
    title = "FORCE"
    source = "de Jorge et al. 2021, FORCE"
    returning = True
