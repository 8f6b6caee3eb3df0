"""A callback for Lightning's ``Trainer``; needs the extra ``lightning``."""

import math
from collections.abc import Mapping
from typing import Any, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from pat import surgery
from pat.loops.attaching import attach
from pat.pruner import EpochReport
from pat.pruner import PruningAwareTraining as Pruner


class PruningAwareTraining(Callback):
    """Prune a ``LightningModule`` early in its training, with nothing changed in the module.

    Works with several optimizers, accumulation, clipping, mixed precision and ``DistributedDataParallel``,
    as :func:`~pat.loops.attaching.attach` does. Checkpoints of the trainer carry its state: a run goes on
    from the end of any epoch.

    Args:
        example_input: a batch ``[N, C, H, W]`` that the module's ``forward`` takes; by default the module's
            ``example_input_array``.
        settings: of :class:`pat.PruningAwareTraining`: ``ratio``, ``policy``, ... ``steps_per_epoch`` is the
            trainer's.

    Attributes:
        pruner: what watches and prunes, from the start of training on; None before, and after a checkpoint
            of a model that was pruned already.

    Raises:
        ValueError: when training starts, without an example input, or if the length of an epoch is not known;
            and what :class:`pat.PruningAwareTraining` raises.
    """

    def __init__(self, *, example_input: Tensor | None = None, **settings: Any) -> None:
        self._example, self._settings = example_input, settings
        self._loaded: dict[str, Any] | None = None
        self.pruner: Pruner | None = None

    @property
    def reports(self) -> list[EpochReport]:
        """One of each epoch that this process has watched."""
        return [] if self.pruner is None else self.pruner.reports

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Let the module take the weights of a checkpoint of a pruned one."""
        if stage == "fit":
            pl_module.register_load_state_dict_pre_hook(_fit)  # type: ignore[no-untyped-call]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hook onto the optimizers."""
        if self._loaded and self._loaded["status"] == "sparse":
            return
        steps = trainer.num_training_batches
        if not math.isfinite(steps):
            raise ValueError("the length of an epoch is not known: give the Trainer limit_train_batches")
        example = self._example if self._example is not None else pl_module.example_input_array
        if not isinstance(example, Tensor):
            raise ValueError(
                "give the callback an example_input, or the module a tensor as example_input_array"
            )
        self.pruner = attach(
            cast(torch.nn.Module, trainer.strategy.model),
            trainer.optimizers,
            example.to(pl_module.device),
            steps_per_epoch=math.ceil(steps / trainer.accumulate_grad_batches),
            **self._settings,
        )
        if self._loaded:
            self.pruner.load_state_dict(self._loaded)

    def state_dict(self) -> dict[str, Any]:
        """For the trainer's checkpoints."""
        return (self._loaded or {}) if self.pruner is None else self.pruner.state_dict()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """From the trainer's checkpoint."""
        self._loaded = dict(state_dict)


def _fit(module: torch.nn.Module, state: Mapping[str, Tensor], prefix: str, *rest: Any) -> None:
    """Make a module as small as the weights that are about to be loaded."""
    now = surgery.sizes(module)
    wanted = now | {name: list(state[prefix + name].shape) for name in now if prefix + name in state}
    if wanted != now:
        surgery.resize(module, wanted)
