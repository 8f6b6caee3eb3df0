"""Images in class folders: finding, hashing and decoding them."""

import gzip
import hashlib
import io
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from pat.files.atomic import write_whole
from pat.files.errors import DataError, MissingDataError
from pat.training.data.manifest import Manifest

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP")
_MAX_PIXELS = 80_000_000
_LONGEST_LINE = 500
_MOST_NAMED = 20
LIST_DIGITS = 8


@dataclass(frozen=True)
class Listing:
    """The images of one folder of class folders, sorted by class and name."""

    folder: Path
    classes: tuple[str, ...]
    names: tuple[str, ...]
    """`class/file`, below the folder."""
    labels: npt.NDArray[np.int64]
    extras: tuple[str, ...]
    """Files that are no images, by name."""

    @cached_property
    def files(self) -> list[Path]:
        return [self.folder / name for name in self.names]


def list_images(folder: Path) -> Listing:
    """The images below `folder`, one class folder each class. Hidden files are passed over."""
    classes = sorted(p.name for p in folder.iterdir() if p.is_dir() and p.name[0] != ".")
    names: list[str] = []
    labels: list[int] = []
    extras: list[str] = []
    for label, name in enumerate(classes):
        for file in sorted(p for p in (folder / name).rglob("*") if p.is_file()):
            relative = file.relative_to(folder).as_posix()
            if file.suffix.lower() in SUFFIXES and not file.name.startswith("."):
                names.append(relative)
                labels.append(label)
            elif not file.name.startswith("."):
                extras.append(relative)
    return Listing(folder, tuple(classes), tuple(names), np.asarray(labels, np.int64), tuple(extras))


def group_listing(manifest: Manifest, name: str, root: Path) -> Listing:
    """The images of a group, if classes and count are the manifest's.

    Raises `MissingDataError` with the expected path, or `DataError` naming what differs.
    """
    group = manifest.groups[name]
    folder = manifest.location(root) / group.paths[0]
    if not folder.is_dir():
        raise missing(manifest, folder)
    listing = list_images(folder)
    if problem := class_problem(manifest, listing):
        raise DataError(problem)
    if len(listing.names) != group.count:
        known = expected_names(manifest, name)
        absent = sorted(set(known) - set(listing.names))
        hint = f"; missing is for instance {folder / absent[0]}" if absent else ""
        raise DataError(
            f"{folder} has {len(listing.names)} images, {group.count} expected{hint}; "
            f"`pat data verify {manifest.name}` tells more"
        )
    return listing


def class_problem(manifest: Manifest, listing: Listing) -> str | None:
    """What is wrong with the class folders, in words; None if nothing is."""
    if manifest.classes is not None and listing.classes != manifest.classes:
        wrong = sorted(set(manifest.classes) ^ set(listing.classes))
        return f"{listing.folder}: class folders differ from the manifest's: {', '.join(wrong[:5])}"
    if len(listing.classes) != manifest.num_classes:
        return f"{listing.folder}: {len(listing.classes)} class folders, {manifest.num_classes} expected"
    return None


def missing(manifest: Manifest, path: Path) -> MissingDataError:
    """The error for data that is not there."""
    return MissingDataError(
        f"dataset {manifest.name!r} not found: expected {path}. How to get it: "
        f"{' '.join(manifest.source.split())}"
    )


