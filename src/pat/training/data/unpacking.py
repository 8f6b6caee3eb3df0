"""Archives that a manifest names, unpacked below the data root: whole or not at all, and nowhere else."""

import bz2
import gzip
import hashlib
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

from pat.files.atomic import staging
from pat.files.errors import DataError, MissingDataError
from pat.training.data.manifest import Manifest, inside

_IMAGE_BYTES = 4_000_000  # what an image may take on the average; ImageNet's take a tenth of a megabyte
_SPARE_BYTES = 100_000_000
_SPARE_MEMBERS = 10_000
_BLOCK = 1 << 20
_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError,
           ValueError, LookupError, ArithmeticError, NotImplementedError, RuntimeError)  # fmt: skip


class _Member(NamedTuple):
    name: str
    size: int
    folder: bool
    oddity: str | None
    """Why it is no file and no folder."""
    data: Any
    """Opens its content."""


def unpack(manifest: Manifest, root: Path) -> Path:
    """Unpack the archives of a manifest that lie in the data root into the manifest's folder; returns it.

    Each archive must have the manifest's checksum. Of its members only files and folders are accepted, and
    only below the manifest's folder; links, devices, absolute paths and paths with ``..`` are refused by
    name, and so are sizes and numbers of files far above what the manifest's images could need. The folder
    appears once everything is in it; an existing one is left alone.

    Raises:
        MissingDataError: if no archive is there.
        DataError: naming the archive, and the member where there is one.
        OSError: if a file cannot be written.
    """
    target = manifest.location(root)
    if not manifest.archives:
        raise DataError(f"dataset {manifest.name!r} has no archives")
    if target.resolve() == root.resolve():
        raise DataError(f"dataset {manifest.name!r} has no folder of its own to be unpacked into")
    if target.exists() or target.is_symlink():
        raise DataError(f"{target} is there already; move it away to unpack anew")
    archives = [root / name for name in manifest.archives if (root / name).is_file()]
    if not archives:
        names = " or ".join(str(root / name) for name in manifest.archives)
        raise MissingDataError(f"no {names}. How to get it: {' '.join(manifest.source.split())}")
    for archive in archives:
        if problem := archive_problem(manifest, archive):
            raise DataError(problem)
    with staging(root, "pat-unpacking") as made_in:
        for archive in archives:
            _extract(manifest, archive, made_in)
        made = manifest.location(made_in)
        if not made.is_dir():
            raise DataError(f"{archives[0]} holds nothing in {made.name}")
        target.parent.mkdir(parents=True, exist_ok=True)
        made.rename(target)
    return target


def archive_problem(manifest: Manifest, archive: Path) -> str | None:
    """In what an archive's checksum differs from the manifest's, in words; None if it fits."""
    algorithm, _, value = manifest.archives[archive.name].partition(":")
    with archive.open("rb") as stream:
        found = hashlib.file_digest(stream, algorithm).hexdigest()
    return None if found == value else f"{archive}: its {algorithm} is {found}, {value} expected"


def _extract(manifest: Manifest, archive: Path, place: Path) -> None:
    images = sum(group.count for group in manifest.groups.values())
    room, places = _SPARE_BYTES + images * _IMAGE_BYTES, _SPARE_MEMBERS + 2 * images
    within = PurePosixPath(manifest.folder or manifest.name)
    seen: set[PurePosixPath] = set()
    try:
        with _members(archive, room) as members:
            for member in members:
                path = _checked(archive, member, within)
                room, places = room - member.size, places - 1
                if room < 0:
                    raise DataError(
                        f"{archive}: {member.name!r}: its files are larger than {images:,} images could be"
                    )
                if places < 0:
                    raise DataError(f"{archive}: it has far more files than the manifest's {images:,} images")
                if member.folder:
                    (place / path).mkdir(parents=True, exist_ok=True)
                    continue
                if path in seen:
                    raise DataError(f"{archive}: {member.name!r} is there twice")
                seen.add(path)
                (place / path).parent.mkdir(parents=True, exist_ok=True)
                with closing(member.data()) as source, (place / path).open("xb") as file:
                    shutil.copyfileobj(source, file, _BLOCK)
    except DataError:
        raise
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise DataError(f"{archive}: {member.name!r} is a file and a folder") from None
    except _DAMAGE as error:
        raise DataError(f"{archive} cannot be unpacked: {error}") from None


def _checked(archive: Path, member: _Member, within: PurePosixPath) -> PurePosixPath:
    """A member's place, if it is one that the data may have."""
    name = member.name.rstrip("/")
    if member.oddity is not None:
        raise DataError(f"{archive}: {member.name!r} is {member.oddity}: only files and folders are unpacked")
    try:
        path = PurePosixPath(inside(name))
    except ValueError:
        raise DataError(f"{archive}: {member.name!r} leads out of the data root") from None
    if not (path.is_relative_to(within) or (member.folder and within.is_relative_to(path))):
        raise DataError(f"{archive}: {member.name!r} does not lie in the manifest's folder, {within}")
    return path


@contextmanager
def _members(archive: Path, room: int) -> Iterator[Iterator[_Member]]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            yield _zipped(opened)
        return
    with archive.open("rb") as file:
        start = file.read(6)
    kinds: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}
    opener = next((kind for magic, kind in kinds.items() if start.startswith(magic)), Path.open)
    with opener(archive, "rb") as stream:
        # Padding and headers of members come to the room of the files, by far not as much again.
        limited: Any = _Limited(stream, 2 * room)
        with tarfile.open(fileobj=limited, mode="r:") as tar:
            yield _tarred(tar)


class _Limited:
    """A stream that ends with an error where it is read further than what it should hold, or in one piece too
    large for the memory: headers may ask for any length."""

    def __init__(self, stream: IO[bytes], limit: int) -> None:
        self._stream, self._limit = stream, limit

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _BLOCK:
            raise ValueError(f"a header of {size:,} bytes")
        self._check(self._stream.tell() + size)
        return self._stream.read(size)

    def seek(self, position: int, whence: int = 0) -> int:
        if whence != 0:
            raise ValueError("a position that does not count from the start")
        self._check(position)
        return self._stream.seek(position)

    def tell(self) -> int:
        return self._stream.tell()

    def _check(self, position: int) -> None:
        if position > self._limit:
            raise ValueError(f"it has more than {self._limit:,} bytes unpacked")


def _tarred(tar: tarfile.TarFile) -> Iterator[_Member]:
    for member in tar:
        kinds = {
            "a link": member.issym() or member.islnk(),
            "a device": member.isdev(),
            "a sparse file": member.issparse(),
            "of an unknown kind": not (member.isreg() or member.isdir()),
        }
        oddity = next((kind for kind, is_so in kinds.items() if is_so), None)
        yield _Member(
            member.name, member.size, member.isdir(), oddity, lambda member=member: tar.extractfile(member)
        )


def _zipped(opened: zipfile.ZipFile) -> Iterator[_Member]:
    for info in opened.infolist():
        mode = info.external_attr >> 16
        kinds = {
            "a link": stat.S_ISLNK(mode),
            "of an unknown kind": stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR),
            "encrypted": bool(info.flag_bits & 1),
        }
        oddity = next((kind for kind, is_so in kinds.items() if is_so), None)
        yield _Member(
            info.filename, info.file_size, info.is_dir(), oddity, lambda info=info: opened.open(info)
        )
