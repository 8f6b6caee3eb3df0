"""One run: a spec in, a record in the store out; goes on from checkpoints, or branches from a dense run."""

import json
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pat import cost
from pat.files import paths
from pat.saved import save_pruned
from pat.study.plan.spec import Spec
from pat.study.runs.budget import Saving
from pat.study.runs.building import build_trainer, open_data
from pat.study.runs.transplant import (
    first_epoch,
    penalise_latency,
    rewound,
    transplant,
    transplanted,
    trunk_state,
)
from pat.study.runs.watcher import SILENT, Watcher
from pat.study.store import Store
from pat.study.store.record import CostRecord, Record, Result, command, provenance
from pat.study.store.speeds import final_structure
from pat.training import checkpoint
from pat.training.data import ImageDataset
from pat.training.epoch import finite
from pat.training.repeatable import repeatable
from pat.training.trainer import Outcome, Trainer, TrainingFailed

_KEEP_LAST = 2  # the last checkpoint, and one more in case it is damaged


def run(
    spec: Spec,
    store: Store,
    *,
    data: Path = paths.DATA,
    workers: int = 0,
    keep: Collection[int] = (),
    branch: bool = True,
    wait: bool = True,
    watcher: Watcher = SILENT,
    deadline: float | None = None,
    graphs: bool = True,
) -> Record:
    """Bring a run to its end: nothing if it has a record, else from its last checkpoint.

    A run with a fixed pruning epoch p continues the dense run's checkpoint after epoch p - 1 if the store
    has it; then its record names that trunk. Runs that start from a trunk's weights by their nature (rewound
    or pretrained ones) train the trunk first if its checkpoints are not there.

    Args:
        spec: what to run.
        store: where.
        data: root of the data sets.
        workers: processes that decode images of data sets too large for memory.
        keep: numbers of epochs after which to keep a checkpoint for good.
        branch: whether to use the dense run's checkpoint.
        wait: for another process that trains the run; a run whose trunk is trained by another waits always.
        watcher: told of progress.
        deadline: stop before the epoch that would not end by then, on :func:`time.monotonic`'s clock.
        graphs: let an accelerator capture a network's passes, see :class:`pat.training.step.Step`.

    Returns:
        The record; a failed run's has the reason.

    Raises:
        ValueError: for anything that :func:`pat.study.runs.building.check` finds.
        Busy: if another process trains the run and ``wait`` is off.
        OutOfTime: if the deadline cut it, after a checkpoint.
    """
    if not keep and (found := store.record(spec)) is not None:
        return found  # without the lock, which a store that is only read does not give
    with store.lock(spec, wait=wait):
        found = store.record(spec)
        missing = [epochs for epochs in keep if store.load_checkpoint(spec, epochs) is None]
        if found is not None and not missing:
            return found
        kept = frozenset(keep)
        if found is not None:  # what a finished run still has was kept on purpose: others start from it
            kept |= set(store.checkpoints(spec))
        threads = torch.get_num_threads()
        torch.set_num_threads(spec.threads)
        try:
            devices = range(torch.cuda.device_count())
            with torch.random.fork_rng(devices=devices), repeatable(spec.device) as varying:
                around = _Around(data, workers, branch, watcher, deadline, graphs, varying)
                return _train(spec, store, around, kept, missing, found)
        finally:
            torch.set_num_threads(threads)


@dataclass(frozen=True)
class _Around:
    """What a run is given but for its spec: no result depends on it. ``varying`` are the operations met that
    have no deterministic algorithm."""

    data: Path
    workers: int
    branch: bool
    watcher: Watcher
    deadline: float | None
    graphs: bool
    varying: Collection[str]

    def options(self) -> dict[str, Any]:
        """The same for another run."""
        names = ("data", "workers", "watcher", "deadline", "graphs")
        return {name: getattr(self, name) for name in names}

    def dataset(self, spec: Spec) -> ImageDataset:
        return open_data(spec, self.data, self.workers)

    def trainer(self, spec: Spec, dataset: ImageDataset, start_epoch: int) -> Trainer:
        return build_trainer(spec, dataset, self.watcher, start_epoch, graphs=self.graphs)


