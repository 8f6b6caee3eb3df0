"""PruneTrain, a rival (Lym et al. 2019): a group lasso empties channels, which go while training goes on."""

import copy
import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from pat import surgery
from pat.channels import ChannelGroup, ChannelGroups, trace
from pat.loops.report import EpochReport, Status
from pat.pruner import LayerCollapse
from pat.rivals.prunetrain.lasso import GroupLasso
from pat.structure import channel_counts


def starting_loss(model: nn.Module, images: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> float:
    """L_0: the cross-entropy of an untrained model on its first minibatch, in training mode.

    Computed on a copy: neither BatchNorm's running averages nor the random state move.

    Args:
        model: before its first step.
        images: ``[N, C, H, W]`` on the model's device.
        labels: ``[N]``.
        label_smoothing: as in training.
    """
    with torch.random.fork_rng(devices=[images.device] if images.is_cuda else []), torch.no_grad():
        output = copy.deepcopy(model).train()(images)
        return float(F.cross_entropy(output.float(), labels, label_smoothing=label_smoothing))


class PruneTrain:
    """Trains with a group lasso and every few epochs removes the channels that it emptied.

    Stands in a training loop where :class:`~pat.pruner.PruningAwareTraining` does: call :meth:`step` after
    ``loss.backward()`` (and unscaling and clipping), :meth:`after_step` after ``optimizer.step()``,
    :meth:`end_epoch` at an epoch's end.

    The loss becomes ``L + lambda sum_g ||w_g||_2`` over the groups of
    :class:`~pat.rivals.prunetrain.lasso.GroupLasso`.
    ``lambda = rho L_0 / ((1 - rho) sum_g ||w_g||_2)`` is set once, at the first weights, so that the penalty
    begins as the share rho of the whole loss.

    A channel goes when no weight of its groups reaches the threshold: of the layers that produce it (of all
    that an addition couples) and of the layers that read it, depthwise ones aside. What it still gives its
    readers is under the threshold times its value, whatever its BatchNorm adds. So gamma and beta are
    neither penalised nor looked at, and go with the channel and the optimizer's state; the function changes
    by no more than those last weights are worth.

    A subgradient step does not reach zero but swings around it, in ``||w_g||`` by the order of
    ``learning rate * lambda / (1 - momentum)``. The authors' threshold of 1e-4 suits networks of many
    channels, where lambda is small; few channels and a short schedule need a larger one.

    Args:
        model: trained by the loop (the bare module, not one wrapped in DistributedDataParallel).
        optimizer: over the model's parameters.
        example_input: a batch ``[N, C, H, W]`` on the model's device, to trace the model with.
        initial_loss: L_0, see :func:`starting_loss`.
        share: rho, in (0, 1).
        interval: epochs between two reconfigurations. Let it divide the number of epochs, or channels that
            empty after the last one stay.
        threshold: absolute value under which weights count as zero.
        count: what a report counts: every layer's channels (``"filter"``) or a coupled group's once
            (``"unit"``).
        min_channels: channels that every group keeps, those with the largest weights. With 0, layers may be
            emptied.
        keep_stem: leave the group of the convolution that reads the input whole.
        exclude: qualified names of layers whose channels stay.
        extra_models: copies to be cut with the model, such as an exponential moving average.

    Attributes:
        status: always ``"dense"``: the loop never comes to a phase in which nothing more can go.
        epoch: the epoch that comes or runs, counted from 0.
        groups: the trace of the dense model.
        neurons: those of its groups whose channels may go.
        kept: bool ``[size]`` per group of the neurons.
        coefficient: lambda.
        reports: one :class:`~pat.loops.report.EpochReport` an epoch. Its status is ``"prune"`` where it
            ended with a removal (then ``counts`` is the structure left), before the first one ``"dense"``,
            else ``"sparse"``.

    Raises:
        ValueError: for a parameter out of range.
        UnsupportedOperation: if channels cannot be followed through the model.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        example_input: Tensor,
        *,
        initial_loss: float,
        share: float = 0.2,
        interval: int = 5,
        threshold: float = 1e-4,
        count: Literal["filter", "unit"] = "filter",
        min_channels: int = 1,
        keep_stem: bool = True,
        exclude: Collection[str] = (),
        extra_models: Iterable[nn.Module] = (),
    ) -> None:
        for name, value in {"initial_loss": initial_loss, "threshold": threshold}.items():
            if not 0 < value < math.inf:
                raise ValueError(f"{name} must be positive and finite, got {value}")
        if not 0 < share < 1:
            raise ValueError(f"share must lie in (0, 1), got {share}")
        if interval < 1:
            raise ValueError(f"interval must be at least 1, got {interval}")
        if count not in ("filter", "unit"):
            raise ValueError(f"count must be 'filter' or 'unit', got {count!r}")
        if min_channels < 0:
            raise ValueError(f"min_channels must not be negative, got {min_channels}")
        if isinstance(model, DistributedDataParallel):
            raise ValueError("give the bare model (model.module), and wrap it anew after each removal")
        self.model = model
        self.optimizer = optimizer
        self.extra_models = list(extra_models)
        self.groups = trace(model, example_input, exclude)
        self.neurons: dict[str, ChannelGroup] = self.groups.neurons(keep_stem)
        if not self.neurons:
            raise ValueError("the model has no convolution whose channels could be pruned")
        self._lasso = GroupLasso(model, self.groups, self.neurons)
        norm = self._lasso.norm()
        if not 0 < norm < math.inf:
            raise ValueError(
                f"the weights' norms must be positive and finite to set lambda, their sum is {norm}"
            )
        self.coefficient = share * initial_loss / ((1 - share) * norm)
        self.status: Status = "dense"
        self.epoch = 0
        self.kept = {name: torch.ones(g.size, dtype=torch.bool) for name, g in self.neurons.items()}
        self.reports: list[EpochReport] = []
        self._example_input = example_input
        self._exclude = tuple(exclude)
        self._share = share
        self._interval = interval
        self._threshold = threshold
        self._count = count
        self._min_channels = min_channels

    def step(self) -> None:
        """Add the penalty's subgradient to the gradients.

        Raises:
            RuntimeError: if there are no gradients.
        """
        self._lasso.add_gradient(self.coefficient)

    def after_step(self) -> None:
        """Nothing: no channel is masked. Here for the loop's sake."""

    def end_epoch(self, loss: float | None = None) -> EpochReport:
        """Close the epoch; every ``interval`` epochs remove what is empty.

        Args:
            loss: not looked at.

        Returns:
            The epoch's report, also appended to :attr:`reports`.

        Raises:
            LayerCollapse: if no path of channels is left (with ``min_channels=0``); they are masked then.
            ValueError: if the optimizer's state cannot be cut. Nothing is removed then.
        """
        if (self.epoch + 1) % self._interval == 0 and self._reconfigure():
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

    def _reconfigure(self) -> bool:
        """Remove what is empty; whether there was anything."""
        wanted = self._above_threshold()
        if all(torch.equal(mask, wanted[name]) for name, mask in self.kept.items()):
            return False
        now = trace(self.model, self._example_input, self._exclude)
        units, here = self._carried_over(self.groups.unit_mask(wanted), now)
        if bool(here.all()):
            return False
        kept, left = _by_group(units, self.neurons), _by_group(here, now)
        if self.groups.collapsed(kept):
            surgery.mask(self.model, left, groups=now)
            raise LayerCollapse(
                f"by epoch {self.epoch} the group lasso has emptied the last path of channels from the input "
                "to the output; a lower share or min_channels=1 avoids it"
            )
        surgery.remove(self.model, left, groups=now, optimizer=self.optimizer, extra_models=self.extra_models)
        self._take(kept)
        return True

    def _above_threshold(self) -> dict[str, Tensor]:
        """What stays of each group: a weight that is no number counts as large."""
        wanted = {}
        for name, largest in _by_group(self._lasso.largest(), self.neurons).items():
            present = self.kept[name]
            stays = present & ~(largest < self._threshold)
            if int(stays.sum()) < self._min_channels:
                order = torch.sort(largest.where(present, -1.0), descending=True, stable=True).indices
                stays[order[: self._min_channels]] = True
            wanted[name] = stays & present
        return wanted

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

    def _take(self, kept: Mapping[str, Tensor]) -> None:
        self.kept = {name: mask.clone() for name, mask in kept.items()}
        self._lasso.follow(self.groups.unit_mask(self.kept))

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on after any step, as tensors and plain values.

        Save it beside the model's and the optimizer's.
        """
        return {
            "settings": self._settings(),
            "epoch": self.epoch,
            "coefficient": self.coefficient,
            "kept": {name: mask.clone() for name, mask in self.kept.items()},
            "sizes": surgery.sizes(self.model) if self._smaller else None,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`, on a freshly built dense model and optimizer.

        lambda is the saved one, whatever ``initial_loss`` was. Shrinks the model (and the extra models) if
        channels have gone; load their weights and the optimizer's state after this call.

        Raises:
            ValueError: if the state belongs to other settings or another model.
        """
        if state["settings"] != self._settings():
            raise ValueError(f"the state was saved with {state['settings']}, this is {self._settings()}")
        if state["sizes"] is not None:
            for model in (self.model, *self.extra_models):
                surgery.resize(model, state["sizes"])
        self.epoch, self.coefficient = state["epoch"], state["coefficient"]
        self._take(state["kept"])

    def _settings(self) -> dict[str, Any]:
        return {
            "share": self._share,
            "interval": self._interval,
            "threshold": self._threshold,
            "count": self._count,
            "min_channels": self._min_channels,
            "groups": {name: group.size for name, group in self.neurons.items()},
        }


def _by_group(units: Tensor, groups: Mapping[str, ChannelGroup]) -> dict[str, Tensor]:
    """A row over all units of a trace, cut into groups."""
    return {name: units[group.units.start : group.units.stop] for name, group in groups.items()}
