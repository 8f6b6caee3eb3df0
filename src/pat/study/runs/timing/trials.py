"""Trials: how long a network's epochs take on this machine, measured in some seconds."""

import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median
from typing import Literal

import torch

from pat.channels import trace
from pat.files import paths
from pat.files.errors import DataError
from pat.study.plan.spec import Spec
from pat.study.runs.building import build_trainer, open_data
from pat.study.runs.timing.measuring import Stepper, network
from pat.study.runs.watcher import SILENT
from pat.training import checkpoint
from pat.training.data import load_manifest
from pat.training.epoch import Epoch
from pat.training.trainer import TrainingFailed

Source = Literal["trial", "steps"]
"""Where a time comes from: epochs on the data, or, where those are not there or the network collapses in
the first of them, steps on made-up images."""

_EPOCHS, _STEPS = range(3, 21), 40  # of a trial, and of an epoch at most; the first epoch does not count
_LARGE = 1 << 20  # pixels of a batch; above, a processor steps on a few images
_FEW = (2, 8)
_ENOUGH = 2.0  # seconds of epochs, or of steps on made-up images; a large network's one step is a measurement


@dataclass(frozen=True)
class Times:
    """What a network takes.

    Attributes:
        epoch: seconds of an epoch, with validation, tracking and the checkpoint behind it.
        around: seconds before the first and after the last.
        checkpoint: bytes of one.
        weights: bytes of the network that the run leaves.
        log: bytes that an epoch adds to the record.
        source: how it was measured.
    """

    epoch: float
    around: float
    checkpoint: int
    weights: int
    log: int
    source: Source


@dataclass(frozen=True)
class Trials:
    """Times that are measured now: on the data for some short epochs, or, where the data are not there, on
    made-up images, which leaves out loading them.

    Args:
        data: root of the data sets.
        workers: processes a run that decode images.
    """

    data: Path = paths.DATA
    workers: int = 0

    def __call__(self, spec: Spec) -> Times:
        """Of a dense run, or of one that prunes in its first epoch, without that epoch."""
        threads = torch.get_num_threads()
        torch.set_num_threads(spec.threads)
        try:
            with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
                return _trial(spec, self.data, self.workers)
        except DataError:
            return _steps(spec)
        finally:
            torch.set_num_threads(threads)


def _trial(spec: Spec, data: Path, workers: int) -> Times:
    """Train short epochs of the run, which stand for whole ones by their share of the steps."""
    dataset = open_data(spec, data, workers)
    recipe, begin = spec.recipe, time.perf_counter()
    whole = dataset.steps_per_epoch(recipe.batch_size, recipe.slices)
    cuts = math.ceil(whole / _STEPS)
    checked = recipe.validation_images or dataset.split_size("validation")
    short = {
        "epochs": _EPOCHS[-1],
        "warmup_epochs": 0,
        "slices": recipe.slices * cuts,
        "validation_images": max(1, checked // cuts),
    }
    trainer = build_trainer(
        spec.model_copy(update={"recipe": recipe.model_copy(update=short)}), dataset, SILENT, start_epoch=0
    )
    before = time.perf_counter() - begin
    counted: Sequence[Epoch] = ()
    for until in _EPOCHS:
        try:
            trainer.train(until=until)
        except TrainingFailed:  # without warm-up, which the run has
            break
        counted = trainer.history[1:]
        if trainer.next_epoch < until or sum(epoch.seconds for epoch in counted) > _ENOUGH:
            break
    if not counted:  # collapsed at once; a run that is pruned later by as much may train on
        return _steps(spec)
    begin = time.perf_counter()
    images = dataset.split_size("test")
    sample = min(images, 10 * recipe.batch_size)
    trainer.evaluate("test", sample)
    after = (time.perf_counter() - begin) * images / sample
    with tempfile.TemporaryDirectory(prefix="pat-plan-") as folder:
        begin, file = time.perf_counter(), Path(folder) / "state"
        checkpoint.save(file, trainer.state_dict())
        writing, size = time.perf_counter() - begin, file.stat().st_size
    share = whole / dataset.steps_per_epoch(recipe.batch_size, short["slices"])
    return Times(
        epoch=share * median(epoch.seconds for epoch in counted) + writing,
        around=before + after,
        checkpoint=size,
        weights=_bytes(trainer.model),
        log=max(len(epoch.model_dump_json(exclude_none=True)) for epoch in counted),
        source="trial",
    )


def _steps(spec: Spec) -> Times:
    """Step on made-up images, for as many steps as an epoch of the manifest has."""
    manifest, recipe = load_manifest(spec.dataset), spec.recipe
    structure: dict[str, int] = {}
    if spec.pruning is not None:
        dense = network(spec)
        shape = (2, manifest.in_channels, manifest.image_size, manifest.image_size)
        groups = trace(dense, torch.zeros(shape, device=spec.device))
        by_unit = spec.neurons.count == "unit"
        structure = {
            name: max(1, round(group.size * (1 - spec.pruning.ratio)))
            for group_name, group in groups.items()
            for name in ((group_name,) if by_unit else group.layers[:1])
        }
    step = _step(spec.trunk.model_copy(update={"seed": 0}), tuple(structure.items()))
    train = manifest.splits["train"].count // recipe.slices
    checked = recipe.validation_images or manifest.splits["validation"].count
    per_image = step.forward + step.backward
    return Times(
        epoch=train * per_image + train / recipe.batch_size * step.update + checked * step.forward,
        around=manifest.splits["test"].count * step.forward,
        checkpoint=2 * step.weights,  # and momentum
        weights=step.weights,
        log=1000,
        source="steps",
    )


@dataclass(frozen=True)
class _Step:
    """Seconds of forward and backward pass per image, and of an update; bytes of the weights."""

    forward: float
    backward: float
    update: float
    weights: int


@cache
def _step(dense: Spec, structure: tuple[tuple[str, int], ...]) -> _Step:
    """Of a structure, whatever criterion leaves it; measured once per process.

    A large batch is more than a processor can step on in seconds: it takes a share, and where the precision
    has no instructions, one so small that a single step on it is the measurement.
    """
    recipe, pixels = dense.recipe, load_manifest(dense.dataset).image_size ** 2
    model = network(dense, dict(structure))
    steps: list[tuple[float, float, float]] = []
    large = dense.device == "cpu" and recipe.batch_size * pixels > _LARGE
    for batch in sorted({min(recipe.batch_size, few) for few in _FEW}) if large else [recipe.batch_size]:
        share = dense.model_copy(update={"recipe": recipe.model_copy(update={"batch_size": batch})})
        stepper = Stepper(share, model, time.perf_counter)
        steps = [stepper.step()]
        if large and sum(steps[0]) > _ENOUGH:
            break
    else:
        steps = [stepper.step()]  # the one before it warmed up
        while len(steps) < 3 and sum(map(sum, steps)) < _ENOUGH:
            steps.append(stepper.step())
    forward, backward, update = (median(part) for part in zip(*steps, strict=True))
    return _Step(forward / batch, backward / batch, update, _bytes(model))


def _bytes(model: torch.nn.Module) -> int:
    return sum(value.numel() * value.element_size() for value in model.state_dict().values())
