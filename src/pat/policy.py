"""Policies: when to prune. Each is told what was seen after every dense epoch and names the pruning epoch.

A policy is one dataclass: its fields are its settings, in the library as in the study's specs; what it has
seen is no part of them.
"""

from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field, replace
from numbers import Integral
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self

from pat.registry import Registry, Settings
from pat.stability import EarlyPruningIndicator, Structure

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class Seen:
    """What was seen in a dense epoch, beside the structure that its scores would leave.

    Attributes:
        scores: of the criterion that prunes, ``[size]`` per group.
        kept: bool ``[size]`` per group: what they would keep at the pruning ratio.
        loss: mean training loss of the epoch; None where the loop does not tell it.
    """

    scores: "Mapping[str, Tensor]"
    kept: "Mapping[str, Tensor]"
    loss: float | None = None


class Policy(Protocol):
    """When Algorithm 1 runs."""

    @property
    def prune_epoch(self) -> int | None:
        """The epoch, counted from 0, in which Algorithm 1 runs; None while undecided."""

    def update(self, counts: Structure, seen: Seen | None = None) -> float | None:
        """Take what was seen in the next dense epoch; return the indicator's value, if there is one."""

    def settings(self) -> dict[str, Any]:
        """What the policy was built with: a state is only taken by a policy of equal settings."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


@dataclass(frozen=True)
class NamedPolicy(Settings):
    """Base of the policies that specs name; an entry of :data:`POLICIES` is a frozen dataclass of this kind.

    Attributes:
        kind: its name in specs.
        title: for people.
        source: where it comes from.
        watches: whether the epoch hangs on what is seen; if not, the settings and the seed tell it.
        epochs: which of its settings are epochs, that have to lie within the schedule.
        usual: which of its settings a profile has a value for, if none is given: ``threshold`` (of EPI),
            ``look_back``, ``patience``, ``high`` (the end of the schedule's first third).
    """

    kind: ClassVar[str]
    title: ClassVar[str]
    source: ClassVar[str]
    watches: ClassVar[bool] = False
    epochs: ClassVar[tuple[str, ...]] = ()
    usual: ClassVar[tuple[str, ...]] = ()

    @property
    def prune_epoch(self) -> int | None:
        raise NotImplementedError

    @property
    def earliest(self) -> int:
        """The first epoch that it may prune in, whatever is seen."""
        return 0

    def build(self, seed: int, epochs: int) -> Self:
        """A policy of these settings that has seen nothing, for a run with a seed and so many epochs."""
        return replace(self)

    def silent(self) -> str:
        """Why a run stayed dense, for people."""
        return f"{self.title} did not trigger"

    def update(self, counts: Structure, seen: Seen | None = None) -> float | None:
        return None

    def settings(self) -> dict[str, Any]:
        return {"policy": self.kind, **self.options()}

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing to load: nothing was seen."""


POLICIES: Registry[type[NamedPolicy]] = Registry("policy", by="kind")
"""By kind."""


@POLICIES.register
@dataclass(frozen=True)
class AtEpoch(NamedPolicy):
    """Prune in a fixed epoch. ``AtEpoch(0)`` prunes at initialisation: Algorithm 1 during epoch 0.

    Args:
        epoch: counted from 0.

    Raises:
        ValueError: for a negative epoch, or one that is no whole number.
    """

    kind = "epoch"
    title = "a fixed epoch"
    source = "Shen et al. 2022, Sec. 4.1"
    epochs = ("epoch",)

    epoch: int

    def __post_init__(self) -> None:
        if not isinstance(self.epoch, Integral) or self.epoch < 0:
            raise ValueError(f"a prune epoch must be a whole number, not negative, got {self.epoch!r}")

    @property
    def prune_epoch(self) -> int | None:
        return int(self.epoch)

    def settings(self) -> dict[str, Any]:
        return {"policy": "fixed", "prune_epoch": self.prune_epoch}


@dataclass(frozen=True)
class Never(NamedPolicy):
    """Do not prune: the dense run, which in a spec is one without pruning."""

    kind = "never"
    title = "never"
    source = "the dense run"

    @property
    def prune_epoch(self) -> int | None:
        return None

    def settings(self) -> dict[str, Any]:
        return {"policy": "fixed", "prune_epoch": None}


@POLICIES.register
@dataclass(frozen=True)
class RandomEpoch(NamedPolicy):
    """Prune in an epoch drawn once, uniformly from ``low`` to ``high`` inclusive (Sec. 4.2: [0, 30]).

    Args:
        low, high: first and last epoch of the range.
        generator: the source of the draw. Without it nothing is drawn yet: a spec's run draws by its seed.

    Raises:
        ValueError: if not 0 <= low <= high, or for anything else than a generator.
    """

    kind = "random"
    title = "a random epoch"
    source = "Shen et al. 2022, Sec. 4.2"
    epochs = ("high",)
    usual = ("high",)

    low: int = 0
    high: int = field(default=-1)  # has to be given: a default that no range ends with
    generator: InitVar["torch.Generator | None"] = None
    _drawn: int | None = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self, generator: "torch.Generator | None") -> None:
        if not 0 <= self.low <= self.high:
            raise ValueError(f"a range of epochs needs 0 <= low <= high, got [{self.low}, {self.high}]")
        if generator is None:
            return
        import torch

        if not isinstance(generator, torch.Generator):
            raise ValueError(
                f"expected a torch.Generator, such as torch.Generator().manual_seed(0), got {generator!r}"
            )
        drawn = int(torch.randint(self.low, self.high + 1, (), generator=generator))
        object.__setattr__(self, "_drawn", drawn)

    @property
    def prune_epoch(self) -> int | None:
        if self._drawn is None:
            raise ValueError("no epoch was drawn: give RandomEpoch a torch.Generator")
        return self._drawn

    def build(self, seed: int, epochs: int) -> Self:
        import torch

        return replace(self, generator=torch.Generator().manual_seed(seed))

    def settings(self) -> dict[str, Any]:
        return {"policy": "fixed", "prune_epoch": self.prune_epoch}


