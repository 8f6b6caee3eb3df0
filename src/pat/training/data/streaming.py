"""Large data sets: images read, decoded and augmented while the model trains."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from pat.training.data.augment import Augment, Decoding
from pat.training.data.dataset import Batch, ImageDataset, Share
from pat.training.data.draws import CROP_AREA, CROP_RATIO, generator_for
from pat.training.data.layouts import imagefolder, jpeg
from pat.training.data.manifest import Manifest, SplitName


@dataclass(frozen=True)
class _Samples:
    """Images of one split. With an augmentation, each is drawn from its own (seed, epoch, index), so that
    neither order nor number of workers matters, nor who decodes it."""

    files: list[Path]
    labels: list[int]
    manifest: Manifest
    augment: Augment | None = None
    seed: int = 0
    epoch: int = 0

    def __len__(self) -> int:
        return len(self.files)

    def finished(self, image: Any, index: int) -> Any:
        """A decoded image, Pillow's or uint8 [C, H, W], cut to size and augmented."""
        size, resize = self.manifest.image_size, self.manifest.resize or self.manifest.image_size
        crops_itself = self.augment is not None and self.augment.random_resized_crop
        if not crops_itself:
            fitted = jpeg.fitted if isinstance(image, Tensor) else imagefolder.fitted
            image = fitted(image, resize, size)
        if self.augment is None:
            return image
        # torchvision draws from the global generator: lend it this sample's state.
        with torch.random.fork_rng(devices=[]):
            state = generator_for(self.seed, self.epoch, index).get_state()
            torch.default_generator.set_state(state)
            return _transforms(self.augment, size)(image)


class _Decoded(_Samples, Dataset[tuple[Tensor, int]]):
    """uint8 [C, H, W] and a label each, ready."""

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        file = self.files[index]
        image = imagefolder.decode(imagefolder.read(file), self.manifest.in_channels, file)
        finished = imagefolder.to_array(self.finished(image, index))
        return torch.from_numpy(finished.copy()), self.labels[index]


class _Contents(_Samples, Dataset[tuple[bytes, int]]):
    """What a file holds, and its number."""

    def __getitem__(self, index: int) -> tuple[bytes, int]:
        return imagefolder.read(self.files[index]), index

    def batch(self, contents: list[tuple[bytes, int]], device: torch.device) -> tuple[Tensor, Tensor]:
        """uint8 [B, C, H, W] on the device, and labels."""
        files = [(content, self.files[index]) for content, index in contents]
        images = jpeg.decode(files, self.manifest.in_channels, device)
        indices = [index for _, index in contents]
        finished = [self.finished(image, index) for image, index in zip(images, indices, strict=True)]
        return torch.stack(finished), torch.tensor([self.labels[index] for index in indices])


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
        decoding: Decoding = "workers",
    ) -> None:
        if workers < 0:
            raise ValueError(f"workers must not be negative, got {workers}")
        super().__init__(manifest, {split: labels for split, (_, labels) in files.items()}, device)
        self._files = {split: paths for split, (paths, _) in files.items()}
        self._workers = workers
        self._samples = _Contents if decoding == "device" else _Decoded

    def _train(
        self, batch_size: int, steps: range, seed: int, epoch: int, augment: Augment, share: Share
    ) -> Iterator[Batch]:
        order = torch.randperm(self.split_size("train"), generator=generator_for(seed, epoch))
        own = order[steps.start * batch_size : steps.stop * batch_size]
        parts = [batch[share[0] :: share[1]] for batch in torch.split(own, batch_size)]
        return self._load("train", torch.cat(parts).tolist(), len(parts[0]), augment, seed, epoch)

    def _eval(self, split: SplitName, batch_size: int, chosen: list[int]) -> Iterator[Batch]:
        return self._load(split, chosen, batch_size)

    def _load(
        self,
        split: SplitName,
        order: list[int],
        batch_size: int,
        augment: Augment | None = None,
        seed: int = 0,
        epoch: int = 0,
    ) -> Iterator[Batch]:
        labels = self._labels_of(split).tolist()
        samples = self._samples(self._files[split], labels, self.manifest, augment, seed, epoch)
        whole = isinstance(samples, _Decoded)
        loader: DataLoader[Any] = DataLoader(
            samples,
            batch_size=batch_size,
            sampler=order,
            num_workers=self._workers,
            collate_fn=None if whole else list,
            pin_memory=whole and self.device.type == "cuda",
            # Without one of its own, the loader would draw from the global generator.
            generator=torch.Generator(),
        )
        for batch in loader:
            images, targets = samples.batch(batch, self.device) if isinstance(samples, _Contents) else batch
            on_device = images.to(self.device, non_blocking=True)
            yield self.normalised(on_device), targets.to(self.device, non_blocking=True)
