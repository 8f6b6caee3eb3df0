"""What a loop is told of an epoch, and of a network that is lost."""

from dataclasses import dataclass, field
from typing import Literal, Self

from torch import Tensor

Status = Literal["dense", "prune", "sparse"]
"""The phase of an epoch."""


class LayerCollapse(RuntimeError):
    """Pruning left no path from the model's input to its output: the model is constant."""

    @classmethod
    def after(cls, step: int, steps: int) -> Self:
        """In a step of Algorithm 1."""
        return cls(
            f"after step {step} of {steps} no path of channels leads from the input to the output; a lower "
            "ratio or min_channels=1 avoids it"
        )


@dataclass(frozen=True)
class EpochReport:
    """What happened in an epoch.

    Attributes:
        epoch: counted from 0.
        status: the epoch's phase.
        counts: the structure: after a dense epoch N_t of Algorithm 2 (one-shot, nothing is removed), after
            the pruning epoch what Algorithm 1 left; in sparse epochs None, but for the first after
            :meth:`~pat.pruner.PruningAwareTraining.adopt`.
        epi: EPI_t, None where undefined or where the policy has none.
        scores: after a dense epoch, per tracked criterion the scores ``[size]`` per group.
        skipped: minibatches left out of the scores because of non-finite gradients.
        unmeasured: layers that stayed whole because no gradient reached them.
        wanted, left: after the pruning epoch, how many neurons alpha keeps and how many are kept. They are
            equal but for coupled channels of several filters, which go whole, and for ``round_to``.
    """

    epoch: int
    status: Status
    counts: dict[str, int] | None = None
    epi: float | None = None
    scores: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    skipped: int = 0
    unmeasured: tuple[str, ...] = ()
    wanted: int | None = None
    left: int | None = None
