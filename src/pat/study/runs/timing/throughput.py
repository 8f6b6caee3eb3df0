"""Which one waits: images that the loader brings per second, beside those that a training step takes."""

import math
import time
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import torch

from pat.files import paths
from pat.study.plan.spec import Spec
from pat.study.runs.building import build_trainer, check, open_data
from pat.study.runs.watcher import SILENT
from pat.training.data.augment import Decoding


@dataclass(frozen=True)
class Throughput:
    """Images per second, each side alone.

    Attributes:
        loader: decoded, changed and on the device.
        step: trained on, with the pruner watching.
        workers: processes of the loader; 0: the training process does it itself, in turns with the steps.
        decoding: with ``"device"`` the workers only read, and the training process decodes in turns with
            the steps.
    """

    loader: float
    step: float
    workers: int
    decoding: Decoding = "workers"

    @property
    def together(self) -> float:
        """What a training run gets: the slower side, or one after the other."""
        if self._beside:
            return min(self.loader, self.step)
        return 1 / (1 / self.loader + 1 / self.step)

    @property
    def _beside(self) -> bool:
        return self.workers > 0 and self.decoding == "workers"

    def advice(self) -> str:
        """Which one waits, and how many workers would keep up."""
        if self._beside and self.loader >= self.step:
            return "the loader waits for the steps: more workers bring nothing"
        if self.decoding == "device":
            share = self.together / self.loader
            return f"the device reads and decodes for {share:.0%} of the time and trains for the rest"
        needed = math.ceil(self.step / (self.loader / max(self.workers, 1)))
        if not self.workers and self.step / self.loader < 0.05:  # such as images that are in memory
            return "the loader takes under a twentieth of the time: workers bring nothing"
        return f"the steps wait for the loader: about {needed} workers would keep up, with a core for each"


def measure(spec: Spec, data: Path = paths.DATA, workers: int = 0, steps: int = 10) -> Throughput:
    """Time a loader and a training step of a run, one after the other.

    Args:
        spec: a dense run's.
        data, workers: see :func:`pat.study.runs.run.run`.
        steps: batches of each, after a first one that is not timed.

    Raises:
        ValueError: for anything that :func:`pat.study.runs.building.check` finds, or no steps.
    """
    if steps < 1:
        raise ValueError(f"at least 1 step has to be timed, got {steps}")
    check(spec, data, workers)
    torch.set_num_threads(spec.threads)
    dataset = open_data(spec, data, workers)
    trainer = build_trainer(spec, dataset, SILENT, 0)
    recipe = spec.recipe
    settings = {"batch_size": recipe.batch_size, "seed": spec.seed, "augment": recipe.augment}
    batches = dataset.train_batches(**settings, epoch=0, slices=recipe.slices)  # type: ignore[arg-type]
    first = next(batches)
    begin = time.perf_counter()
    held = [first, *islice(batches, steps)]
    _wait(dataset.device)
    loading = time.perf_counter() - begin
    loaded = sum(len(labels) for _, labels in held[1:]) or len(first[1])

    def train(images: torch.Tensor, labels: torch.Tensor) -> None:
        trainer.step(images, labels)
        trainer.scaler.unscale_(trainer.optimizer)
        trainer.pruner.step()
        trainer.scaler.step(trainer.optimizer)
        trainer.scaler.update()
        trainer.pruner.after_step()

    trainer.model.train()
    train(*first)
    _wait(dataset.device)
    taken = list(islice(cycle(held[1:] or [first]), steps))
    begin = time.perf_counter()
    for images, labels in taken:
        train(images, labels)
    _wait(dataset.device)
    training = time.perf_counter() - begin
    trained = sum(len(labels) for _, labels in taken)
    return Throughput(loaded / loading, trained / training, workers, recipe.decoding)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
