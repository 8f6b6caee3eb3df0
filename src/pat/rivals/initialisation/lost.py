"""A network that a mask has cut in two before training: the loop is told so in its first step."""

from collections.abc import Mapping
from typing import Any, NoReturn

from torch import Tensor, nn

from pat import surgery
from pat.channels import ChannelGroup, ChannelGroups
from pat.loops.report import LayerCollapse, Status


class Lost:
    """Stands where a pruner would (:class:`pat.methods.Pruner`), for a mask that leaves no path.

    The model is masked, and constant; nothing is removed.

    Args:
        model: to be masked.
        groups, neurons: of its trace, and those whose channels could go.
        kept: bool ``[size]`` per group of the neurons.
        title: of the method that made the mask.
    """

    status: Status = "prune"

    def __init__(
        self,
        model: nn.Module,
        groups: ChannelGroups,
        neurons: dict[str, ChannelGroup],
        kept: dict[str, Tensor],
        title: str,
    ) -> None:
        surgery.mask(model, kept, groups=groups)
        self.groups, self.neurons, self.kept = groups, neurons, kept
        self._title = title

    def step(self) -> NoReturn:
        """Say so.

        Raises:
            LayerCollapse: always.
        """
        raise LayerCollapse(
            f"{self._title} leaves no path of channels from the input to the output; a lower ratio or "
            "min_channels=1 avoids it"
        )

    def after_step(self) -> None:
        """Nothing to hold."""

    def end_epoch(self, loss: float | None = None) -> NoReturn:
        """As :meth:`step`."""
        self.step()

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing to go on from."""
