"""Channels on their way out: masked, held at zero while the optimizer goes on, and removed."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from pat import surgery
from pat.channels import ChannelGroups
from pat.loops.optimizers import Watched, states
from pat.loops.wrapping import rewrap


class Holding:
    """Masked channels of a model and the optimizers' memory of them.

    Args:
        model: the bare model.
        groups: from :func:`pat.channels.trace`.
        optimizers: all that train it.
        extra_models: copies that are cut with it.
        wrapped: what wraps it for several ranks.
    """

    def __init__(
        self,
        model: nn.Module,
        groups: ChannelGroups,
        optimizers: Watched,
        extra_models: Sequence[nn.Module],
        wrapped: DistributedDataParallel | None,
    ) -> None:
        self._model, self._groups, self._optimizers = model, groups, optimizers
        self._extra_models, self._wrapped = extra_models, wrapped
        self._factors: dict[str, Tensor] = {}

    def check(self) -> None:
        """See :func:`pat.surgery.check_optimizer`."""
        surgery.check_optimizer(self._model, self._optimizers.all, groups=self._groups)

    def mask(self, kept: Mapping[str, Tensor]) -> None:
        """Mask what is not kept (bool ``[size]`` by group) and hold it at zero from now on."""
        surgery.mask(self._model, kept, groups=self._groups)
        factors = surgery.mask_factors(self._model, kept, groups=self._groups)
        parameters = dict(self._model.named_parameters())
        self._factors = {name: factor for name, factor in factors.items() if name in parameters}
        self.hold()

    @torch.no_grad()
    def hold(self) -> None:
        """Set masked channels, and the optimizers' memory of them, to zero again."""
        if not self._factors:
            return
        memories = [memory for _, memory in states(self._optimizers.all)]
        held, factors = [], []
        for name, factor in self._factors.items():
            parameter = self._model.get_parameter(name)
            values = (value for memory in memories for value in memory.get(parameter, {}).values())
            same = [v for v in values if isinstance(v, Tensor) and v.shape == parameter.shape]
            held += [parameter, *same]
            factors += [factor] * (1 + len(same))
        torch._foreach_mul_(held, factors)

    def release(self) -> None:
        """Hold nothing any more."""
        self._factors = {}

    def remove(self, kept: Mapping[str, Tensor]) -> None:
        """See :func:`pat.surgery.remove`; what wraps the model for several ranks wraps it anew."""
        surgery.remove(
            self._model,
            kept,
            groups=self._groups,
            optimizer=self._optimizers.all,
            extra_models=self._extra_models,
        )
        self.release()
        if self._wrapped is not None:
            rewrap(self._wrapped)
