"""What the training of a detector gives, as plain data."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Precision:
    """Mean average precision over the classes, in percent.

    Attributes:
        mean: over intersections over union of 0.5 to 0.95 in steps of 0.05, COCO's mAP.
        half: at 0.5 alone, near VOC's mAP.
    """

    mean: float
    half: float


@dataclass(frozen=True)
class Epoch:
    """One epoch.

    Attributes:
        epoch: counted from 0.
        phase: ``dense``, ``prune`` or ``sparse``.
        loss: mean of the epoch's minibatches.
        epi: of the policy, None where undefined.
        counts: by criterion, channels of each layer that pruning would leave after a dense epoch, or that
            Algorithm 1 left after the pruning epoch; empty after others.
    """

    epoch: int
    phase: str
    loss: float
    epi: float | None
    counts: dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Size:
    """Multiply-accumulates of one image, and parameters, of the whole detector."""

    macs: int
    parameters: int


@dataclass(frozen=True)
class Outcome:
    """One training.

    Attributes:
        layers: those that ``counts`` follow.
        history: one entry an epoch.
        prune_epoch: in which Algorithm 1 ran, None if the detector stayed dense.
        before, after: precision on the validation images at the start of that epoch, and at its end, when the
            channels were removed.
        validation: precision at the end of the training.
        dense, size: of the detector before and after the training.
    """

    layers: tuple[str, ...]
    history: tuple[Epoch, ...]
    prune_epoch: int | None
    before: Precision | None
    after: Precision | None
    validation: Precision
    dense: Size
    size: Size
