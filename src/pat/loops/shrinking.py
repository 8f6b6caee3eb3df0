"""Pruners that remove channels at the end of several epochs: the masks are theirs, the surgery is here."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from pat import surgery
from pat.channels import ChannelGroup, ChannelGroups, trace
from pat.loops.report import EpochReport, LayerCollapse, Status
from pat.structure import channel_counts

Batches = Callable[[int], Iterator[tuple[Tensor, Tensor]]]
"""Minibatches ``(images, labels)`` of an epoch, counted from 0."""


class Shrinking:
    """Base of the pruners whose channels go in several removals, always named as those of the dense model.

    Stands in a training loop where :class:`~pat.pruner.PruningAwareTraining` does: call :meth:`step` after
    ``loss.backward()`` (and unscaling and clipping), :meth:`after_step` after ``optimizer.step()``,
    :meth:`end_epoch` at an epoch's end. A pruner says in :meth:`wanted` what an epoch leaves, and in
    :meth:`settings` what a saved state must agree with.

    Args:
        model: trained by the loop (the bare module, not one wrapped in DistributedDataParallel).
        optimizer: over the model's parameters.
        example_input: a batch ``[N, C, H, W]`` on the model's device, to trace the model with.
        count: what a report counts: every layer's channels (``"filter"``) or a coupled group's once
            (``"unit"``).
        min_channels: channels that every group keeps. With 0, layers may be emptied.
        keep_stem: leave the group of the convolution that reads the input whole.
        exclude: qualified names of layers whose channels stay.
        extra_models: copies to be cut with the model, such as an exponential moving average.

    Attributes:
        collapse: what empties the last path, and what avoids it, for a message.
        status: always ``"dense"``: the loop never comes to a phase in which nothing more can go.
        epoch: the epoch that comes or runs, counted from 0.
        groups: the trace of the dense model.
        neurons: those of its groups whose channels may go.
        kept: bool ``[size]`` per group of the neurons.
        reports: one :class:`~pat.loops.report.EpochReport` an epoch. Its status is ``"prune"`` where it
            ended with a removal (then ``counts`` is the structure left), before the first one ``"dense"``,
            else ``"sparse"``.

    Raises:
        ValueError: for a parameter out of range, a wrapped model, or one without channels that could go.
        UnsupportedOperation: if channels cannot be followed through the model.
    """

    collapse: ClassVar[str] = "pruning has emptied the last path; min_channels=1 avoids it"

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        example_input: Tensor,
        *,
        count: Literal["filter", "unit"] = "filter",
        min_channels: int = 1,
        keep_stem: bool = True,
        exclude: Collection[str] = (),
        extra_models: Iterable[nn.Module] = (),
    ) -> None:
        if count not in ("filter", "unit"):
            raise ValueError(f"count must be 'filter' or 'unit', got {count!r}")
        if min_channels < 0:
            raise ValueError(f"min_channels must not be negative, got {min_channels}")
        if isinstance(model, DistributedDataParallel):
            raise ValueError("give the bare model (model.module), and wrap it anew after each removal")
        self.model, self.optimizer = model, optimizer
        self.extra_models = list(extra_models)
        self.groups = trace(model, example_input, exclude)
        self.neurons: dict[str, ChannelGroup] = self.groups.neurons(keep_stem)
        if not self.neurons:
            raise ValueError("the model has no convolution whose channels could be pruned")
        self.kept = {name: torch.ones(g.size, dtype=torch.bool) for name, g in self.neurons.items()}
        self.status: Status = "dense"
        self.epoch = 0
        self.reports: list[EpochReport] = []
        self._example_input, self._exclude = example_input, tuple(exclude)
        self._count, self._min_channels = count, min_channels

    def wanted(self) -> dict[str, Tensor] | None:
        """What the epoch that ends leaves, bool ``[size]`` by group of the neurons; None for all there is."""
        raise NotImplementedError

    def settings(self) -> dict[str, Any]:
        """What a state must have been saved with, as plain values."""
        return {
            "count": self._count,
            "min_channels": self._min_channels,
            "groups": {name: group.size for name, group in self.neurons.items()},
        }

    def step(self) -> None:
        """Nothing. Here for the loop's sake."""

    def after_step(self) -> None:
        """Nothing: no channel is masked. Here for the loop's sake."""

    def end_epoch(self, loss: float | None = None) -> EpochReport:
        """Close the epoch, and remove what is not wanted any more.

        Args:
            loss: not looked at.

        Returns:
            The epoch's report, also appended to :attr:`reports`.

        Raises:
            LayerCollapse: if no path of channels is left (with ``min_channels=0``); they are masked then.
            ValueError: if the optimizer's state cannot be cut. Nothing is removed then.
        """
        wanted = self.wanted()
        if wanted is not None and self._remove(wanted):
            counts = channel_counts(self.kept, self.neurons if self._count == "filter" else None)
            report = EpochReport(self.epoch, "prune", counts)
        else:
            report = EpochReport(self.epoch, "sparse" if self._smaller else "dense")
        self.reports.append(report)
        self.epoch += 1
        return report

    @property
    def _smaller(self) -> bool:
        return not all(bool(mask.all()) for mask in self.kept.values())

    def _remove(self, wanted: Mapping[str, Tensor]) -> bool:
        """Remove what is not wanted from the model, the optimizer and the copies; whether there was any."""
        if all(torch.equal(mask, wanted[name]) for name, mask in self.kept.items()):
            return False
        now = trace(self.model, self._example_input, self._exclude)
        units, here = self._carried_over(self.groups.unit_mask(wanted), now)
        if bool(here.all()):
            return False
        kept, left = by_group(units, self.neurons), by_group(here, now)
        if self.groups.collapsed(kept):
            surgery.mask(self.model, left, groups=now)
            raise LayerCollapse(f"by epoch {self.epoch} {self.collapse}")
        surgery.remove(self.model, left, groups=now, optimizer=self.optimizer, extra_models=self.extra_models)
        self._take(kept)
        return True

    def _take(self, kept: Mapping[str, Tensor]) -> None:
        """Note what is left."""
        self.kept = {name: mask.clone() for name, mask in kept.items()}

    def _carried_over(self, wanted: Tensor, now: ChannelGroups) -> tuple[Tensor, Tensor]:
        """Units of the dense trace that are to stay, in terms of the smaller model's own trace.

        The two name the same channels at the same places of the same tensors. Where a convolution with
        several groups has one input left in each, it has become a depthwise one, which couples what was not
        coupled: then a channel stays if any that is now coupled to it does.

        Returns:
            Which stay, bool over the dense units and over those of ``now``.
        """
        left = self.groups.unit_mask(self.kept)
        places = {(slot.tensor, slot.dim): slot.units for slot in now.slots}
        old, new = [], []
        for slot in self.groups.slots:
            if slot.own:
                old.append(slot.units[slot.keep(left)])
                new.append(places.get((slot.tensor, slot.dim), torch.full_like(old[-1], -1)))
        dense, fresh = torch.cat(old), torch.cat(new)  # -1, which has to stay, reads the appended True
        stays = torch.cat([wanted, torch.ones(1, dtype=torch.bool)])
        while True:
            here = torch.zeros(1 + sum(group.size for group in now.values()), dtype=torch.bool)
            here[-1] = True
            here[fresh[stays[dense]]] = True
            coupled = stays.clone()
            coupled[dense[here[fresh]]] = True
            if torch.equal(coupled, stays):
                return stays[:-1], here[:-1]
            stays = coupled

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on after any step, as tensors and plain values.

        Save it beside the model's and the optimizer's.
        """
        return {
            "settings": self.settings(),
            "epoch": self.epoch,
            "kept": {name: mask.clone() for name, mask in self.kept.items()},
            "sizes": surgery.sizes(self.model) if self._smaller else None,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`, on a freshly built dense model and optimizer.

        Shrinks the model (and the extra models) if channels have gone; load their weights and the
        optimizer's state after this call.

        Raises:
            ValueError: if the state belongs to other settings or another model.
        """
        if state["settings"] != self.settings():
            raise ValueError(f"the state was saved with {state['settings']}, this is {self.settings()}")
        if state["sizes"] is not None:
            for model in (self.model, *self.extra_models):
                surgery.resize(model, state["sizes"])
        self.epoch = state["epoch"]
        self._take(state["kept"])


def by_group(units: Tensor, groups: Mapping[str, ChannelGroup]) -> dict[str, Tensor]:
    """A row over all units of a trace, cut into groups."""
    return {name: units[group.units.start : group.units.stop] for name, group in groups.items()}
