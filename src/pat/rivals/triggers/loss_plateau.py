"""A plateau of the training loss, by Prechelt's training progress (1998)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pat.policy import POLICIES, Seen
from pat.rivals.triggers.threshold import Threshold
from pat.stability import Structure


@POLICIES.register
@dataclass(frozen=True)
class LossPlateau(Threshold):
    """The training progress over the last strip of five epochs is at most 0.1 per thousand.

    The progress is by how much the strip's mean training loss lies above its smallest, in thousandths of the
    smallest; it is looked at after every strip. Prechelt uses it to end trainings whose error no longer
    falls, with these two constants; as a moment to prune it is not published.

    Args:
        threshold: the largest progress that is none, per thousand.
        strip: epochs of a strip.
        fallback: the epoch to prune in if that does not happen before.

    Raises:
        ValueError: for a setting out of range; in training, if the loop does not tell its loss.
    """

    kind = "loss_plateau"
    title = "loss plateau"
    source = "Prechelt 1998, training progress"
    rises = False
    bounds = (0.0, math.inf)

    threshold: float = 0.1
    strip: int = 5
    losses: list[float] = field(init=False, repr=False, compare=False, default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.strip < 2:
            raise ValueError(f"strip must be at least 2, got {self.strip}")

    @property
    def first(self) -> int:
        return self.strip - 1

    def signal(self, counts: Structure, seen: Seen | None) -> float | None:
        """The progress after an epoch that ends a strip; None after others, and if a loss is not finite."""
        if seen is None or seen.loss is None:
            raise ValueError(
                f"the policy {self.kind!r} watches the training loss: give it to end_epoch(loss)"
            )
        self.losses.append(float(seen.loss))
        if len(self.losses) < self.strip:
            return None
        strip = list(self.losses)
        self.losses.clear()
        return progress(strip)

    def memory(self) -> dict[str, Any]:
        return {"losses": list(self.losses)}

    def remember(self, state: Mapping[str, Any]) -> None:
        self.losses[:] = state["losses"]


def progress(losses: list[float]) -> float | None:
    """Prechelt's training progress of a strip of losses, per thousand; None where it is not defined.

    ``1000 (sum E / (k min E) - 1)`` over the k losses E.
    """
    smallest = min(losses)
    if not all(map(math.isfinite, losses)) or smallest <= 0:
        return None
    return 1000 * (math.fsum(losses) / (len(losses) * smallest) - 1)
