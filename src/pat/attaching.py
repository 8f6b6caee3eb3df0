"""One line for a training loop: pruning that hooks itself onto the optimizer."""

from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from pat.pruner import PruningAwareTraining


def attach(
    model: nn.Module, optimizer: Optimizer, example_input: Tensor, *, steps_per_epoch: int, **settings: Any
) -> PruningAwareTraining:
    """Prune a model in the loop that trains it, without another line in that loop.

    Each ``optimizer.step()`` calls :meth:`~pat.pruner.PruningAwareTraining.step` before and
    :meth:`~pat.pruner.PruningAwareTraining.after_step` behind itself, and every ``steps_per_epoch`` of them
    :meth:`~pat.pruner.PruningAwareTraining.end_epoch`, so that validation after an epoch sees the smaller
    model. Do not call the three yourself. Gradients may be accumulated over minibatches, clipped, or scaled:
    a step that ``GradScaler`` leaves out is none, so that the epoch ends one minibatch later.

    Args:
        model, optimizer, example_input: see :class:`~pat.pruner.PruningAwareTraining`.
        steps_per_epoch: optimizer steps of one epoch.
        settings: all others of :class:`~pat.pruner.PruningAwareTraining`: ``ratio``, ``policy``, ...

    Returns:
        What watches and prunes: its ``status``, ``epoch`` and ``reports`` say what happened.

    Raises:
        ValueError, UnsupportedOperation: as :class:`~pat.pruner.PruningAwareTraining`.
        RuntimeError: in a step of a fused optimizer whose gradients are still scaled: call
            ``scaler.unscale_(optimizer)`` before ``scaler.step(optimizer)``.
    """
    pruner = PruningAwareTraining(
        model, optimizer, example_input, steps_per_epoch=steps_per_epoch, **settings
    )
    steps = 0

    def before(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if getattr(optimizer, "grad_scale", None) is not None:
            raise RuntimeError(
                "the gradients are still scaled, since a fused optimizer unscales them in its step; call "
                "scaler.unscale_(optimizer) before scaler.step(optimizer)"
            )
        pruner.step()

    def after(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        nonlocal steps
        pruner.after_step()
        steps += 1
        if steps % steps_per_epoch == 0:
            pruner.end_epoch()

    optimizer.register_step_pre_hook(before)
    optimizer.register_step_post_hook(after)
    return pruner
