"""A manifest for any folder of images."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml
from PIL import Image

from pat.files.atomic import write_whole
from pat.files.errors import DataError, MissingDataError
from pat.training.data.division import divide
from pat.training.data.layouts.imagefolder import (
    FORMATS,
    Listing,
    decode,
    fitted,
    hash_all,
    list_digest,
    list_images,
    read,
    refuse,
    to_array,
    write_list,
)
from pat.training.data.manifest import NAME, SPLITS, Manifest, SplitName, list_manifests, load_manifest

_VALIDATION = ("validation", "val", "valid")
_IN_MEMORY_BYTES = 1_000_000_000


def add_folder(
    folder: Path,
    name: str,
    out_dir: Path,
    *,
    image_size: int | None = None,
    in_memory: bool | None = None,
    split_seed: int = 0,
) -> Path:
    """Writes `<out_dir>/<name>.yaml` (and its file list) for `folder`; returns the path.

    `folder` has train/ with class folders and val/ or test/ or both, or class folders directly,
    which are then divided 80 : 10 : 10 by `split_seed`. With one held-out folder that is the
    test split, and a tenth of train becomes validation. `image_size`: the images' median
    shorter side, at most 224, by default. `in_memory`: by default if they fit in 1 GB.
    The data root to use with the manifest is `folder`'s parent.
    Raises `DataError` naming every image that does not decode, or a class without training images.
    """
    folder, out_dir = Path(folder).resolve(), Path(out_dir)
    if not folder.is_dir():
        raise MissingDataError(f"no folder {folder}")
    if not re.fullmatch(NAME, name):
        raise DataError(f"{name!r} is no name for a dataset: expected {NAME}")
    target = out_dir / f"{name}.yaml"
    if name in list_manifests() or target.exists():
        raise DataError(f"a dataset named {name!r} exists already")
    groups, splits = _arrangement(folder)
    classes = _classes(groups)
    if len(classes) < 2:
        raise DataError(f"{folder} has one class folder, {classes[0]!r}; at least 2 are needed")
    sizes, grey = _survey(groups)
    size = image_size or min(224, int(np.median(sizes)))
    channels = 1 if grey else 3
    total = sum(len(listing.names) for listing in groups.values())
    hashes = {
        group: dict(zip(listing.names, hash_all(listing.files), strict=True))
        for group, listing in groups.items()
    }
    train = groups[splits["train"]["group"]]
    if splits["train"]["count"] < 1:
        raise DataError(f"{folder} has too few images: of {len(train.names)}, none is left to train on")
    chosen = divide(train.labels, _counts(splits, splits["train"]["group"]), split_seed)["train"]
    if untrained := sorted(set(range(len(classes))) - set(train.labels[chosen].tolist())):
        raise DataError(f"{folder} has no image of the class {classes[untrained[0]]!r} to train on")
    mean, std = _moments([train.files[i] for i in chosen], channels, size)
    content: dict[str, Any] = {
        "name": name,
        "title": folder.name,
        "source": f"a local folder named {folder.name}, to lie below the data root",
        "licence": "unknown",
        "citation": "none",
        "layout": "imagefolder",
        "folder": folder.name,
        "image_size": size,
        "in_channels": channels,
        "num_classes": len(classes),
        "classes": list(classes),
        "mean": mean,
        "std": std,
        "in_memory": total * channels * size**2 <= _IN_MEMORY_BYTES if in_memory is None else in_memory,
        "file_list": f"{name}.files.gz",
        "split_seed": split_seed,
        "groups": {
            group: {
                "count": len(listing.names),
                "paths": [listing.folder.relative_to(folder).as_posix()],
                "digest": list_digest(hashes[group]),
            }
            for group, listing in groups.items()
        },
        "splits": splits,
    }
    try:
        Manifest.model_validate(content)
    except ValueError as error:
        raise DataError(f"{folder} makes no valid manifest: {error}") from None
    out_dir.mkdir(parents=True, exist_ok=True)
    prefixed = {
        f"{groups[group].folder.relative_to(folder).as_posix()}/{item}": value
        for group, values in hashes.items()
        for item, value in values.items()
    }
    write_list(out_dir / f"{name}.files.gz", prefixed)
    write_whole(target, yaml.safe_dump(content, sort_keys=False, width=100).encode())
    load_manifest(target)
    return target


def _arrangement(folder: Path) -> tuple[dict[str, Listing], dict[SplitName, dict[str, Any]]]:
    """Groups on disk and the splits made from them."""
    validation = next((folder / name for name in _VALIDATION if (folder / name).is_dir()), None)
    test = folder / "test" if (folder / "test").is_dir() else None
    if not (folder / "train").is_dir():
        if validation or test:
            raise DataError(f"{folder} has held-out folders but no train/")
        listing = list_images(folder)
        held_out = max(len(listing.classes), len(listing.names) // 10)
        rest = len(listing.names) - 2 * held_out
        counts: dict[SplitName, int] = {"train": rest, "validation": held_out, "test": held_out}
        return _not_empty({"all": listing}), {
            name: {"group": "all", "count": count} for name, count in counts.items()
        }
    if validation is None and test is None:
        raise DataError(f"{folder} has train/ but neither val/ nor test/")
    groups = {"train": list_images(folder / "train")}
    if validation is not None and test is not None:
        groups |= {"validation": list_images(validation), "test": list_images(test)}
        return _not_empty(groups), {
            name: {"group": name, "count": len(groups[name].names)} for name in SPLITS
        }
    groups["test"] = list_images(test or validation or folder)
    count = len(groups["train"].names)
    held_out = max(len(groups["train"].classes), count // 10)
    return _not_empty(groups), {
        "train": {"group": "train", "count": count - held_out},
        "validation": {"group": "train", "count": held_out},
        "test": {"group": "test", "count": len(groups["test"].names)},
    }


def _not_empty(groups: dict[str, Listing]) -> dict[str, Listing]:
    for listing in groups.values():
        if len(listing.names) == 0:
            raise DataError(f"{listing.folder} has no images in class folders")
    return groups


def _classes(groups: dict[str, Listing]) -> tuple[str, ...]:
    classes = {listing.classes for listing in groups.values()}
    if len(classes) > 1:
        raise DataError(
            "the splits have different class folders: "
            + "; ".join(f"{g.folder.name}: {', '.join(g.classes)}" for g in groups.values())
        )
    return classes.pop()


def _counts(splits: dict[SplitName, dict[str, Any]], group: str) -> dict[SplitName, int]:
    return {name: part["count"] for name, part in splits.items() if part["group"] == group}


def _survey(groups: dict[str, Listing]) -> tuple[list[int], bool]:
    """Shorter sides, and whether every image is grey; an error naming what does not decode."""
    sizes, grey, bad = [], True, []
    for file in (file for listing in groups.values() for file in listing.files):
        try:
            data = read(file)
            sizes.append(min(decode(data, 3, file).size))
            grey = grey and _is_grey(file)
        except DataError as error:
            bad.append(str(error))
    refuse(bad)
    return sizes, grey


def _is_grey(file: Path) -> bool:
    with Image.open(file, formats=FORMATS) as image:
        return image.mode in ("1", "L", "LA", "I;16")


def _moments(files: list[Path], channels: int, size: int) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel, pixels in [0, 1]."""
    total: npt.NDArray[np.float64] = np.zeros(channels)
    squares: npt.NDArray[np.float64] = np.zeros(channels)
    for file in files:
        pixels = to_array(fitted(decode(read(file), channels, file), size, size)) / 255
        total += pixels.mean((1, 2))
        squares += (pixels**2).mean((1, 2))
    mean = total / len(files)
    std = np.sqrt(np.maximum(squares / len(files) - mean**2, 1e-8))
    return [round(float(x), 4) for x in mean], [round(max(float(x), 1e-4), 4) for x in std]
