"""JSON files that carry a checksum of their content: a digit that was changed shows."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pat.files.plain import read_json, read_regular


def canonical(content: Any) -> bytes:
    """JSON with sorted keys and no spaces: the same content gives the same bytes."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def digest(content: bytes) -> str:
    """SHA-256, 64 hex digits: the one checksum of records, checkpoints, weights and tables."""
    return hashlib.sha256(content).hexdigest()


def checksum(content: Any) -> str:
    """:func:`digest` of a JSON value; layout and the order of fields do not count."""
    return digest(canonical(content))


def tree_checksum(files: Iterable[Path], root: Path) -> str:
    """:func:`digest` over the names below ``root`` and the contents of files, in the order of their paths."""
    lines = (f"{file.relative_to(root).as_posix()} {digest(file.read_bytes())}\n" for file in sorted(files))
    return digest("".join(lines).encode())


def seal(content: dict[str, Any]) -> dict[str, Any]:
    """The content with its checksum, as the last field."""
    return {**content, "checksum": checksum(content)}


def unseal(file: Path) -> dict[str, Any]:
    """The content of a sealed file, its checksum left out.

    Raises:
        ValueError: if it is no regular file, no JSON object, or was changed.
        FileNotFoundError: if there is no such file.
    """
    return unsealed(read_regular(file))


def unsealed(text: str | bytes) -> dict[str, Any]:
    """The content of a sealed JSON text or its UTF-8, its checksum left out.

    Raises:
        ValueError: if it is no JSON object, or was changed.
    """
    content = read_json(text)
    if not isinstance(content, dict):
        raise ValueError("it is not a JSON object")
    if content.pop("checksum", None) != checksum(content):
        raise ValueError("its checksum does not fit its content")
    return content