def _train(
    spec: Spec,
    store: Store,
    around: _Around,
    keep: frozenset[int],
    missing: Collection[int],
    found: Record | None,
) -> Record:
    around.watcher.on_start(spec)
    dataset = around.dataset(spec)
    # Not after a checkpoint that is wanted and not there: other runs start from it.
    last = min(missing, default=spec.recipe.epochs)
    if transplanted(spec) and not store.checkpoints(spec):
        for_all = spec.needs | set(store.checkpoints(spec.trunk))  # others start from those
        run(spec.trunk, store, keep=for_all, **around.options())
    begin = time.perf_counter()
    trainer, trunk, spent = _start(spec, store, dataset, last, around)
    penalise_latency(spec, trainer, store)

    def seconds() -> float:
        return spent + time.perf_counter() - begin

    saving = Saving(spec, keep, around.deadline)

    def save(current: Trainer) -> None:
        state = {**current.state_dict(), "run": spec.id, "trunk": trunk, "seconds": seconds()}
        checkpoint.save(store.checkpoint_path(spec, current.next_epoch), state)
        store.clean(spec, keep | set(store.checkpoints(spec)[-_KEEP_LAST:]))

    def after_epoch(current: Trainer) -> None:
        saving.after(current.next_epoch, lambda: save(current))

    reason, outcome = None, None
    try:
        if spec.pruning is not None and spec.pruning.rewind == trainer.next_epoch and trunk is not None:
            transplant(spec, trainer, store, dataset)
        until = max(missing) if found is not None else None  # a record there, checkpoints gone
        outcome = trainer.train(until=until, after_epoch=after_epoch)
    except TrainingFailed as failure:
        reason = str(failure)
    if found is not None:
        return found
    record = _record(spec, trainer, trunk, outcome, reason, seconds(), around.varying)
    if outcome is not None:
        save_pruned(trainer.model, store.folder(spec) / "model.safetensors", _notes(spec, record))
    if trainer.scores:
        checkpoint.save(
            store.folder(spec) / "scores.ckpt",
            {name: torch.stack(rows) for name, rows in trainer.scores.items()},
        )
    store.write(record)
    store.clean(spec, keep)
    return record


def _notes(spec: Spec, record: Record) -> dict[str, str]:
    """What a saved model says of itself: its run, and the channels that its layers have left."""
    left = final_structure(record)
    notes = {"spec": spec.id, "run": spec.title, "architecture": spec.architecture, "dataset": spec.dataset}
    return notes | ({} if left is None else {"structure": json.dumps(left)})


def _start(
    spec: Spec, store: Store, dataset: ImageDataset, last: int, around: _Around
) -> tuple[Trainer, str | None, float]:
    """A trainer ready to go on: from its own latest checkpoint of at most ``last`` epochs, else from the
    trunk's, else from scratch."""
    for epochs in reversed([epochs for epochs in store.checkpoints(spec) if epochs <= last]):
        state: Any = store.load_checkpoint(spec, epochs)
        if state is not None:
            start = 0 if state["trunk"] is None else first_epoch(spec)
            trainer = around.trainer(spec, dataset, start)
            trainer.load_state_dict(state)
            return trainer, state["trunk"], state["seconds"]
    epoch = first_epoch(spec)
    if spec.pretrained:
        trainer = around.trainer(spec, dataset, 0)
        trainer.model.load_state_dict(trunk_state(spec, store, spec.recipe.epochs)["model"])
        return trainer, spec.trunk.id, 0.0
    if epoch and (around.branch or transplanted(spec)):
        state = store.load_checkpoint(spec.trunk, epoch)
        if state is not None:
            trainer = around.trainer(spec, dataset, epoch)
            trainer.load_weights(state)
            return trainer, spec.trunk.id, 0.0
    return around.trainer(spec, dataset, 0), spec.trunk.id if transplanted(spec) else None, 0.0


def _record(
    spec: Spec,
    trainer: Trainer,
    trunk: str | None,
    outcome: Outcome | None,
    reason: str | None,
    seconds: float,
    varying: Collection[str],
) -> Record:
    layers = trainer.tracker.layers() if trainer.tracker else []
    result = None
    costs = None
    if outcome is not None:
        result = Result(
            test_accuracy=outcome.test_accuracy,
            test_loss=finite(outcome.test_loss),
            validation_accuracy=outcome.validation_accuracy,
            prune_epoch=spec.prune_epoch if rewound(spec) else outcome.prune_epoch,
        )
        if outcome.status == "done":  # a collapsed network was never made smaller
            costs = _costs(spec, outcome, trainer)
        reason = outcome.reason
    return Record(
        id=spec.id,
        spec=spec,
        status="failed" if outcome is None else outcome.status,  # type: ignore[arg-type]
        reason=reason,
        trunk=trunk,
        layers=tuple(layers),
        history=tuple(trainer.history),
        result=result,
        cost=costs,
        provenance=provenance(seconds=seconds, device=spec.device, command=command(), varying=varying),
    )


def _costs(spec: Spec, outcome: Outcome, trainer: Trainer) -> CostRecord:
    """What model and training cost: the pruning epoch counts as dense, and so does all of a pretraining."""
    dense, final, epochs = outcome.dense.macs, outcome.final.macs, spec.recipe.epochs
    if spec.method is not None:
        steps = trainer.dataset.steps_per_epoch(spec.recipe.batch_size, spec.recipe.slices)
        removals = [(epoch.epoch, epoch.macs) for epoch in trainer.history if epoch.macs is not None]
        share = spec.method.training_share(dense, final, steps, removals, epochs)
    else:
        dense_epochs = epochs if outcome.prune_epoch is None else outcome.prune_epoch + 1
        if spec.pruning is not None and spec.pruning.rewind is not None:
            dense_epochs = spec.pruning.rewind
        share = cost.training_share(dense, final, epochs, dense_epochs) + spec.pretrained
    return CostRecord(
        dense_macs=dense,
        macs=final,
        dense_parameters=outcome.dense.parameters,
        parameters=outcome.final.parameters,
        training_share=share,
    )
