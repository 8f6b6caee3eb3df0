"""The base of the rules that compare masks: successive ones, and a few comparisons together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from pat.policy import Seen
from pat.rivals.triggers.threshold import Threshold, Told, kept_copy, needed
from pat.stability import Structure, mask_distance, mask_jaccard

if TYPE_CHECKING:
    from torch import Tensor

MEASURES = {"hamming": mask_distance, "jaccard": mask_jaccard}


@dataclass(frozen=True)
class MaskRule(Threshold):
    """Base of the rules that look at the mask which the scores of an epoch would leave.

    Attributes:
        measure: of :data:`MEASURES`, between the newest mask and that of ``apart`` epochs before.

    Args:
        threshold: of :meth:`together`.
        window: how many comparisons are taken together.
        apart: epochs between the two masks of a comparison.

    Raises:
        ValueError: for a setting out of range.
    """

    measure: ClassVar[str]

    window: int = 1
    apart: int = 1
    masks: "list[Mapping[str, Tensor]]" = field(init=False, repr=False, compare=False, default_factory=list)
    compared: list[float] = field(init=False, repr=False, compare=False, default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("window", "apart"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    @property
    def first(self) -> int:
        return self.apart + self.window - 1

    def together(self, compared: Sequence[float]) -> float:
        """The signal, of the last ``window`` comparisons."""
        raise NotImplementedError

    def signal(self, counts: Structure, seen: Seen | None) -> float | None:
        newest = self._compare(needed(self.kind, seen))
        if newest is not None:
            self.compared[:] = [*self.compared, newest][-self.window :]
        return self.together(self.compared) if len(self.compared) == self.window else None

    def _compare(self, seen: Seen) -> float | None:
        if isinstance(seen, Told) and self.apart == 1:
            return seen.before.get(self.measure)
        mask = kept_copy(seen.kept)
        before = self.masks[-self.apart] if len(self.masks) >= self.apart else None
        self.masks[:] = [*self.masks, mask][-self.apart :]
        return None if before is None else MEASURES[self.measure](mask, before)

    def memory(self) -> dict[str, Any]:
        return {"masks": [dict(mask) for mask in self.masks], "compared": list(self.compared)}

    def remember(self, state: Mapping[str, Any]) -> None:
        self.masks[:] = state["masks"]
        self.compared[:] = state["compared"]
