"""Where measurements of a machine lie: in a store, working or published, beside the records.

``<root>/measured/latency/<profile>/`` has a latency table for each machine and network,
``<root>/measured/speed/<profile>/`` a file of step times for each machine.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from pat.files.errors import naming
from pat.files.plain import read_regular
from pat.latency.table import LatencyTable

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


class MissingTable(ValueError):
    """A latency table is not where it should be."""


def read_table(file: Path) -> LatencyTable:
    """A table from its file.

    Raises:
        ValueError: if it is no table or was changed, naming the file.
    """
    with naming(str(file)):
        return LatencyTable.from_json(read_regular(file).decode("utf-8"))


def find_table(root: Path, profile: str, checksum: str) -> LatencyTable:
    """The table that a run was specified with.

    Args:
        root: of the store.
        profile: the run's.
        checksum: as the run's spec has it.

    Raises:
        MissingTable: if no table there has that checksum.
    """
    folder = latency_folder(root, profile)
    for file in files(folder):
        table = read_table(file)
        if table.checksum == checksum:
            return table
    raise MissingTable(f"no latency table with checksum {checksum[:12]} in {folder}")


@contextmanager
def alone(file: Path) -> Iterator[None]:
    """Only one process measures what goes into a file; two at a time would also slow each other down."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_suffix(".lock")):
        yield
