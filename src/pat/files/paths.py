"""Where things lie: the one module that knows folders.

Relative defaults are relative to the working directory, so that an installed `pat` keeps its
runs beside the user's work and not inside the package.
"""

import argparse
import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
"""The package's own source."""

DATA = Path("data")
"""Default root of the data sets on disk."""

STORE = Path("runs")
"""Default working store of runs."""

RESULTS = Path("results")
"""Published records, one file a run."""


_LONGEST_NAME = 255  # bytes; of every file system in use
_LONGEST_PATH = 4095


def usable(path: str | Path) -> Path:
    """A path as somebody gave it, if a file system can have one of that name.

    Raises:
        ValueError: for a NUL character, one that is no text, or a name or path that is too long.
    """
    text = os.fspath(path)
    shown = ascii(text if len(text) < 60 else f"{text[:57]}...")
    try:
        raw = os.fsencode(text)
    except UnicodeEncodeError:
        raise ValueError(f"path {shown}: it has a character that no name of a file can have") from None
    if b"\0" in raw:
        raise ValueError(f"path {shown}: it has a NUL character, which no name of a file can have")
    longest = max(map(len, raw.split(b"/")))
    if longest > _LONGEST_NAME:
        raise ValueError(f"path {shown}: a name in it has {longest} bytes, expected at most {_LONGEST_NAME}")
    if len(raw) > _LONGEST_PATH:
        raise ValueError(f"path {shown}: it has {len(raw)} bytes, expected at most {_LONGEST_PATH}")
    return Path(text)


def argument(text: str) -> Path:
    """:func:`usable` for argparse, which shows the message of no other error."""
    try:
        return usable(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def repo_root() -> Path | None:
    """The source checkout that this package runs from, or None for an installed wheel."""
    root = PACKAGE.parent.parent
    return root if (root / "pyproject.toml").is_file() and root / "src" == PACKAGE.parent else None


def _manifests() -> Path:
    root = repo_root()
    return (PACKAGE if root is None else root) / "data_manifests"


MANIFESTS = _manifests()
"""The manifests that come with the package."""

PROFILES = PACKAGE / "study" / "plan" / "profiles"
"""The profiles that come with the package."""

# Notebooks and book belong to the checkout; an installed wheel looks in the working directory.
NOTEBOOKS = (repo_root() or Path.cwd()) / "notebooks"
"""The notebooks' sources and parameters."""

BOOK = (repo_root() or Path.cwd()) / "book"
"""The book's sources."""
