"""Large data sets: images decoded and augmented by workers while the model trains."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from pat.training.data.augment import Augment
from pat.training.data.dataset import Batch, ImageDataset, Share
from pat.training.data.draws import CROP_AREA, CROP_RATIO, generator_for
from pat.training.data.layouts.imagefolder import decode, fitted, read, to_array
from pat.training.data.manifest import Manifest, SplitName


@dataclass(frozen=True)
class _Samples(Dataset[tuple[Tensor, int]]):
    """Decoded images of one split, uint8 [C, H, W]. With an augmentation, each is drawn from
    its own (seed, epoch, index), so that neither order nor number of workers matters."""

    files: list[Path]
    labels: list[int]
    manifest: Manifest
    augment: Augment | None = None
    seed: int = 0
    epoch: int = 0

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        size, resize = self.manifest.image_size, self.manifest.resize or self.manifest.image_size
        image = decode(read(self.files[index]), self.manifest.in_channels, self.files[index])
        crops_itself = self.augment is not None and self.augment.random_resized_crop
        if not crops_itself:
            image = fitted(image, resize, size)
        if self.augment is not None:
            # torchvision draws from the global generator: lend it this sample's state.
            with torch.random.fork_rng(devices=[]):
                state = generator_for(self.seed, self.epoch, index).get_state()
                torch.default_generator.set_state(state)
                image = _transforms(self.augment, size)(image)
        return torch.from_numpy(to_array(image).copy()), self.labels[index]


def _transforms(augment: Augment, size: int) -> v2.Transform:
    steps: list[v2.Transform] = [v2.RandomHorizontalFlip(0.5 if augment.flip else 0.0)]
    if augment.random_resized_crop:
        steps.append(v2.RandomResizedCrop(size, scale=CROP_AREA, ratio=CROP_RATIO, antialias=True))
    elif augment.crop_padding:
        steps.append(v2.RandomCrop(size, padding=augment.crop_padding))
    return v2.Compose(steps)


class FolderDataset(ImageDataset):
    """Images streamed from class folders."""

    def __init__(
        self,
        manifest: Manifest,
        files: Mapping[SplitName, tuple[list[Path], npt.NDArray[np.int64]]],
        device: torch.device,
        workers: int = 0,
    ) -> None:
        if workers < 0:
            raise ValueError(f"workers must not be negative, got {workers}")
        super().__init__(manifest, {split: labels for split, (_, labels) in files.items()}, device)
        self._files = {split: paths for split, (paths, _) in files.items()}
        self._workers = workers

    def _train(
        self, batch_size: int, steps: range, seed: int, epoch: int, augment: Augment, share: Share
    ) -> Iterator[Batch]:
        order = torch.randperm(self.split_size("train"), generator=generator_for(seed, epoch))
        samples = self._samples("train", augment=augment, seed=seed, epoch=epoch)
        own = order[steps.start * batch_size : steps.stop * batch_size]
        parts = [batch[share[0] :: share[1]] for batch in torch.split(own, batch_size)]
        return self._load(samples, torch.cat(parts).tolist(), len(parts[0]))

    def _eval(self, split: SplitName, batch_size: int, chosen: list[int]) -> Iterator[Batch]:
        return self._load(self._samples(split), chosen, batch_size)

    def _samples(
        self, split: SplitName, augment: Augment | None = None, seed: int = 0, epoch: int = 0
    ) -> _Samples:
        labels = self._labels_of(split).tolist()
        return _Samples(self._files[split], labels, self.manifest, augment, seed, epoch)

    def _load(self, samples: _Samples, order: list[int], batch_size: int) -> Iterator[Batch]:
        loader = DataLoader(
            samples,
            batch_size=batch_size,
            sampler=order,
            num_workers=self._workers,
            pin_memory=self.device.type == "cuda",
            # Without one of its own, the loader would draw from the global generator.
            generator=torch.Generator(),
        )
        for images, labels in loader:
            on_device = images.to(self.device, non_blocking=True)
            yield self.normalised(on_device), labels.to(self.device, non_blocking=True)
