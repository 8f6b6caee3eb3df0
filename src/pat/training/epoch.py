"""One epoch of a run: what the trainer logs, checkpoints carry and records keep."""

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict


def finite(value: float | None) -> float | None:
    """A number as a record can hold it: None where it is not finite."""
    return value if value is not None and math.isfinite(value) else None


Loss = Annotated[float | None, BeforeValidator(finite)]
"""Mean cross-entropy; None where it is no number, as of a network that has diverged."""


class Epoch(BaseModel):
    """One epoch's line in a run's history."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    epoch: int
    """Counted from 0."""
    phase: Literal["dense", "prune", "sparse"]
    """What the epoch was."""
    loss: Loss
    """Mean over the training minibatches."""
    accuracy: float
    """Of the training minibatches, in percent."""
    validation_loss: Loss
    """On the validation split, after the epoch."""
    validation_accuracy: float
    """The same, in percent."""
    learning_rate: float
    """Of the epoch."""
    seconds: Annotated[float, AfterValidator(lambda value: round(value, 3))]
    """Wall-clock time of training and validation."""
    skipped: int = 0
    """Minibatches left out of the scores."""
    epi: float | None = None
    """The policy's indicator, where it has one."""
    structure: dict[str, int] | None = None
    """Channels per layer left, after an epoch that removed some."""
    tracked: dict[str, Any] | None = None
    """Report of :class:`~pat.training.tracking.StabilityTracker`, in dense epochs."""
    macs: int | None = None
    """Multiply-accumulates of an image after a removal, where more removals may follow."""
