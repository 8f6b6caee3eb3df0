"""Whether a loop calls what it has to when it has to: told in its first epoch, not when it prunes."""

import warnings
from typing import Any

from torch.optim import Optimizer

from pat.loops.optimizers import Watched


class LoopCheck:
    """Counts the calls of one epoch and warns of those that are missing, late or too many.

    Args:
        optimizers: the loop's; their steps count until the first epoch ends.
        steps_per_epoch: optimizer steps that the loop announced.
    """

    def __init__(self, optimizers: Watched, steps_per_epoch: int) -> None:
        # Never taken off: the first epoch may end in a hook, and torch goes through its hooks meanwhile.
        for optimizer in optimizers.stepping:
            optimizer.register_step_post_hook(self._stepped)
        self._optimizer_steps = 0
        self._expected = steps_per_epoch
        self._steps = 0
        self._held = 0
        self._over = False

    def step(self) -> None:
        """The loop called ``step``."""
        if self._optimizer_steps and not self._steps:
            self._tell("step() came after optimizer.step(); call it between backward and optimizer.step()")
        self._steps += 1

    def after_step(self) -> bool:
        """The loop called ``after_step``; whether that is the first time that an optimizer has stepped."""
        self._held += 1
        return self._held == 1 and not self._over

    def end_epoch(self) -> None:
        """The first epoch is over."""
        if self._over:
            return
        self.close()
        if self._steps != self._expected:
            self._tell(
                f"step() was called {self._steps} times in the first epoch, steps_per_epoch is "
                f"{self._expected}: Algorithm 1's steps will fall elsewhere in the pruning epoch"
            )
        if self._steps and not self._held:
            self._tell(
                "after_step() was not called in the first epoch: masked channels will not stay at zero; call "
                "it after optimizer.step()"
            )

    def close(self) -> None:
        """Say nothing more: the first epoch is over, or was another process's."""
        self._over = True

    def _stepped(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        self._optimizer_steps += 1

    @staticmethod
    def _tell(what: str) -> None:
        warnings.warn(what, RuntimeWarning, stacklevel=4)