@dataclass(frozen=True)
class Trigger(NamedPolicy):
    """Base of the policies that prune in the epoch after something was seen first, or in a fall-back epoch.

    A trigger stays once it has fired. Subclasses say in :meth:`signal` and :meth:`fires` what that is.
    """

    watches = True
    epochs = ("fallback",)

    fallback: int | None = field(default=None, kw_only=True)
    """The epoch to prune in if it has not triggered before; None: such a run stays dense."""
    values: list[float | None] = field(init=False, repr=False, compare=False, default_factory=list)
    trigger_epoch: int | None = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        _check_fallback(self.fallback)

    @property
    def prune_epoch(self) -> int | None:
        return _first(self.trigger_epoch, self.fallback)

    def update(self, counts: Structure, seen: Seen | None = None) -> float | None:
        """Take what was seen in the next dense epoch.

        Raises:
            ValueError: if what the policy watches was not told.
        """
        value = self.signal(counts, seen)
        self.values.append(value)
        if self.trigger_epoch is None and value is not None and self.fires(value):
            object.__setattr__(self, "trigger_epoch", len(self.values) - 1)
        return value

    def signal(self, counts: Structure, seen: Seen | None) -> float | None:
        """What is held against the rule after this epoch; None while it is undefined."""
        raise NotImplementedError

    def fires(self, value: float) -> bool:
        """Whether it is time; :attr:`values` ends with this one."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        return {"values": list(self.values), "trigger_epoch": self.trigger_epoch, **self.memory()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.values[:] = state["values"]
        object.__setattr__(self, "trigger_epoch", state["trigger_epoch"])
        self.remember(state)

    def memory(self) -> dict[str, Any]:
        """What :meth:`signal` remembers of earlier epochs."""
        return {}

    def remember(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`memory`."""


@POLICIES.register
@dataclass(frozen=True)
class EPI(NamedPolicy):
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

    kind = "epi"
    title = "EPI"
    source = "Shen et al. 2022, Algorithm 2"
    watches = True
    epochs = ("fallback",)
    usual = ("threshold", "look_back", "patience")

    threshold: float
    look_back: int = 5
    patience: int = 5
    history: Literal["full", "available"] = "full"
    fallback: int | None = None
    indicator: EarlyPruningIndicator = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check_fallback(self.fallback)
        indicator = EarlyPruningIndicator(self.threshold, self.look_back, self.patience, self.history)
        object.__setattr__(self, "indicator", indicator)

    @property
    def prune_epoch(self) -> int | None:
        return _first(self.indicator.trigger_epoch, self.fallback)

    @property
    def earliest(self) -> int:
        first = self.look_back + self.patience + 1 if self.history == "full" else 2
        return first if self.fallback is None else min(first, self.fallback)

    def silent(self) -> str:
        return f"{self.title} did not trigger (threshold {self.threshold:g})"

    def update(self, counts: Structure, seen: Seen | None = None) -> float | None:
        return self.indicator.update(counts)

    def state_dict(self) -> dict[str, Any]:
        return self.indicator.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.indicator.load_state_dict(state)


def _check_fallback(epoch: int | None) -> None:
    if epoch is not None and epoch < 0:
        raise ValueError(f"fallback must not be negative, got {epoch}")


def _first(triggered: int | None, fallback: int | None) -> int | None:
    """The epoch after the trigger or the fall-back epoch, whichever comes first."""
    after = [] if triggered is None else [triggered + 1]
    return min(after + ([] if fallback is None else [fallback]), default=None)
