"""Examples: an image with the boxes and classes of what is on it, as torchvision's detectors take them."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from pat.training.data.manifest import SplitName
from pat.training.detection.scenes import Drawing

Target = dict[str, Tensor]
"""``boxes`` float32 ``[N, 4]``: left, top, right, bottom in pixels; ``labels`` int64 ``[N]``, from 1 on."""

Example = tuple[Tensor, Target]
"""An image, float32 ``[C, H, W]`` in [0, 1], and its target."""


class Examples(Protocol):
    """What a training reads: a list, or a data set that reads its images when asked."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Example: ...


def drawn(drawing: Drawing, split: SplitName, count: int) -> list[Example]:
    """The first scenes of a split; a digit d has the label d + 1.

    Raises:
        ValueError: for an unknown split, or less than one scene.
    """
    if count < 1:
        raise ValueError(f"at least one scene is needed, got {count}")
    scenes = [drawing.scene(split, index) for index in range(count)]
    return [
        (
            torch.from_numpy(scene.image[None].astype(np.float32) / 255),
            {"boxes": torch.from_numpy(scene.boxes).float(), "labels": torch.from_numpy(scene.labels) + 1},
        )
        for scene in scenes
    ]


def batch(examples: Examples, numbers: Sequence[int]) -> tuple[list[Tensor], list[Target]]:
    """Images and targets of some examples."""
    chosen = [examples[number] for number in numbers]
    return [image for image, _ in chosen], [target for _, target in chosen]
