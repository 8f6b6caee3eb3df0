"""Files that appear whole or not at all."""

import errno
import os
from contextlib import suppress
from pathlib import Path

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
    if isinstance(error, CannotWrite):
        what = str(error)
    elif error.filename is None:
        what = f"cannot write: {error.strerror}"
    else:
        what = f"{error.filename}: {error.strerror}"
    again = "there is room" if error.errno in _NO_ROOM else "that is allowed"
    return f"{what}; all that was finished is kept, the same command goes on once {again}"


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that a reader finds the old content or the new, never a part.

    Raises:
        CannotWrite: naming the file, if it cannot be written; the old content is still there.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise CannotWrite(error.errno, f"cannot write {path}: {error.strerror}") from error
