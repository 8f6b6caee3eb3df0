"""Latency-aware pruning: saliency minus the latency that goes with a channel (Sec. 4.3)."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pat.channels import ChannelGroups, Slot
from pat.latency.table import Geometry, LatencyTable

__all__ = ["LatencyPenalty", "LatencyTable"]


class LatencyPenalty:
    """Saliency minus the latency that goes with a channel, as Algorithm 1's ``adjust`` (Sec. 4.3).

    ``I' = I / mean(I) - lambda * dT / mean(dT)``, where dT is the time that a training step gets shorter by
    when the channel is removed from the network as it is at the moment: the layers that produce it lose an
    output, those that read it an input. The paper "penalizes the neuron group's saliency with the latency
    reduction" and prints neither lambda nor a scale. Here both sides are divided by their mean over the
    channels that are left, anew in each step, so that lambda has no unit: at 1 an average channel's latency
    weighs as much as an average channel's saliency.

    Times are stairs: most single channels save nothing, and some a whole step. So dT is a channel's share of
    what is saved when ``reach`` of its group goes. And the penalty is to choose among channels, not to empty
    layers: the most salient one of each group is spared.

    Args:
        model: the network that ``groups`` was traced from, before any removal.
        groups: from :func:`pat.channels.trace`.
        table: measured for the same layers at the size and batch of the training.
        weight: lambda, at least 0.
        reach: share of a group's remaining channels that a saving is averaged over, in (0, 1].

    Raises:
        ValueError: for a parameter out of range, or a table that lacks a layer or was measured for fewer
            channels.
    """

    def __init__(
        self,
        model: nn.Module,
        groups: ChannelGroups,
        table: LatencyTable,
        weight: float,
        reach: float = 0.5,
    ) -> None:
        if not (weight >= 0 and math.isfinite(weight)):
            raise ValueError(f"weight must be a finite number of at least 0, got {weight}")
        if not 0 < reach <= 1:
            raise ValueError(f"reach must lie in (0, 1], got {reach}")
        self.table, self.weight, self.reach = table, weight, reach
        self._groups = groups
        slots = {(slot.tensor, slot.dim): slot for slot in groups.slots}
        touched = {tensor.removesuffix(".weight") for tensor, _ in slots if tensor.endswith(".weight")}
        self._layers = []
        for name, module in model.named_modules():
            if not isinstance(module, nn.Conv2d):
                continue
            if name not in table.layers and name in touched:
                known = ", ".join(list(table.layers)[:5])
                raise ValueError(f"the latency table has no layer {name!r}; it has {known}, ...")
            for geometry in table.layers.get(name, ()):
                grid = table.grids[geometry]
                wide = (module.in_channels, grid.inputs[-1]), (module.out_channels, grid.outputs[-1])
                for has, measured in wide[: 2 if geometry.groups else 1]:
                    if has > measured:
                        raise ValueError(
                            f"{name!r} has {has} channels, the latency table was measured up to {measured}"
                        )
                own, read = (slots.get((f"{name}.weight", dim)) for dim in (0, 1))
                self._layers.append(_Layer(geometry, module, own, read, groups))

    def seconds(self, kept: Mapping[str, Tensor]) -> float:
        """Time of one training step of all convolutions of the network that is left.

        Args:
            kept: bool ``[size]`` per group; absent groups are whole.
        """
        units = self._groups.unit_mask(kept)
        return sum(self.table.seconds(layer.geometry, *layer.sizes(units)) for layer in self._layers)

    def savings(self, kept: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """dT: seconds that a step gets shorter by when a channel goes, float64 ``[size]`` per group.

        Channels that are gone save nothing.

        Args:
            kept: bool ``[size]`` per group; absent groups are whole.
        """
        units = self._groups.unit_mask(kept)
        saved = torch.zeros(len(units), dtype=torch.float64)
        for layer in self._layers:
            sizes = layer.sizes(units)
            for own, (inputs, outputs) in layer.uses:
                gone = self.reach * int(units[own].sum())
                if gone:
                    seconds = self.table.saving(layer.geometry, *sizes, (gone * inputs, gone * outputs))
                    saved[own] += seconds / gone
        saved[~units] = 0
        return {name: saved[group.units.start : group.units.stop] for name, group in self._groups.items()}

    def __call__(self, scores: Mapping[str, Tensor], kept: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Scores with the penalty, float64 ``[size]`` per group; -inf for channels that are gone."""
        saved = self.savings(kept)
        saliency = _relative({name: s.detach().double().cpu() for name, s in scores.items()}, kept, -math.inf)
        latency = _relative({name: saved[name] for name in scores}, kept, 0.0)
        for name, best in saliency.items():
            latency[name][best.argmax()] = 0.0
        return {name: saliency[name] - self.weight * latency[name] for name in scores}


def _relative(values: Mapping[str, Tensor], kept: Mapping[str, Tensor], gone: float) -> dict[str, Tensor]:
    """Divided by the mean over what is kept (where that is 0, all are), and ``gone`` elsewhere."""
    left = {name: kept.get(name, torch.ones(len(v), dtype=torch.bool)).cpu() for name, v in values.items()}
    rows = [value[left[name]] for name, value in values.items()]
    every = torch.cat(rows) if rows else torch.ones(1)
    mean = float(every.mean()) if every.numel() else 1.0
    return {name: torch.where(left[name], v / (mean or 1.0), gone) for name, v in values.items()}


class _Layer:
    """One call of a convolution, and which units of the model its channels belong to.

    Attributes:
        uses: numbers of units of one group, and how many inputs and outputs go with each of them.
    """

    def __init__(
        self, geometry: Geometry, conv: nn.Conv2d, own: Slot | None, read: Slot | None, groups: ChannelGroups
    ) -> None:
        self.geometry = geometry
        self._whole = conv.in_channels, conv.out_channels
        self._own, self._read = own, read
        self._times = max(geometry.groups, 1)  # the weight's dimension 1 holds one group's inputs
        total = sum(group.size for group in groups.values())
        outputs, inputs = _entries(own, total), _entries(read, total) * self._times
        if geometry.groups == 0:
            inputs = outputs // geometry.multiplier
        self.uses: list[tuple[Tensor, tuple[int, int]]] = []
        for group in groups.values():
            found: dict[tuple[int, int], list[int]] = {}
            for unit in group.units:
                found.setdefault((int(inputs[unit]), int(outputs[unit])), []).append(unit)
            self.uses += [(torch.tensor(units), share) for share, units in found.items() if any(share)]

    def sizes(self, units: Tensor) -> tuple[int, int]:
        """Inputs and outputs that are left, for bool ``units`` over all of the model."""
        outputs = self._whole[1] if self._own is None else int(self._own.keep(units).sum())
        if self.geometry.groups == 0:
            return outputs // self.geometry.multiplier, outputs
        inputs = self._whole[0] if self._read is None else int(self._read.keep(units).sum()) * self._times
        return inputs, outputs


def _entries(slot: Slot | None, total: int) -> Tensor:
    """How many entries of a dimension belong to each of all units."""
    entries = torch.zeros(0, dtype=torch.int64) if slot is None else slot.units[slot.units >= 0]
    return torch.bincount(entries, minlength=total)
