"""Runs that start from another's weights or take its mask: rewound, varied and pretrained ones."""

from typing import Any

import torch
from torch import Tensor

from pat.latency.penalty import LatencyPenalty
from pat.pruner import LayerCollapse, PruningAwareTraining
from pat.study.plan.spec import Spec
from pat.study.runs.building import build_trainer
from pat.study.runs.watcher import SILENT
from pat.study.store import Store
from pat.study.store.measured import find_table
from pat.training.data import ImageDataset
from pat.training.data.draws import generator_for
from pat.training.trainer import Trainer, TrainingFailed
from pat.training.variation import other_structure, same_structure


def rewound(spec: Spec) -> bool:
    """Whether a mask is put on earlier weights."""
    return spec.pruning is not None and spec.pruning.rewind is not None


def transplanted(spec: Spec) -> bool:
    """Whether a run needs its trunk's checkpoints, and not only uses them if they are there."""
    return spec.pretrained or rewound(spec)


def first_epoch(spec: Spec) -> int:
    """Where a run leaves its trunk."""
    if spec.pretrained:
        return 0
    if spec.pruning is not None and spec.pruning.rewind is not None:
        return spec.pruning.rewind
    return spec.prune_epoch or 0


def trunk_state(spec: Spec, store: Store, epochs: int) -> Any:
    """The dense run's checkpoint after so many epochs.

    Raises:
        RuntimeError: if it is gone.
    """
    state = store.load_checkpoint(spec.trunk, epochs)
    if state is None:
        raise RuntimeError(f"{spec.title}: the dense run's checkpoint after {epochs} epochs is gone")
    return state


def transplant(spec: Spec, trainer: Trainer, store: Store, dataset: ImageDataset) -> None:
    """Let the donor run its pruning epoch, and put its mask, or a variation of it, on this run's weights.

    The donor is the run without rewinding: one epoch from the trunk's checkpoint, bit for bit.

    Raises:
        TrainingFailed: if Algorithm 1 collapses, or there is no such variation.
    """
    pruning = spec.pruning
    assert pruning is not None
    plain = pruning.model_copy(update={"rewind": None, "variation": None})
    donor = spec.model_copy(update={"pruning": plain})
    epoch = donor.prune_epoch or 0
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        source = build_trainer(donor, dataset, SILENT, epoch)
        if epoch:
            source.load_weights(trunk_state(spec, store, epoch))
        penalise_latency(spec, source, store)
        ended = source.train(until=epoch + 1)
    if ended is not None:
        raise TrainingFailed(f"there is no mask to put on: in epoch {epoch}, {ended.reason}")
    try:
        _algorithm1(trainer).adopt(_varied(spec, _algorithm1(source)))
    except (ValueError, LayerCollapse) as error:
        raise TrainingFailed(f"the mask cannot be put on: {error}") from error


def penalise_latency(spec: Spec, trainer: Trainer, store: Store) -> None:
    """Let Algorithm 1 rank with the penalty that the spec asks for, if it does and is still to run.

    Raises:
        MissingTable: if the store has not the latency table that the run was specified with.
    """
    wanted = spec.pruning.latency if spec.pruning else None
    if wanted is not None and trainer.pruner.status != "sparse":
        pruner = _algorithm1(trainer)
        table = find_table(store.root, spec.profile, wanted.table)
        pruner.adjust = LatencyPenalty(trainer.model, pruner.groups, table, wanted.weight)


def _algorithm1(trainer: Trainer) -> PruningAwareTraining:
    """What prunes a run whose spec has a pruning."""
    assert isinstance(trainer.pruner, PruningAwareTraining)
    return trainer.pruner


def _varied(spec: Spec, pruner: PruningAwareTraining) -> dict[str, Tensor]:
    assert spec.pruning is not None
    variation = spec.pruning.variation
    if variation is None:
        return pruner.kept
    same = variation.kind == "same"
    generator = generator_for(spec.seed, variation.draw, 1, 1 if same else 2)
    if same:
        return same_structure(pruner.kept, generator)
    by_filter = spec.neurons.count == "filter"
    return other_structure(pruner.kept, pruner.neurons, variation.similarity, generator, by_filter=by_filter)