def decode(data: bytes, channels: int, source: Path) -> Image.Image:
    """The image in `data`, grey (1 channel) or RGB (3). Raises `DataError` naming `source`."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > _MAX_PIXELS:
                raise DataError(f"{source}: {image.width} x {image.height} pixels is no sane image")
            return image.convert("L" if channels == 1 else "RGB")
    except DataError:
        raise
    # Pillow's decoders raise many kinds of exception on damaged files.
    except Exception as error:
        raise DataError(f"{source} is no readable image: {error}") from None


def fitted(image: Image.Image, resize: int, size: int) -> Image.Image:
    """The shorter side brought to `resize` (area average going down, bicubic going up), then
    the centre square of `size`."""
    scale = resize / min(image.size)
    if scale != 1:
        shape = tuple(max(resize, round(side * scale)) for side in image.size)
        method = Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC
        image = image.resize((shape[0], shape[1]), method)
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return image.crop((left, top, left + size, top + size))


def to_array(image: Image.Image) -> npt.NDArray[np.uint8]:
    """uint8 [C, H, W]."""
    pixels = np.asarray(image, np.uint8)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def decode_all(files: Iterable[Path], channels: int, resize: int, size: int) -> npt.NDArray[np.uint8]:
    """uint8 [N, C, size, size] of every file. Raises `DataError` naming and counting the bad ones."""

    def one(file: Path) -> npt.NDArray[np.uint8] | str:
        try:
            return to_array(fitted(decode(read(file), channels, file), resize, size))
        except DataError as error:
            return str(error)

    with ThreadPoolExecutor() as pool:
        made = list(pool.map(one, files))
    refuse([text for text in made if isinstance(text, str)])
    return np.stack([image for image in made if not isinstance(image, str)])


def check_all(files: Iterable[Path], channels: int) -> None:
    """Decodes every file and keeps none. Raises `DataError` naming and counting the bad ones."""

    def one(file: Path) -> str | None:
        try:
            decode(read(file), channels, file)
        except DataError as error:
            return str(error)
        return None

    with ThreadPoolExecutor() as pool:
        refuse([text for text in pool.map(one, files) if text is not None])


def refuse(bad: Sequence[str]) -> None:
    """The error for images that do not decode, a message each; nothing if there is none."""
    if bad:
        more = f" (and {len(bad) - _MOST_NAMED} more)" if len(bad) > _MOST_NAMED else ""
        raise DataError(f"{len(bad)} image(s) do not decode: " + "; ".join(bad[:_MOST_NAMED]) + more)


def read(file: Path) -> bytes:
    """The file's content; `DataError` naming it where it cannot be read."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}") from None


def hash_all(files: Iterable[Path]) -> list[str]:
    """SHA-256 of each file."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda file: hashlib.sha256(read(file)).hexdigest(), files))


def list_digest(hashes: Mapping[str, str]) -> str:
    """SHA-256 over the sorted (name, SHA-256) pairs, one `name<TAB>hash` a line."""
    lines = "".join(f"{name}\t{value}\n" for name, value in sorted(hashes.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def write_list(path: Path, hashes: Mapping[str, str]) -> None:
    """A file list: the first digits of each file's SHA-256, enough to name the one that a
    group's digest says is wrong, in a file small enough to keep under version control."""
    lines = "".join(f"{value[:LIST_DIGITS]}  {name}\n" for name, value in sorted(hashes.items()))
    write_whole(path, gzip.compress(lines.encode(), mtime=0))


def expected_names(manifest: Manifest, group: str) -> dict[str, str]:
    """First digits of the SHA-256 by name, for a group's files; empty without a file list."""
    if manifest.list_path is None:
        return {}
    try:
        # As long as its images' names could make it, so that a small file cannot fill the memory.
        longest = 1_000_000 + _LONGEST_LINE * sum(part.count for part in manifest.groups.values())
        with gzip.open(manifest.list_path) as file:
            data = file.read(longest + 1)
        if len(data) > longest:
            raise ValueError(f"it has more than {longest:,} bytes unpacked")
        text = data.decode()
        pairs = [line.split("  ", 1) for line in text.splitlines()]
        prefix = manifest.groups[group].paths[0] + "/"
        return {name.removeprefix(prefix): value for value, name in pairs if name.startswith(prefix)}
    except (OSError, EOFError, ValueError, gzip.zlib.error) as error:  # type: ignore[attr-defined]
        raise DataError(f"file list {manifest.list_path} cannot be read: {error}") from None
