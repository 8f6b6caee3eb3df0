"""What a spec describes, built: the data set, the network, what prunes it, and its trainer."""

import copy
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn

from pat.files import paths
from pat.methods import Pruner, Start
from pat.policy import AtEpoch, Never, Policy
from pat.pruner import PruningAwareTraining
from pat.study.plan.spec import Spec
from pat.study.runs.watcher import SILENT, Watcher
from pat.training import models
from pat.training.data import ImageDataset, load_manifest, open_dataset
from pat.training.data.augment import Decoding
from pat.training.ranks import ALONE, Ranks
from pat.training.step import cuda_graph
from pat.training.tracking import StabilityTracker
from pat.training.trainer import Trainer


def check(spec: Spec, data: Path = paths.DATA, workers: int = 0, ranks: Ranks = ALONE) -> None:
    """Find out before any training whether a run can start.

    Raises:
        ValueError: for an unknown dataset or architecture, changed or missing data, a model whose channels
            cannot be followed, or a run that so many ranks cannot share.
    """
    check_device(spec)
    dataset = open_data(spec, data, workers)
    if ranks.world > 1:
        if spec.method is not None:
            raise ValueError(
                f"method {spec.method.name!r} is trained by one process, not by {ranks.world} ranks"
            )
        dataset.check_share(spec.recipe.batch_size, ranks.share)
    with torch.random.fork_rng():
        try:
            build_trainer(spec, dataset, SILENT, start_epoch=0)
        except RuntimeError as error:  # such as a network that is too deep for small images
            raise ValueError(
                f"{spec.architecture} does not run on {dataset.image_size}-pixel images: {error}"
            ) from error


def check_device(spec: Spec) -> None:
    """Whether this machine has the device that a run asks for.

    Raises:
        ValueError: if not.
    """
    if spec.device == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            "device 'cuda' was asked for, but no CUDA device is available; name another with --device"
        )


def open_data(spec: Spec, data: Path = paths.DATA, workers: int = 0) -> ImageDataset:
    """The data set of a run.

    Raises:
        ValueError: if it is unknown, not there, or not the one that the run was specified with.
    """
    decoding = spec.recipe.decoding
    return _opened(spec.dataset, spec.data_checksum, data, spec.device, workers, decoding)


@lru_cache(maxsize=1)  # a process trains many runs on the same data
def _opened(
    name: str, checksum: str, root: Path, device: str, workers: int, decoding: Decoding
) -> ImageDataset:
    manifest = load_manifest(name)
    if manifest.checksum != checksum:
        raise ValueError(
            f"dataset {name!r} has checksum {manifest.checksum[:12]}, "
            f"the run was specified with {checksum[:12]}"
        )
    return open_dataset(manifest, root=root, device=torch.device(device), workers=workers, decoding=decoding)


def build_trainer(
    spec: Spec,
    dataset: ImageDataset,
    watcher: Watcher,
    start_epoch: int,
    *,
    graphs: bool = True,
    ranks: Ranks = ALONE,
) -> Trainer:
    """The network of a run, freshly initialised, with what prunes it, ready to be trained from an epoch on.

    Raises:
        ValueError: if the network cannot be trained on the data, or its channels cannot be followed.
    """
    torch.manual_seed(spec.seed)
    model = models.build(
        spec.architecture,
        num_classes=dataset.num_classes,
        in_channels=dataset.in_channels,
        image_size=dataset.image_size,
    ).to(dataset.device)

    _check_batch(spec, model, dataset)

    def make_pruner(
        model: nn.Module, optimizer: torch.optim.Optimizer, example: Tensor, steps: int
    ) -> Pruner:
        if spec.method is not None:
            return spec.method.build(_start(spec, model, optimizer, example, steps, dataset))
        pruning = spec.pruning
        # A branch starts where its trunk was dense; how its policy came to the epoch is the trunk's.
        policy: Policy = pruning.policy.build(spec.seed, spec.recipe.epochs) if pruning else Never()
        if pruning and (start_epoch or pruning.rewind is not None):
            policy = AtEpoch(start_epoch)
        return PruningAwareTraining(
            model,
            optimizer,
            example,
            ratio=pruning.ratio if pruning else 0.0,
            rehearse=False,  # of the study's own networks tests are the rehearsal
            criterion=pruning.criterion if pruning else spec.tracking.criteria[0],
            policy=policy,
            prune_steps=pruning.steps if pruning else 1,
            steps_per_epoch=steps,
            count=spec.neurons.count,
            keep_stem=spec.neurons.keep_stem,
            min_channels=spec.neurons.min_channels,
            track=spec.tracking.criteria,
            start_epoch=start_epoch,
        )

    def make_tracker(pruner: Pruner) -> StabilityTracker:
        by_filter = spec.neurons.count == "filter"
        multiplicity = {name: group.multiplicity for name, group in pruner.neurons.items()}
        return StabilityTracker(
            pruner.neurons,
            ratios=spec.tracking.ratios,
            look_back=spec.tracking.look_back,
            multiplicity=multiplicity if by_filter else None,
            min_channels=spec.neurons.min_channels,
        )

    return Trainer(
        model,
        dataset,
        spec.recipe,
        make_pruner,
        make_tracker if spec.method is None else None,
        seed=spec.seed,
        start_epoch=start_epoch,
        on_epoch=lambda log: watcher.on_epoch(spec, log),
        on_step=lambda epoch, step, steps: watcher.on_step(spec, epoch, step, steps),
        capture=cuda_graph if graphs and spec.device == "cuda" else None,
        ranks=ranks,
    )


def _check_batch(spec: Spec, model: nn.Module, dataset: ImageDataset) -> None:
    """Refuse batches of a single image for a network whose BatchNorm then has one value a channel.

    Raises:
        ValueError: naming the network and where the one image comes from.
    """
    images = min(spec.recipe.batch_size, dataset.split_size("train"))
    if images > 1:
        return
    shape = (1, dataset.in_channels, dataset.image_size, dataset.image_size)
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())), torch.no_grad():
            copy.deepcopy(model).train()(torch.zeros(shape, device=dataset.device))
    except ValueError as error:
        raise ValueError(
            f"{spec.architecture} cannot be trained on batches of one image (batch_size "
            f"{spec.recipe.batch_size}, {dataset.split_size('train')} training images): a BatchNorm would "
            "see a single value of each channel; at least 2 are needed"
        ) from error


def _start(
    spec: Spec,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    example: Tensor,
    steps: int,
    dataset: ImageDataset,
) -> Start:
    recipe = spec.recipe

    def batches(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        return dataset.train_batches(
            batch_size=recipe.batch_size, seed=spec.seed, epoch=epoch, augment=recipe.augment
        )

    return Start(
        model,
        optimizer,
        example,
        steps_per_epoch=steps,
        epochs=recipe.epochs,
        seed=spec.seed,
        batches=batches,
        label_smoothing=recipe.label_smoothing,
        count=spec.neurons.count,
        keep_stem=spec.neurons.keep_stem,
        min_channels=spec.neurons.min_channels,
    )
