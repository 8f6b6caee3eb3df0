"""Criteria: what makes a channel important. By name; :mod:`pat.importance` has the paper's formulas."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Protocol

from pat.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pat.channels import ChannelGroup

Scores = Mapping[str, "Tensor"]
"""By group, ``[size]``: the higher, the more important."""


class Scorer(Protocol):
    """Scores a model's channels, from one :meth:`reset` to the next."""

    def add(self) -> None:
        """Read the gradients that one minibatch left in the parameters; nothing may wait for the device."""

    @property
    def minibatches(self) -> int:
        """How many count so far."""

    @property
    def skipped(self) -> int:
        """How many were left out because they were not finite."""

    @property
    def unreached(self) -> frozenset[str]:
        """Groups of which nothing was measured, whatever :meth:`mean` says: they stay whole."""

    def mean(self) -> "dict[str, Tensor]":
        """Scores per group name, each ``[group.size]``, on the CPU."""

    def reset(self) -> None:
        """Begin anew: at every epoch's start and after every pruning step."""

    def state_dict(self) -> "dict[str, Tensor]": ...

    def load_state_dict(self, state: "Mapping[str, Tensor]") -> None: ...


@dataclass(frozen=True)
class Importance:
    """A criterion.

    Attributes:
        name: in specs, profiles and on the command line.
        source: where it comes from.
        scorer: makes what scores some groups of a model.
        reads_gradients: whether its scorer is to see every minibatch's gradients. If not, it is only asked
            for its :meth:`~Scorer.mean`, at an epoch's end and in every step of Algorithm 1.
        state: under which name its scorer's state stands in checkpoints.
    """

    name: str
    source: str
    scorer: "Callable[[nn.Module, Mapping[str, ChannelGroup]], Scorer]" = field(repr=False)
    reads_gradients: bool = True
    state: str = ""

    @property
    def reads(self) -> str:
        """What it looks at, for people."""
        return "gradients" if self.reads_gradients else "weights"

    def __post_init__(self) -> None:
        object.__setattr__(self, "state", self.state or f"scores by {self.name}")


class OfWeights:
    """Scores that depend on the weights alone: a function, asked when scores are.

    Args:
        function: model and groups in, scores per group ``[group.size]`` on the CPU out.
    """

    minibatches = skipped = 0
    unreached: frozenset[str] = frozenset()

    def __init__(
        self,
        function: "Callable[[nn.Module, Mapping[str, ChannelGroup]], dict[str, Tensor]]",
        model: "nn.Module",
        groups: "Mapping[str, ChannelGroup]",
    ) -> None:
        self._function, self._model, self._groups = function, model, groups

    def add(self) -> None:
        """Nothing to read."""

    def mean(self) -> "dict[str, Tensor]":
        return self._function(self._model, self._groups)

    def reset(self) -> None:
        """Nothing to forget."""

    def state_dict(self) -> "dict[str, Tensor]":
        return {}

    def load_state_dict(self, state: "Mapping[str, Any]") -> None:
        """Nothing to load."""


def of_weights(
    name: str, source: str, function: "Callable[[nn.Module, Mapping[str, ChannelGroup]], dict[str, Tensor]]"
) -> Importance:
    """A criterion that is a function of the weights, see :class:`OfWeights`."""
    return Importance(name, source, lambda model, groups: OfWeights(function, model, groups), False)


CRITERIA: Registry[Importance] = Registry("criterion")
"""By name."""
Criterion = Annotated[str, CRITERIA]
"""A criterion's name."""


def _gradient(model: "nn.Module", groups: "Mapping[str, ChannelGroup]") -> Scorer:
    from pat.importance import TaylorScores

    return TaylorScores(model, groups)


def _magnitude(model: "nn.Module", groups: "Mapping[str, ChannelGroup]") -> "dict[str, Tensor]":
    from pat.importance import magnitude_scores

    return magnitude_scores(model, groups)


CRITERIA.register(Importance("gradient", "Shen et al. 2022, Eq. 3, on BatchNorm", _gradient, state="taylor"))
CRITERIA.register(of_weights("magnitude", "Shen et al. 2022, Eq. 2", _magnitude))
