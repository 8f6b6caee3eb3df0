"""Data sets as a training loop sees them."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pat.training.data.augment import Augment
from pat.training.data.draws import generator_for
from pat.training.data.manifest import Manifest, SplitName

Batch = tuple[Tensor, Tensor]
"""Normalised images float32 [B, C, H, W] and labels int64 [B], on the data set's device."""

Share = tuple[int, int]
"""A part of every batch: (k, n) is every n-th image from the k-th on, counted from 0."""

WHOLE: Share = (0, 1)


class ImageDataset(ABC):
    """Batches of a manifest's splits.

    Training order and augmentation are a function of (seed, epoch): the same batches bit for
    bit in any process, whatever else was drawn, so that a run can be continued or branched.
    """

    def __init__(
        self,
        manifest: Manifest,
        labels: Mapping[SplitName, npt.NDArray[np.int64]],
        device: torch.device,
    ) -> None:
        self.manifest = manifest
        self.device = device
        self._split_labels = labels
        shape = (1, manifest.in_channels, 1, 1)
        mean = torch.tensor(manifest.mean, device=device).view(shape)
        std = torch.tensor(manifest.std, device=device).view(shape)
        self._scale, self._shift = 1 / (255 * std), mean / std

    @property
    def num_classes(self) -> int:
        return self.manifest.num_classes

    @property
    def in_channels(self) -> int:
        return self.manifest.in_channels

    @property
    def image_size(self) -> int:
        return self.manifest.image_size

    def split_size(self, split: SplitName) -> int:
        """Images in the split."""
        return len(self._labels_of(split))

    def class_counts(self, split: SplitName) -> list[int]:
        """Images of each class in the split."""
        counts = np.bincount(self._labels_of(split), minlength=self.num_classes)
        return [int(count) for count in counts]

    def steps_per_epoch(self, batch_size: int, slices: int = 1) -> int:
        """Training batches an epoch: an incomplete last one is dropped, unless it is the only
        one."""
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        whole = max(1, self.split_size("train") // batch_size)
        if not 1 <= slices <= whole:
            raise ValueError(f"slices must lie between 1 and the {whole} batches of a pass, got {slices}")
        return whole // slices

    def train_batches(
        self,
        *,
        batch_size: int,
        seed: int,
        epoch: int,
        augment: Augment,
        slices: int = 1,
        share: Share = WHOLE,
    ) -> Iterator[Batch]:
        """One epoch of training batches. Raises ValueError before the first one.

        With a ``share`` a rank gets its part of each batch, with the images, labels and changes that the
        whole batch has there; the parts have to be equal. With ``slices``, epochs are virtual: each is one
        part of a pass over the data that is cut into so many, of equal numbers of batches; the pass drops
        what is left over.
        """
        per_slice = self.steps_per_epoch(batch_size, slices)
        whole, part = divmod(epoch, slices)
        generator_for(seed, whole)  # a bad seed is an error now, not at the first batch
        steps = range(part * per_slice, (part + 1) * per_slice)
        self.check_share(batch_size, share)
        return self._train(batch_size, steps, seed, whole, augment, share)

    def check_share(self, batch_size: int, share: Share) -> None:
        """Refuse (ValueError) batches that cannot be shared evenly."""
        size = min(batch_size, self.split_size("train"))
        if size % share[1]:
            raise ValueError(f"a batch of {size} images has no equal shares for {share[1]} ranks")

    def eval_batches(
        self, split: SplitName, *, batch_size: int, images: int | None = None, share: Share = WHOLE
    ) -> Iterator[Batch]:
        """Every image of a split once, in a fixed order, without augmentation.

        Args:
            split: which images.
            batch_size: images per batch.
            images: so many of them, spread evenly over the split; all by default.
            share: this part of them.
        """
        self.steps_per_epoch(batch_size)
        size = len(self._labels_of(split))
        wanted = size if images is None else min(images, size)
        return self._eval(split, batch_size, [i * size // wanted for i in range(share[0], wanted, share[1])])

    def normalised(self, images: Tensor) -> Tensor:
        """images in 0..255 [B, C, H, W] -> float32 by the manifest's mean and std."""
        return images.float().mul_(self._scale).sub_(self._shift)

    def _labels_of(self, split: SplitName) -> npt.NDArray[np.int64]:
        if split not in self._split_labels:
            raise ValueError(f"unknown split {split!r}; known are {', '.join(self._split_labels)}")
        return self._split_labels[split]

    @abstractmethod
    def _train(
        self, batch_size: int, steps: range, seed: int, epoch: int, augment: Augment, share: Share
    ) -> Iterator[Batch]: ...

    @abstractmethod
    def _eval(self, split: SplitName, batch_size: int, chosen: list[int]) -> Iterator[Batch]: ...
