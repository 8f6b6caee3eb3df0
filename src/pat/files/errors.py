"""What can be wrong with data, told before any training."""

from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import ValidationError

from pat.files.plain import printable, shown

_MOST_PROBLEMS = 20


class DataError(ValueError):
    """Data or a manifest is not what it should be; the message names the file."""


class MissingDataError(DataError, FileNotFoundError):
    """Data is not where it was expected; the message says where, and how to get it."""


def explain(error: ValidationError) -> str:
    """A validation error in one line: each field, what was given, what was expected."""
    lines = []
    problems = error.errors(include_url=False)
    for problem in problems[:_MOST_PROBLEMS]:
        place = printable(".".join(str(part) for part in problem["loc"]))
        message = problem["msg"].removeprefix("Value error, ")
        given = "" if isinstance(problem["input"], dict) else f" (got {shown(problem['input'])})"
        lines.append(f"{place}: {message}{given}" if place else message)
    if more := len(problems) - len(lines):
        lines.append(f"and {more} more")
    return "; ".join(lines)


@contextmanager
def naming(what: str, kind: type[ValueError] = ValueError, *, storage: bool = False) -> Iterator[None]:
    """Let errors of the block that reads and checks something say what it was.

    Args:
        what: begins the message, ``record X is damaged``.
        kind: of the error that is raised.
        storage: whether a file that is not there, or cannot be read, is such an error too.
    """
    try:
        yield
    except ValidationError as error:
        raise kind(f"{what}: {explain(error)}") from None
    except (ValueError, RecursionError) as error:
        raise kind(f"{what}: {error}") from None
    except OSError as error:
        if not storage:
            raise
        raise kind(f"{what}: {error}") from None
