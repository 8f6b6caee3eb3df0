"""A fixed share of the schedule: the pre-defined epoch, whatever the schedule's length."""

from dataclasses import InitVar, dataclass, field, replace
from typing import Any, Self

from pat.policy import POLICIES, NamedPolicy


@POLICIES.register
@dataclass(frozen=True)
class ShareOfSchedule(NamedPolicy):
    """Prune after a share of the schedule's epochs; by default a third, as epoch 30 of 90 in Table 1.

    Args:
        share: in [0, 1); the epoch is the share's whole number of epochs.
        of: epochs of the schedule. A run of the study fills it in.

    Raises:
        ValueError: for a share out of range, or a schedule without epochs.
    """

    kind = "share"
    title = "a share of the schedule"
    source = "Shen et al. 2022, Table 1 (a third)"

    share: float = 1 / 3
    of: InitVar[int | None] = None
    _epochs: int | None = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self, of: int | None) -> None:
        if not 0 <= self.share < 1:
            raise ValueError(f"share must lie in [0, 1), got {self.share}")
        if of is not None and of < 1:
            raise ValueError(f"a schedule needs at least 1 epoch, got {of}")
        object.__setattr__(self, "_epochs", of)

    @property
    def prune_epoch(self) -> int | None:
        if self._epochs is None:
            raise ValueError(
                "the length of the schedule is not known: give ShareOfSchedule its epochs, of=90"
            )
        # The small term absorbs the binary rounding of shares such as 0.3.
        return min(int(self.share * self._epochs + 1e-9), self._epochs - 1)

    def build(self, seed: int, epochs: int) -> Self:
        return replace(self, of=epochs)

    def settings(self) -> dict[str, Any]:
        return {"policy": "fixed", "prune_epoch": self.prune_epoch}
