"""A run's curves for TensorBoard: what the record will have, epoch by epoch, while it trains."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pat.study.plan.spec import Spec
from pat.study.runs.watcher import Watcher

if TYPE_CHECKING:
    from pat.training.epoch import Epoch

FOLDER = "tensorboard"
"""In a working store, beside the runs."""


@contextmanager
def to_tensorboard(spec: Spec, store: Path, watcher: Watcher) -> Iterator[Watcher]:
    """A watcher that writes every epoch's event as well: loss, accuracies, learning rate, EPI and structure.

    Events go to ``<store>/tensorboard/<id>``; a run that is gone on with writes over those of the epochs that
    it trains again. EPI is that of each watched criterion and ratio; the structure is the channels that each
    layer is left with, from the pruning epoch on.

    Args:
        spec: the run's.
        store: a working store's folder.
        watcher: who else is told.

    Raises:
        ValueError: without TensorBoard.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ValueError(
            f"--log tensorboard needs {error.name}: pip install 'pruning-aware-training[log]'"
        ) from None
    writers: list[Any] = []

    def on_epoch(own: Spec, log: "Epoch") -> None:
        if not writers:
            writer = SummaryWriter(store / FOLDER / own.id, purge_step=log.epoch)
            writer.add_text("run", own.title, log.epoch)
            writers.append(writer)
        _write(writers[0].add_scalar, own, log)
        writers[0].flush()  # to be seen while the run goes on
        watcher.on_epoch(own, log)

    try:
        yield replace(watcher, on_epoch=on_epoch)
    finally:
        for writer in writers:
            writer.close()


def _write(scalar: Callable[[str, float, int], None], spec: Spec, log: "Epoch") -> None:
    values: dict[str, float | None] = {
        "loss/train": log.loss,
        "loss/validation": log.validation_loss,
        "accuracy/train": log.accuracy,
        "accuracy/validation": log.validation_accuracy,
        "learning rate": log.learning_rate,
        "EPI/policy": log.epi,
    }
    for criterion, watched in (log.tracked or {}).items():
        for ratio, at in watched["ratios"].items():
            values[f"EPI/{criterion} {100 * float(ratio):g} %"] = at["psi"][0]
    values |= {f"channels/{layer}": count for layer, count in (log.structure or {}).items()}
    for name, value in values.items():
        if value is not None:
            scalar(name, value, log.epoch)
