"""Who is told of a run's progress."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pat.study.plan.spec import Spec

if TYPE_CHECKING:
    from pat.training.epoch import Epoch


@dataclass(frozen=True)
class Watcher:
    """Callbacks of a run.

    Attributes:
        on_start: told (spec) when training begins or goes on; not where a record is there already.
        on_epoch: told (spec, log) after every epoch.
        on_step: told (spec, epoch, step, steps of the epoch) after every minibatch.
    """

    on_start: Callable[[Spec], None] = lambda spec: None
    on_epoch: Callable[[Spec, "Epoch"], None] = lambda spec, log: None
    on_step: Callable[[Spec, int, int, int], None] = lambda spec, epoch, step, steps: None


SILENT = Watcher()
