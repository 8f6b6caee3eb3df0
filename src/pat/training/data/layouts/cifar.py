"""The binary layout of CIFAR-10: records of a label byte and 3,072 pixel bytes.

The official Python files are pickles, and loading data never unpickles code.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from pat.files.errors import DataError
from pat.training.data.layouts.imagefolder import missing, read
from pat.training.data.manifest import Manifest

SIDE = 32
_RECORD = 1 + 3 * SIDE * SIDE


def read_records(file: Path, classes: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Images uint8 [N, 3, 32, 32] and labels int64 [N]. Raises `DataError` naming the file."""
    data = read(file)
    if not data or len(data) % _RECORD:
        raise DataError(f"{file}: {len(data)} bytes are no whole number of {_RECORD}-byte records")
    records = np.frombuffer(data, np.uint8).reshape(-1, _RECORD)
    labels = records[:, 0].astype(np.int64)
    if labels.max() >= classes:
        record = int(np.argmax(labels >= classes))
        raise DataError(f"{file}: record {record} has the label {labels[record]} of {classes}")
    return records[:, 1:].reshape(-1, 3, SIDE, SIDE), labels


def read_group(
    manifest: Manifest, name: str, root: Path
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """A group's images and labels; `MissingDataError` or `DataError` naming the file."""
    if manifest.image_size != SIDE or manifest.in_channels != 3:
        raise DataError(f"{manifest.name}: image_size must be {SIDE} and in_channels 3")
    group = manifest.groups[name]
    files = [manifest.location(root) / path for path in group.paths]
    for file in files:
        if not file.is_file():
            raise missing(manifest, file)
    parts = [read_records(file, manifest.num_classes) for file in files]
    images = np.concatenate([images for images, _ in parts])
    if len(images) != group.count:
        raise DataError(f"{files[0].parent}: group {name!r} has {len(images)} images, {group.count} expected")
    return images, np.concatenate([labels for _, labels in parts])
