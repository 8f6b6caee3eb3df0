"""Where measurements of a machine lie: in a store, working or published, beside the records.

``<root>/measured/latency/<profile>/`` has a latency table for each machine and network,
``<root>/measured/speed/<profile>/`` a file of step times for each machine.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

FOLDER = "measured"


def latency_folder(root: Path, profile: str) -> Path:
    """Latency tables of a profile."""
    return root / FOLDER / "latency" / profile


def speed_folder(root: Path, profile: str) -> Path:
    """Step times of a profile."""
    return root / FOLDER / "speed" / profile


def profiles(root: Path) -> list[str]:
    """The profiles that a store has measurements of, sorted."""
    return sorted({folder.name for folder in (root / FOLDER).glob("*/*") if folder.is_dir()})


def slug(name: str) -> str:
    """A name of hardware as part of a file's: lower case, words joined by hyphens."""
    return re.sub("[^a-z0-9]+", "-", name.lower()).strip("-") or "unknown"


def files(folder: Path) -> list[Path]:
    """The measurements in a folder, in the order of their names; none if there is no such folder."""
    return sorted(folder.glob("*.json"))


@contextmanager
def alone(file: Path) -> Iterator[None]:
    """Only one process measures what goes into a file; two at a time would also slow each other down."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_suffix(".lock")):
        yield
