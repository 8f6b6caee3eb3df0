"""Which channels have a score: what nothing measured must not go."""

import warnings
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from pat.channels import ChannelGroup
from pat.importance import is_trained


class Measured:
    """Neurons whose scores say something; the others stay whole, and are told by name.

    Attributes:
        neurons: the groups that training can measure: neither their norms nor their filters are frozen.
        missing: those among them that the loss did not reach since scores were last read.

    Args:
        model: the network.
        neurons: groups whose channels might go.

    Raises:
        ValueError: if all of them are frozen.
    """

    def __init__(self, model: nn.Module, neurons: Mapping[str, ChannelGroup]) -> None:
        self.neurons = {name: group for name, group in neurons.items() if is_trained(model, group)}
        self.missing: frozenset[str] = frozenset()
        if not self.neurons:
            raise ValueError("all layers whose channels could be pruned are frozen (requires_grad=False)")
        if frozen := _layers(group for name, group in neurons.items() if name not in self.neurons):
            _tell(f"frozen layers stay whole, since nothing measures them: {', '.join(frozen)}")

    def update(self, unreached: frozenset[str]) -> None:
        """Scores were read: these groups' are of no gradient."""
        if new := unreached - self.missing:
            layers = _layers(group for name, group in self.neurons.items() if name in new)
            _tell(f"no gradient reached {', '.join(layers)}: nothing measures them, they stay whole")
        self.missing = unreached

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers of :attr:`missing`."""
        return _layers(group for name, group in self.neurons.items() if name in self.missing)

    def rank(self, scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Scores ``[size]`` by group with all that is missing at the top."""
        return {
            name: torch.full_like(score, torch.inf) if name in self.missing else score
            for name, score in scores.items()
        }

    def lost(self, before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> bool:
        """Whether a channel would go (bool ``[size]`` by group) that is missing."""
        return any(bool((before[name] & ~after[name]).any()) for name in self.missing)

    def refusal(self) -> ValueError:
        return ValueError(
            "the ratio asks for more channels than were measured: no gradient reached "
            f"{', '.join(self.layers)}; lower it, or leave these layers out with exclude="
        )


def _layers(groups: Iterable[ChannelGroup]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(layer for group in groups for layer in group.layers))


def _tell(what: str) -> None:
    warnings.warn(what, RuntimeWarning, stacklevel=4)
