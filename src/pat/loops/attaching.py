"""One line for a training loop: pruning that hooks itself onto the optimizer."""

import weakref
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from pat.loops.optimizers import Optimizers
from pat.loops.wrapping import bare
from pat.pruner import PruningAwareTraining

_ATTACHED: weakref.WeakKeyDictionary[nn.Module, "weakref.ref[PruningAwareTraining]"] = (
    weakref.WeakKeyDictionary()
)


def attach(
    model: nn.Module,
    optimizer: Optimizers,
    example_input: Tensor | tuple[Any, ...],
    *,
    steps_per_epoch: int,
    **settings: Any,
) -> PruningAwareTraining:
    """Prune a model in the loop that trains it, without another line in that loop.

    Each ``optimizer.step()`` calls :meth:`~pat.pruner.PruningAwareTraining.step` before and
    :meth:`~pat.pruner.PruningAwareTraining.after_step` behind itself, and every ``steps_per_epoch`` of them
    :meth:`~pat.pruner.PruningAwareTraining.end_epoch`, so that validation after an epoch sees the smaller
    model. Do not call the three yourself. Gradients may be accumulated over minibatches, clipped, or scaled:
    a step that ``GradScaler`` leaves out is none, so that the epoch ends one minibatch later. Of several
    optimizers each steps once per step of the loop; the gradients are read before the first of them. Where an
    optimizer is given a closure, they are read after its first call.

    Args:
        model, optimizer, example_input: see :class:`~pat.pruner.PruningAwareTraining`.
        steps_per_epoch: optimizer steps of one epoch.
        settings: all others of :class:`~pat.pruner.PruningAwareTraining`: ``ratio``, ``policy``, ...

    Returns:
        What watches and prunes: its ``status``, ``epoch`` and ``reports`` say what happened.

    Raises:
        ValueError, UnsupportedOperation: as :class:`~pat.pruner.PruningAwareTraining`; and where another one
            is attached to the model and has not pruned it yet.
        RuntimeError: in a step of a fused optimizer whose gradients are still scaled: call
            ``scaler.unscale_(optimizer)`` before ``scaler.step(optimizer)``.
    """
    attached = _ATTACHED.get(bare(model), lambda: None)()
    if attached is not None and attached.status != "sparse":
        raise ValueError(
            "pruning is attached to the model already, and still to come: make model and optimizer anew, or "
            "follow several criteria with track="
        )
    pruner = PruningAwareTraining(
        model, optimizer, example_input, steps_per_epoch=steps_per_epoch, **settings
    )
    rounds = _Rounds(pruner, steps_per_epoch)

    def hook(optimizer: Optimizer) -> None:
        optimizer.register_step_pre_hook(rounds.before)
        optimizer.register_step_post_hook(rounds.after)

    pruner.optimizers.greet(hook)
    _ATTACHED[pruner.model] = weakref.ref(pruner)
    return pruner


class _Rounds:
    """Counts the steps of a loop: in each, every optimizer steps once.

    A round is over once those have stepped that did in the one before, or when one of them steps again:
    others may have left their step out, as ``GradScaler`` does, or been replaced.
    """

    def __init__(self, pruner: PruningAwareTraining, steps_per_epoch: int) -> None:
        self._pruner = pruner
        self._steps_per_epoch = steps_per_epoch
        self._count = 0
        self._scored = False
        self._stepped: set[int] = set()
        self._expected = {id(optimizer) for optimizer in pruner.optimizers.stepping}

    def before(
        self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Any, ...] | None:
        if getattr(optimizer, "grad_scale", None) is not None:
            raise RuntimeError(
                "the gradients are still scaled, since a fused optimizer unscales them in its step; call "
                "scaler.unscale_(optimizer) before scaler.step(optimizer)"
            )
        if id(optimizer) in self._stepped:
            self._close()
        given = {**dict(zip(("self", "closure"), args, strict=False)), **kwargs}
        closure: Callable[[], Any] | None = given.get("closure")
        if closure is None:
            self._score()
            return None

        def scoring() -> Any:
            loss = closure()
            self._score()
            return loss

        return args[:1], {**kwargs, "closure": scoring}

    def after(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        self._pruner.after_step()
        self._stepped.add(id(optimizer))
        if self._stepped >= self._expected:
            self._close()

    def _score(self) -> None:
        if not self._scored:
            self._scored = True
            self._pruner.step()

    def _close(self) -> None:
        self._expected, self._stepped = self._stepped, set()
        self._scored = False
        self._count += 1
        if self._count % self._steps_per_epoch == 0:
            self._pruner.end_epoch()
