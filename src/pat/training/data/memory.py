"""Small data sets: decoded once, kept as uint8 on the training device, augmented in batches."""

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import torch

from pat.training.data.augment import Augment
from pat.training.data.dataset import Batch, ImageDataset, Share
from pat.training.data.draws import Draws, augmented
from pat.training.data.manifest import Manifest, SplitName


class MemoryDataset(ImageDataset):
    """Images in one uint8 tensor a split; no work on the CPU while training on a device."""

    def __init__(
        self,
        manifest: Manifest,
        arrays: Mapping[SplitName, tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]],
        device: torch.device,
    ) -> None:
        super().__init__(manifest, {split: labels for split, (_, labels) in arrays.items()}, device)
        self._images = {
            split: torch.from_numpy(np.ascontiguousarray(images)).to(device)
            for split, (images, _) in arrays.items()
        }
        self._labels = {split: torch.from_numpy(labels).to(device) for split, (_, labels) in arrays.items()}

    def _train(
        self, batch_size: int, steps: range, seed: int, epoch: int, augment: Augment, share: Share
    ) -> Iterator[Batch]:
        images, labels = self._images["train"], self._labels["train"]
        draws = Draws.of(len(images), seed, epoch, self.device)
        for step in steps:
            part = slice(step * batch_size + share[0], (step + 1) * batch_size, share[1])
            chosen = draws.order[part]
            yield (
                self.normalised(augmented(images[chosen], draws.chances[part], augment)),
                labels[chosen],
            )

    def _eval(self, split: SplitName, batch_size: int, chosen: list[int]) -> Iterator[Batch]:
        images, labels = self._images[split], self._labels[split]
        for part in torch.split(torch.tensor(chosen, device=self.device), batch_size):
            yield self.normalised(images[part]), labels[part]
