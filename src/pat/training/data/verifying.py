"""Whether the data on disk is the manifest's, file by file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pat.files.errors import DataError
from pat.training.data.layouts import cifar, embedded
from pat.training.data.layouts.imagefolder import (
    LIST_DIGITS,
    class_problem,
    decode,
    expected_names,
    hash_all,
    list_digest,
    list_images,
    missing,
    read,
)
from pat.training.data.manifest import Manifest
from pat.training.data.unpacking import archive_problem


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with the data."""

    path: Path
    kind: Literal["missing", "damaged", "changed", "count", "extra"]
    message: str

    def __str__(self) -> str:
        return self.message


def verify(manifest: Manifest, root: Path) -> list[Problem]:
    """Every problem of the data below `root`; an empty list if it is the manifest's."""
    check = {"embedded": _generated, "cifar-binary": _binary, "imagefolder": _folder}
    problems = _archives(manifest, root)
    for name in manifest.groups:
        problems += check[manifest.layout](manifest, name, root)
    return problems


def _archives(manifest: Manifest, root: Path) -> list[Problem]:
    files = [file for name in manifest.archives if (file := root / name).is_file()]
    return [Problem(file, "changed", text) for file in files if (text := archive_problem(manifest, file))]


def _generated(manifest: Manifest, name: str, root: Path) -> list[Problem]:
    group = manifest.groups[name]
    images, labels = embedded.make(manifest)[name]
    where = Path(f"{manifest.name}/{name}")
    if len(images) != group.count:
        return [Problem(where, "count", f"{where}: {len(images)} images, {group.count} expected")]
    if group.digest not in (None, embedded.arrays_digest(images, labels)):
        return [Problem(where, "changed", f"{where}: the generated images differ")]
    return []


def _binary(manifest: Manifest, name: str, root: Path) -> list[Problem]:
    group = manifest.groups[name]
    problems: list[Problem] = []
    count = 0
    for path in group.paths:
        file = manifest.location(root) / path
        if not file.is_file():
            problems.append(Problem(file, "missing", str(missing(manifest, file))))
            continue
        try:
            count += len(cifar.read_records(file, manifest.num_classes)[1])
        except DataError as error:
            problems.append(Problem(file, "damaged", str(error)))
    if not problems and count != group.count:
        folder = manifest.location(root)
        text = f"{folder}: group {name!r} has {count} images, {group.count} expected"
        problems.append(Problem(folder, "count", text))
    return problems


def _folder(manifest: Manifest, name: str, root: Path) -> list[Problem]:
    group = manifest.groups[name]
    folder = manifest.location(root) / group.paths[0]
    if not folder.is_dir():
        return [Problem(folder, "missing", str(missing(manifest, folder)))]
    listing = list_images(folder)
    problems: list[Problem] = []

    def report(kind: Literal["missing", "changed", "extra"], names: set[str], text: str) -> None:
        for item in sorted(names):
            problems.append(Problem(folder / item, kind, f"{folder / item} {text}"))

    if text := class_problem(manifest, listing):
        problems.append(Problem(folder, "count", text))
    known = expected_names(manifest, name)
    report("extra", set(listing.extras), "is no image")
    if known:
        report("missing", set(known) - set(listing.names), "is missing")
        report("extra", set(listing.names) - set(known), "is not in the manifest's list")
    if len(listing.names) != group.count:
        text = f"{folder}: {len(listing.names)} images, {group.count} expected"
        problems.append(Problem(folder, "count", text))
    hashes = dict(zip(listing.names, hash_all(listing.files), strict=True))
    if group.digest is not None and list_digest(hashes) == group.digest:
        return problems
    differs = {
        item for item, value in hashes.items() if known.get(item, value[:LIST_DIGITS]) != value[:LIST_DIGITS]
    }
    # Without a list nothing tells a changed image from a good one, but every one must decode.
    damaged = _undecodable(manifest, folder, differs if known else set(hashes))
    problems += damaged
    report("changed", differs - {p.path.relative_to(folder).as_posix() for p in damaged},
           "differs from the manifest's checksum")  # fmt: skip
    if group.digest is not None and not problems:
        problems.append(Problem(folder, "changed", f"{folder}: the digest of the files differs"))
    return problems


def _undecodable(manifest: Manifest, folder: Path, names: set[str]) -> list[Problem]:
    problems = []
    for name in sorted(names):
        file = folder / name
        try:
            decode(read(file), manifest.in_channels, file)
        except DataError as error:
            problems.append(Problem(file, "damaged", str(error)))
    return problems
