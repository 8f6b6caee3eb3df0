"""Files that appear whole or not at all."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_RIGHT = {errno.EROFS, errno.EACCES, errno.EPERM}


class CannotWrite(OSError):
    """A file cannot be written; the message names it, and what was there before still is."""

    def __str__(self) -> str:
        return str(self.strerror)


def storage_problem(error: BaseException) -> str | None:
    """What a storage that is full or may not be written to means for the user, in one line: which path, and
    that nothing that was finished is lost; None for any other error."""
    if not isinstance(error, OSError) or error.errno not in _NO_ROOM | _NO_RIGHT:
        return None
    if error.errno in (errno.EACCES, errno.EPERM) and not isinstance(error, CannotWrite):
        return None  # of one file, perhaps only to be read: it says nothing of the storage
    if isinstance(error, CannotWrite):
        what = str(error)
    elif error.filename is None:
        what = f"cannot write: {error.strerror}"
    else:
        what = f"{error.filename}: {error.strerror}"
    again = "there is room" if error.errno in _NO_ROOM else "that is allowed"
    return f"{what}; all that was finished is kept, the same command goes on once {again}"


@contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """A file to write into, put in its place when the block ends: a reader finds the old content or the new,
    never a part. What killed processes left of the same file is removed. One writer of a file at a time in a
    process.

    Raises:
        CannotWrite: naming the file, if it cannot be written; the old content is still there.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(OSError):  # a folder that cannot be listed can be written to
            _remove_remains(path)
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException as error:
        with suppress(OSError):
            part.unlink()
        if isinstance(error, OSError):
            raise CannotWrite(error.errno, f"cannot write {path}: {error.strerror}") from error
        raise


def write_whole(path: Path, content: bytes) -> None:
    """Write a file as :func:`whole` does."""
    with whole(path) as file:
        file.write(content)


@contextmanager
def staging(parent: Path, name: str) -> Iterator[Path]:
    """A hidden folder to make something in, removed when the block ends; so are those of killed processes.

    Args:
        parent: folder that it lies in, so that what is made can be moved to its place in one step.
        name: of what is made.
    """
    begin = f".{name}-"
    for old in parent.glob(f"{begin}*-*"):
        process = old.name.removeprefix(begin).partition("-")[0]
        if process.isdecimal() and not _lives(int(process)):
            shutil.rmtree(old, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=parent, prefix=f"{begin}{os.getpid()}-") as folder:
        yield Path(folder)


def _remove_remains(path: Path) -> None:
    """Remove the unfinished forms of a file whose writers are dead.

    A writer on another machine looks dead too: without its part, its write fails, and nothing worse.
    """
    begin, end = f".{path.name}.", ".part"
    for name in os.listdir(path.parent):  # faster than a glob: there may be thousands of records
        writer = name[len(begin) : -len(end)]
        if name == f"{begin}{writer}{end}" and writer.isdecimal() and not _lives(int(writer)):
            path.with_name(name).unlink(missing_ok=True)


def _lives(process: int) -> bool:
    """Whether a process of that number runs on this machine."""
    if os.name != "posix":  # elsewhere signal 0 is not harmless
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # another user's; a number that is no process's
        return True
    return True
