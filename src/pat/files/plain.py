"""Files that anybody may have written: read as data, and a clear error for whatever else is in them."""

import json
import re
import reprlib
from pathlib import Path
from typing import Any

_HALF = re.compile(r"\\u[dD][89a-fA-F]")
_LONGEST = 200  # characters of a foreign value in a message

_short = reprlib.Repr()
_short.maxlevel, _short.maxlist, _short.maxtuple, _short.maxdict = 4, 12, 12, 8
_short.maxstring = _short.maxother = _short.maxlong = _LONGEST


def read_regular(path: Path) -> bytes:
    """A file's content.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: for a folder, a pipe or a device, which would be read for ever.
        OSError: if it cannot be read.
    """
    if not path.is_file() and path.exists():
        raise ValueError("it is no regular file")
    return path.read_bytes()


def read_json(content: str | bytes, *, strict: bool = True) -> Any:
    """The value in a JSON text.

    Two readers may take different ones of two fields of the same name, so a text with such is refused, and so
    is a nesting that no reader of this package could follow.

    Args:
        content: text, or its UTF-8.
        strict: refuse ``NaN`` and ``Infinity``, which are no JSON, and halves of characters, which cannot be
            written again.

    Raises:
        ValueError: saying what is wrong.
    """
    text = content if isinstance(content, str) else content.decode("utf-8")
    try:
        found = json.loads(text, object_pairs_hook=_once, parse_constant=_not_finite if strict else float)
        if strict and _HALF.search(text):  # seldom; most of them are one of two halves
            json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("it has half a character") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the field {shown(twice)} is there twice")
    return content


def _not_finite(token: str) -> None:
    raise ValueError(f"{token} is no JSON number")


def shown(value: object) -> str:
    """A value for a message: short, and never an error of its own (numbers of 5,000 digits have no text)."""
    try:
        text = _short.repr(value)
    except (ValueError, RecursionError, OverflowError):
        return f"a {type(value).__name__} that is too large to show"
    return text if len(text) <= 2 * _LONGEST else f"{text[: 2 * _LONGEST]}..."


def printable(text: str) -> str:
    """A text without characters that would steer the terminal: those are written as escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text)
