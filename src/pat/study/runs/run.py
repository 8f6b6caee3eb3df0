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
from pat.study.runs.budget import OutOfTime, Saving
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
from pat.training.ranks import ALONE, Ranks
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
    ranks: Ranks = ALONE,
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
        ranks: the processes that train it, of which this is the first; the others :func:`follow`.

    Returns:
        The record; a failed run's has the reason.

    Raises:
        ValueError: for anything that :func:`pat.study.runs.building.check` finds.
        Busy: if another process trains the run and ``wait`` is off.
        OutOfTime: if the deadline cut it, after a checkpoint.
    """
    if not keep and (found := store.record(spec)) is not None:
        ranks.told(None)
        return found  # without the lock, which a store that is only read does not give
    with store.lock(spec, wait=wait):
        found = store.record(spec)
        missing = [epochs for epochs in keep if store.load_checkpoint(spec, epochs) is None]
        if found is not None and not missing:
            ranks.told(None)
            return found
        kept = frozenset(keep)
        if found is not None:  # what a finished run still has was kept on purpose: others start from it
            kept |= set(store.checkpoints(spec))
        threads = torch.get_num_threads()
        torch.set_num_threads(spec.threads)
        try:
            devices = range(torch.cuda.device_count())
            with torch.random.fork_rng(devices=devices), repeatable(spec.device) as varying:
                around = _Around(data, workers, branch, watcher, deadline, graphs, varying, ranks)
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
    ranks: Ranks = ALONE

    def options(self) -> dict[str, Any]:
        """The same for another run."""
        names = ("data", "workers", "watcher", "deadline", "graphs")
        return {name: getattr(self, name) for name in names}

    def dataset(self, spec: Spec) -> ImageDataset:
        return open_data(spec, self.data, self.workers)

    def trainer(self, spec: Spec, dataset: ImageDataset, start_epoch: int) -> Trainer:
        graphs = self.graphs and self.ranks.world == 1  # a graph would hold what ranks send each other
        return build_trainer(spec, dataset, self.watcher, start_epoch, graphs=graphs, ranks=self.ranks)


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
    beginning: _Beginning = around.ranks.told(_beginning(spec, store, last, around))
    trainer, trunk, spent = _begun(beginning, spec, dataset, around), beginning.trunk, beginning.spent
    penalise_latency(spec, trainer, store)

    def seconds() -> float:
        return spent + time.perf_counter() - begin

    saving = Saving(spec, keep, around.deadline)

    def save(current: Trainer) -> None:
        state = {**current.state_dict(), "run": spec.id, "trunk": trunk, "seconds": seconds()}
        checkpoint.save(store.checkpoint_path(spec, current.next_epoch), state)
        store.clean(spec, keep | set(store.checkpoints(spec)[-_KEEP_LAST:]))

    def after_epoch(current: Trainer) -> None:
        try:
            saving.after(current.next_epoch, lambda: save(current))
        except BaseException as end:
            around.ranks.told(f"rank 0 stopped: {end}")
            raise
        around.ranks.told(None)

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
    record = _record(spec, trainer, trunk, outcome, reason, seconds(), around)
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


@dataclass(frozen=True)
class _Beginning:
    """From where a run is trained: all that another rank needs to begin alike.

    Attributes:
        epoch: the trainer's first.
        state: of a checkpoint; None from scratch.
        own: whether that is the run's; if not, its weights and optimizer are a trunk's.
        trunk: whose weights it starts from.
        spent: seconds of the run so far.
    """

    epoch: int = 0
    state: Any = None
    own: bool = False
    trunk: str | None = None
    spent: float = 0.0


def _beginning(spec: Spec, store: Store, last: int, around: _Around) -> _Beginning:
    """The run's own latest checkpoint of at most ``last`` epochs, else the trunk's, else nothing."""
    for epochs in reversed([epochs for epochs in store.checkpoints(spec) if epochs <= last]):
        state: Any = store.load_checkpoint(spec, epochs)
        if state is not None:
            start = 0 if state["trunk"] is None else first_epoch(spec)
            return _Beginning(start, state, True, state["trunk"], state["seconds"])
    epoch = first_epoch(spec)
    if spec.pretrained:
        return _Beginning(0, trunk_state(spec, store, spec.recipe.epochs), trunk=spec.trunk.id)
    if epoch and (around.branch or transplanted(spec)):
        state = store.load_checkpoint(spec.trunk, epoch)
        if state is not None:
            return _Beginning(epoch, state, trunk=spec.trunk.id)
    return _Beginning(trunk=spec.trunk.id if transplanted(spec) else None)


def _begun(beginning: _Beginning, spec: Spec, dataset: ImageDataset, around: _Around) -> Trainer:
    """A trainer ready to go on from there."""
    trainer = around.trainer(spec, dataset, beginning.epoch)
    if beginning.state is None:
        return trainer
    if beginning.own:
        trainer.load_state_dict(beginning.state)
    elif spec.pretrained:
        trainer.model.load_state_dict(beginning.state["model"])
    else:
        trainer.load_weights(beginning.state)
    return trainer


def follow(
    spec: Spec, ranks: Ranks, *, data: Path = paths.DATA, workers: int = 0, watcher: Watcher = SILENT
) -> None:
    """Train the same as rank 0 in :func:`run`, on another share of every batch; that keeps the record.

    Args:
        spec: the same as rank 0's.
        ranks: this process among the others.
        data, workers: see :func:`run`.
        watcher: told of progress.

    Raises:
        OutOfTime: if rank 0 stopped before the end.
    """
    beginning = ranks.told()
    if beginning is None:  # it has the record
        return
    torch.set_num_threads(spec.threads)

    def after_epoch(current: Trainer) -> None:
        if (stopped := ranks.told()) is not None:
            raise OutOfTime(stopped)

    with repeatable(spec.device) as varying:
        around = _Around(data, workers, True, watcher, None, False, varying, ranks)
        dataset = around.dataset(spec)
        try:
            _begun(beginning, spec, dataset, around).train(after_epoch=after_epoch)
        except TrainingFailed:
            return  # so it did on rank 0, which records it


def _record(
    spec: Spec,
    trainer: Trainer,
    trunk: str | None,
    outcome: Outcome | None,
    reason: str | None,
    seconds: float,
    around: _Around,
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
        provenance=provenance(
            seconds=seconds,
            device=spec.device,
            command=command(),
            varying=around.varying,
            ranks=around.ranks.world,
        ),
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
