"""From a manifest and a folder to a data set that is ready to train on."""

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from pat.files.atomic import whole, write_whole
from pat.files.errors import DataError
from pat.training.data.augment import Decoding
from pat.training.data.dataset import ImageDataset
from pat.training.data.division import divide
from pat.training.data.layouts import cifar, embedded
from pat.training.data.layouts.imagefolder import (
    Listing,
    check_all,
    decode_all,
    group_listing,
    hash_all,
    list_digest,
)
from pat.training.data.manifest import SPLITS, Manifest, SplitName
from pat.training.data.memory import MemoryDataset

Arrays = dict[SplitName, tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]]


def open_dataset(
    manifest: Manifest,
    *,
    root: Path,
    device: torch.device | str,
    workers: int = 0,
    decoding: Decoding = "workers",
) -> ImageDataset:
    """The manifest's data below `root`, checked as far as that is cheap.

    Counts are always checked; digests when the images are decoded into memory, or once before
    they are first streamed. `workers`: processes that decode while streaming; no matter to the
    images. `decoding`: ``"device"`` decodes and augments on the device instead, on a GPU with
    nvJPEG, and leaves reading to the workers. Raises `MissingDataError` with the expected path and
    how to get the data, `DataError` naming a bad file, ValueError for a decoding that a data set
    in memory has no use for.
    """
    device = torch.device(device)
    streamed = manifest.layout == "imagefolder" and not manifest.in_memory
    if decoding == "device" and not streamed:
        raise ValueError(f"decoding 'device' is for images that are streamed; {manifest.name!r} is in memory")
    if manifest.layout == "imagefolder":
        return _open_folder(manifest, root, device, workers, decoding)
    if manifest.layout == "cifar-binary":
        groups = {name: cifar.read_group(manifest, name, root) for name in manifest.groups}
    else:
        groups = embedded.generate(manifest)
    parts = split_indices(manifest, {name: labels for name, (_, labels) in groups.items()})
    arrays: Arrays = {}
    for split, indices in parts.items():
        images, labels = groups[manifest.splits[split].group]
        arrays[split] = images[indices], labels[indices]
    return MemoryDataset(manifest, arrays, device)


def split_indices(
    manifest: Manifest, labels: Mapping[str, npt.NDArray[np.int64]]
) -> dict[SplitName, npt.NDArray[np.int64]]:
    """Which images of its group each split has; labels: int64 [N] by group."""
    divided = {
        name: divide(
            labels[name],
            {split: part.count for split, part in manifest.splits.items() if part.group == name},
            manifest.split_seed,
        )
        for name in manifest.groups
    }
    return {split: divided[part.group][split] for split, part in manifest.splits.items()}


def _open_folder(
    manifest: Manifest, root: Path, device: torch.device, workers: int, decoding: Decoding
) -> ImageDataset:
    listings = {name: group_listing(manifest, name, root) for name in manifest.groups}
    parts = split_indices(manifest, {name: found.labels for name, found in listings.items()})
    files: dict[SplitName, tuple[list[Path], npt.NDArray[np.int64]]] = {}
    for split, indices in parts.items():
        listing = listings[manifest.splits[split].group]
        files[split] = [listing.files[i] for i in indices], listing.labels[indices]
    if not manifest.in_memory:
        from pat.training.data.streaming import FolderDataset  # torchvision's transforms load slowly

        _check_once(manifest, listings, root)
        return FolderDataset(manifest, files, device, workers, decoding)
    key = _cache_key(manifest, listings)
    cache = root / ".pat-cache" / f"{manifest.name}-{key}.npz"
    arrays = _load_cache(cache, key)
    if arrays is None:
        _check_digests(manifest, listings)
        resize = manifest.resize or manifest.image_size
        arrays = {
            split: (decode_all(paths, manifest.in_channels, resize, manifest.image_size), labels)
            for split, (paths, labels) in files.items()
        }
        _save_cache(cache, key, arrays)
    return MemoryDataset(manifest, arrays, device)


def _check_digests(manifest: Manifest, listings: Mapping[str, Listing]) -> None:
    for name, listing in listings.items():
        expected = manifest.groups[name].digest
        if expected is None:
            continue
        hashes = dict(zip(listing.names, hash_all(listing.files), strict=True))
        if list_digest(hashes) != expected:
            raise DataError(
                f"{listing.folder} is not the data of the manifest: its digest differs; "
                f"`pat data verify {manifest.name}` names the file"
            )


def _check_once(manifest: Manifest, listings: Mapping[str, Listing], root: Path) -> None:
    """Every image, before the first epoch rather than in the middle of one: hashed where the manifest has a
    digest, else decoded. A note beside the data says that these files passed."""
    note = root / ".pat-cache" / f"{manifest.name}-{_cache_key(manifest, listings)}.checked"
    if note.is_file():
        return
    _check_digests(manifest, listings)
    for name, listing in listings.items():
        if manifest.groups[name].digest is None:
            check_all(listing.files, manifest.in_channels)
    with suppress(OSError):  # a data root that is read-only or full costs time at each start, not the run
        write_whole(note, b"")


def _cache_key(manifest: Manifest, listings: Mapping[str, Listing]) -> str:
    # Sizes and times stand for the content: a file that changes makes another key.
    key = hashlib.sha256(manifest.checksum.encode())
    for listing in listings.values():
        for file in listing.files:
            stat = file.stat()
            key.update(f"{file}\t{stat.st_size}\t{stat.st_mtime_ns}\n".encode())
    return key.hexdigest()[:16]


def _load_cache(path: Path, key: str) -> Arrays | None:
    try:
        with np.load(path, allow_pickle=False) as stored:
            if stored["key"].item() != key:  # another data set's, moved here
                return None
            return {name: (stored[f"{name}_images"], stored[f"{name}_labels"]) for name in SPLITS}
    # Absent or damaged: decoded again. Damage shows as many kinds of exception, from a checksum that does not
    # fit to an unknown compression or an array too large for the memory.
    except Exception:
        return None


def _save_cache(path: Path, key: str, arrays: Arrays) -> None:
    flat: dict[str, npt.NDArray[np.generic]] = {"key": np.array(key)}
    for name, (images, labels) in arrays.items():
        flat |= {f"{name}_images": images, f"{name}_labels": labels}
    # A data root that is read-only or full costs time at each start, not the run.
    with suppress(OSError), whole(path) as file:
        np.savez(file, allow_pickle=False, **flat)
