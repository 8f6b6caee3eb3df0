"""Policies: when to prune. Each is told the structure after every dense epoch and names the pruning epoch."""

from collections.abc import Mapping
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pat.stability import EarlyPruningIndicator, Structure

if TYPE_CHECKING:
    import torch


class Policy(Protocol):
    """When Algorithm 1 runs."""

    @property
    def prune_epoch(self) -> int | None:
        """The epoch, counted from 0, in which Algorithm 1 runs; None while undecided."""

    def update(self, counts: Structure) -> float | None:
        """Take the structure after the next dense epoch; return the indicator's value, if there is one."""

    def settings(self) -> dict[str, Any]:
        """What the policy was built with: a state is only taken by a policy of equal settings."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


class AtEpoch:
    """Prune in a fixed epoch. ``AtEpoch(0)`` prunes at initialisation: Algorithm 1 during epoch 0.

    Args:
        epoch: counted from 0.

    Raises:
        ValueError: for a negative epoch, or one that is no whole number.
    """

    def __init__(self, epoch: int) -> None:
        if not isinstance(epoch, Integral) or epoch < 0:
            raise ValueError(f"a prune epoch must be a whole number, not negative, got {epoch!r}")
        self.prune_epoch: int | None = int(epoch)

    def update(self, counts: Structure) -> float | None:
        return None

    def settings(self) -> dict[str, Any]:
        return {"policy": "fixed", "prune_epoch": self.prune_epoch}

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing to load: the epoch is a setting."""


class Never(AtEpoch):
    """Do not prune: the dense run."""

    def __init__(self) -> None:
        super().__init__(0)
        self.prune_epoch = None


class RandomEpoch(AtEpoch):
    """Prune in an epoch drawn once, uniformly from ``low`` to ``high`` inclusive (Sec. 4.2: [0, 30]).

    Args:
        generator: the source of the draw.

    Raises:
        ValueError: if not 0 <= low <= high, or for anything else than a generator.
    """

    def __init__(self, low: int, high: int, generator: "torch.Generator") -> None:
        import torch

        if not 0 <= low <= high:
            raise ValueError(f"a range of epochs needs 0 <= low <= high, got [{low}, {high}]")
        if not isinstance(generator, torch.Generator):
            raise ValueError(
                f"expected a torch.Generator, such as torch.Generator().manual_seed(0), got {generator!r}"
            )
        super().__init__(int(torch.randint(low, high + 1, (), generator=generator)))


class EPI:
    """The paper's policy: prune in the epoch after the Early Pruning Indicator triggers (Algorithm 2).

    That is epoch ``look_back + patience + 1``, counted from 0, at the earliest: 11 by default. A shorter loop
    prunes by its ``fallback`` or not at all.

    Args:
        threshold, look_back, patience, history: see
            :class:`~pat.stability.EarlyPruningIndicator`.
        fallback: the epoch to prune in if it has not triggered before; None: such a run stays dense.

    Raises:
        ValueError: for a parameter out of range.
    """

    def __init__(
        self,
        threshold: float,
        look_back: int = 5,
        patience: int = 5,
        history: Literal["full", "available"] = "full",
        fallback: int | None = None,
    ) -> None:
        if fallback is not None and fallback < 0:
            raise ValueError(f"fallback must not be negative, got {fallback}")
        self.indicator = EarlyPruningIndicator(threshold, look_back, patience, history)
        self.fallback = fallback

    @property
    def prune_epoch(self) -> int | None:
        triggered = self.indicator.trigger_epoch
        candidates = [self.fallback] if self.fallback is not None else []
        if triggered is not None:
            candidates.append(triggered + 1)
        return min(candidates, default=None)

    def update(self, counts: Structure) -> float | None:
        return self.indicator.update(counts)

    def settings(self) -> dict[str, Any]:
        epi = self.indicator
        return {
            "policy": "epi",
            "threshold": epi.threshold,
            "look_back": epi.look_back,
            "patience": epi.patience,
            "history": epi.history,
            "fallback": self.fallback,
        }

    def state_dict(self) -> dict[str, Any]:
        return self.indicator.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.indicator.load_state_dict(state)
