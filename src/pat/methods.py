"""Methods: what prunes a network in its training, pruning-aware training's rivals, by name."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from pat.registry import Registry, Settings

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

    from pat.channels import ChannelGroup, ChannelGroups
    from pat.loops.report import EpochReport, Status
    from pat.pruner import PruningAwareTraining


class Pruner(Protocol):
    """What a training loop calls; :class:`~pat.pruner.PruningAwareTraining` is one.

    Attributes:
        status: the phase of the epoch that comes or runs.
        groups: the trace of the dense model.
        neurons: those of its groups whose channels may go.
        kept: bool ``[size]`` per group of the neurons.
    """

    status: "Status"
    groups: "ChannelGroups"
    neurons: "dict[str, ChannelGroup]"
    kept: "dict[str, Tensor]"

    def step(self) -> None:
        """After ``loss.backward()``, before ``optimizer.step()``."""

    def after_step(self) -> None:
        """After ``optimizer.step()``."""

    def end_epoch(self, loss: float | None = None) -> "EpochReport":
        """At an epoch's end, with its mean training loss."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


@dataclass(frozen=True)
class Start:
    """What a method begins with.

    Attributes:
        model, optimizer: freshly made, on the model's device.
        example: a batch ``[N, C, H, W]`` to trace the model with.
        steps_per_epoch, epochs: of the training that comes.
        seed: of the run.
        batches: the training minibatches ``(images, labels)`` of an epoch, counted from 0.
        label_smoothing: of the training loss, a cross-entropy.
        count, keep_stem, min_channels: what a neuron is, see :class:`~pat.pruner.PruningAwareTraining`.
    """

    model: "nn.Module"
    optimizer: "Optimizer"
    example: "Tensor"
    steps_per_epoch: int
    epochs: int
    seed: int
    batches: "Callable[[int], Iterator[tuple[Tensor, Tensor]]]"
    label_smoothing: float
    count: Literal["filter", "unit"]
    keep_stem: bool
    min_channels: int

    def algorithm1(self, **settings: Any) -> "PruningAwareTraining":
        """Pruning-aware training, for a method that differs from it in part.

        Args:
            settings: ``ratio``, ``policy`` and others of :class:`~pat.pruner.PruningAwareTraining`.
        """
        from pat.pruner import PruningAwareTraining

        own = {"steps_per_epoch": self.steps_per_epoch} | self.neurons
        return PruningAwareTraining(self.model, self.optimizer, self.example, **own | settings)

    @property
    def neurons(self) -> dict[str, Any]:
        """What a neuron is, as a pruner's arguments."""
        return {"count": self.count, "keep_stem": self.keep_stem, "min_channels": self.min_channels}


@dataclass(frozen=True)
class Method(Settings):
    """Base of the methods: an entry of :data:`METHODS` is a frozen dataclass, its fields are the settings.

    Attributes:
        name: under which a spec has its settings.
        title: for people.
        source: where it comes from.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    source: ClassVar[str]

    def build(self, start: Start) -> Pruner:
        """What prunes a network that is about to be trained.

        It may remove channels at once. A run that goes on from a checkpoint is built anew, too, and then
        given its state.
        """
        raise NotImplementedError

    def describe(self) -> str:
        """A short description of a run, for people."""
        return self.title

    def training_share(
        self, dense: int, final: int, steps_per_epoch: int, removals: Sequence[tuple[int, int]], epochs: int
    ) -> float:
        """Multiply-accumulates of the training as a share of the dense one's.

        A method that removes channels within an epoch, or needs passes beside the schedule's, has its own.

        Args:
            dense, final: multiply-accumulates of an image before the first and after the last removal.
            steps_per_epoch: optimizer steps of one epoch.
            removals: epochs that ended with a removal, and what an image cost after it.
            epochs: of the schedule.
        """
        costs = [dense, *(macs for _, macs in removals)]
        ends = [-1, *(epoch for epoch, _ in removals), epochs - 1]
        lengths = [b - a for a, b in pairwise(ends)]
        trained = sum(macs * length for macs, length in zip(costs, lengths, strict=True))
        return trained / (dense * epochs)


METHODS: Registry[type[Method]] = Registry("method")
"""By name."""
