"""Pascal VOC through torchvision: which parts are meant, where they lie, and how images are augmented."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torchvision import tv_tensors
from torchvision.datasets import VOCDetection
from torchvision.transforms import v2

from pat.files.errors import DataError, MissingDataError
from pat.training.detection.examples import Example

CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
"""Class i has the label i + 1; 0 is background."""

SOURCE = (
    "M. Everingham, L. Van Gool, C. K. I. Williams, J. Winn and A. Zisserman, The PASCAL Visual Object "
    "Classes (VOC) Challenge, IJCV 2010. Images from Flickr, under the terms of its users."
)


@dataclass(frozen=True)
class Part:
    """A list of images of one year's challenge.

    Attributes:
        year: such as ``2007``.
        image_set: ``train``, ``val``, ``trainval`` or ``test``.
        images: how many there are; None: not checked.
    """

    year: str
    image_set: str
    images: int | None = None


TRAINING = (Part("2007", "trainval", 5011), Part("2012", "trainval", 11540))
"""What SSD is trained on ("07+12")."""

TEST = (Part("2007", "test", 4952),)
"""What it is measured on."""


class Voc:
    """Examples of Pascal VOC, read when asked for.

    Objects that are marked as difficult are left out, as in the challenge's evaluation.

    Args:
        root: folder in which ``VOCdevkit`` lies, as the challenge's archives unpack.
        parts: which images.
        augmented: change images as SSD's training does (colours, zoom out, crop, mirror).

    Raises:
        MissingDataError: if a part is not there, naming where it was looked for.
        DataError: if a part has another number of images.
        ValueError: without parts.
    """

    def __init__(self, root: Path, parts: Sequence[Part], *, augmented: bool = False) -> None:
        if not parts:
            raise ValueError("parts are needed, such as pat.training.detection.voc.TEST")
        self._sets = [_opened(root, part) for part in parts]
        self._change = v2.Compose(
            [*(_augmenting() if augmented else ()), v2.ToDtype(torch.float32, scale=True)]
        )

    def __len__(self) -> int:
        return sum(map(len, self._sets))

    def __getitem__(self, index: int) -> Example:
        """Image and target; augmentation draws from torch's global generator."""
        if not 0 <= index < len(self):
            raise IndexError(f"no image {index} of {len(self)}")
        for part in self._sets:
            if index < len(part):
                break
            index -= len(part)
        picture, annotation = part[index]
        image = tv_tensors.Image(v2.functional.pil_to_tensor(picture))
        changed, target = self._change(image, _target(annotation["annotation"], image.shape[-2:]))
        return changed.as_subclass(torch.Tensor), {k: v.as_subclass(torch.Tensor) for k, v in target.items()}


def _opened(root: Path, part: Part) -> VOCDetection:
    folder = root / "VOCdevkit" / f"VOC{part.year}"
    listed = folder / "ImageSets" / "Main" / f"{part.image_set}.txt"
    if not listed.is_file():
        raise MissingDataError(f"VOC{part.year} {part.image_set} is not there: no file {listed}")
    found = VOCDetection(str(root), part.year, part.image_set)
    if part.images is not None and len(found) != part.images:
        raise DataError(f"{listed} lists {len(found)} images, {part.images} were expected")
    return found


def _target(annotation: dict[str, Any], size: tuple[int, int]) -> dict[str, torch.Tensor]:
    """Boxes from the challenge's pixel numbers, which begin at 1 and are inclusive."""
    boxes, labels = [], []
    for thing in annotation.get("object", []):
        if thing.get("difficult", "0") == "1":
            continue
        if thing["name"] not in CLASSES:
            raise DataError(f"{annotation.get('filename', 'an annotation')} has a class {thing['name']!r}")
        left, top, right, bottom = (float(thing["bndbox"][k]) for k in ("xmin", "ymin", "xmax", "ymax"))
        boxes.append([left - 1, top - 1, right, bottom])
        labels.append(CLASSES.index(thing["name"]) + 1)
    corners = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return {
        "boxes": tv_tensors.BoundingBoxes(corners, format="XYXY", canvas_size=size),
        "labels": torch.tensor(labels, dtype=torch.int64),
    }


def _augmenting() -> list[v2.Transform]:
    """SSD's augmentation (Liu et al. 2016, Sec. 2.2), by torchvision's transforms."""
    return [
        v2.RandomPhotometricDistort(),
        v2.RandomZoomOut(fill=[124, 116, 104]),
        v2.RandomIoUCrop(),
        v2.RandomHorizontalFlip(),
        v2.SanitizeBoundingBoxes(),
    ]
