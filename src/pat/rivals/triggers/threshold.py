"""The base of the rules: a signal of each epoch, and a threshold that it has to reach."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from pat.policy import Seen, Trigger

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Told(Seen):
    """What a record still knows of an epoch: how it compares with earlier ones, by the name of the measure.

    Scores and masks are gone by then. A rule that these comparisons decide fires as it would have in
    training.

    Attributes:
        before: each measure against the epoch before; None where it is not defined.
        window: its mean over the ``look_back`` epochs before; None while there are fewer.
        look_back: how many those are.
    """

    before: Mapping[str, float | None] = field(default_factory=dict)
    window: Mapping[str, float | None] = field(default_factory=dict)
    look_back: int = 0


@dataclass(frozen=True)
class Threshold(Trigger):
    """Base of the rules that fire after the first epoch whose signal reaches a threshold.

    Attributes:
        rises: whether the signal has to be at least the threshold; otherwise at most.
        bounds: what a threshold can be.

    Raises:
        ValueError: for a threshold out of range.
    """

    rises: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)

    threshold: float

    def __post_init__(self) -> None:
        super().__post_init__()
        low, high = self.bounds
        if not low <= self.threshold <= high:
            raise ValueError(f"threshold must lie in [{low:g}, {high:g}], got {self.threshold}")

    @property
    def first(self) -> int:
        """The first epoch after which there is a signal."""
        raise NotImplementedError

    @property
    def earliest(self) -> int:
        after = self.first + 1
        return after if self.fallback is None else min(after, self.fallback)

    def fires(self, value: float) -> bool:
        return value >= self.threshold if self.rises else value <= self.threshold

    def silent(self) -> str:
        return f"{self.title} did not trigger (threshold {self.threshold:g})"


def needed(kind: str, seen: Seen | None) -> Seen:
    """What was seen, for a rule that cannot do without.

    Raises:
        ValueError: if nothing was told but the structure.
    """
    if seen is None:
        raise ValueError(f"the policy {kind!r} watches scores and masks, and was told the structure alone")
    return seen


def kept_copy(tensors: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    """A copy on the CPU that later epochs are compared with."""
    return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
