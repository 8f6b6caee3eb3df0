"""Stores: where runs are kept while they are made (``runs/``) and once they are published (``results/``)."""

import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from pat import checkpoint
from pat.study.record import DamagedRecord, Record, read_record, write_record
from pat.study.spec import Spec

INDEX = "runs.csv"
"""The table that every published store has, and by which it is known."""


class Store:
    """Working store: one folder a run, named by the spec's id.

    ``record.json`` is written last; ``epochs/NNNN.ckpt`` is the state after NNNN epochs;
    ``scores.ckpt`` has the dense epochs' scores; ``model.safetensors`` the final weights.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        if root.exists() and not root.is_dir():
            raise ValueError(f"store {root} is not a folder")

    trains = True

    def folder(self, spec: Spec) -> Path:
        return self.root / spec.id

    def record(self, spec: Spec) -> Record | None:
        """The run's record, or None if it has none; a damaged one is set aside and named on stderr."""
        return self._read(self.folder(spec) / "record.json")

    def records(self) -> list[Record]:
        """All records, in the order of their ids; damaged ones are set aside and named on stderr."""
        found = [self._read(file) for file in sorted(self.root.glob("*/record.json"))]
        return [record for record in found if record is not None]

    def _read(self, file: Path) -> Record | None:
        try:
            return read_record(file)
        except FileNotFoundError:
            return None
        except DamagedRecord as error:
            set_aside(file, str(error))
            return None

    def write(self, record: Record) -> None:
        write_record(self.folder(record.spec) / "record.json", record)

    def checkpoint_path(self, spec: Spec, epochs: int) -> Path:
        """Where the state after so many epochs is kept."""
        return self.folder(spec) / "epochs" / f"{epochs:04d}.ckpt"

    def checkpoints(self, spec: Spec) -> list[int]:
        """After how many epochs there are checkpoints, ascending (whole or not)."""
        return sorted(int(file.stem) for file in (self.folder(spec) / "epochs").glob("[0-9]*.ckpt"))

    def load_checkpoint(self, spec: Spec, epochs: int) -> object | None:
        """A checkpoint's content, or None if it is missing; a damaged one is set aside and named."""
        path = self.checkpoint_path(spec, epochs)
        try:
            state: object = checkpoint.load(path)
            return state
        except FileNotFoundError:
            return None
        except checkpoint.DamagedCheckpoint as error:
            set_aside(path, str(error))
            return None

    @contextmanager
    def lock(self, spec: Spec) -> Iterator[None]:
        """Only one process trains a run; the lock goes with the process that holds it."""
        folder = self.folder(spec)
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "lock"):
            yield

    def clean(self, spec: Spec, keep: Iterable[int] = ()) -> None:
        """Remove a run's checkpoints except some, and unfinished files of dead processes."""
        wanted = set(keep)
        for epochs in self.checkpoints(spec):
            if epochs not in wanted:
                self.checkpoint_path(spec, epochs).unlink(missing_ok=True)
        for part in self.folder(spec).rglob(".*.part"):
            part.unlink(missing_ok=True)

    def unfinished(self) -> list[tuple[str, int]]:
        """Ids of runs without a record, and how many epochs their checkpoints hold."""
        rows = []
        for folder in sorted(self.root.glob("*/epochs")):
            kept = [int(file.stem) for file in folder.glob("[0-9]*.ckpt")]
            if kept and not (folder.parent / "record.json").is_file():
                rows.append((folder.parent.name, max(kept)))
        return rows

    def collect_garbage(self) -> int:
        """Remove what no unfinished run needs: checkpoints of finished runs and remains; bytes freed."""
        freed = 0
        for folder in sorted(p for p in self.root.glob("*") if p.is_dir()):
            finished = (folder / "record.json").is_file()
            doomed = list(folder.rglob(".*.part"))
            if finished:
                doomed += [p for p in (folder / "epochs").glob("*.ckpt*") if p.is_file()]
            for path in doomed:
                freed += path.stat().st_size
                path.unlink()
            if finished:
                shutil.rmtree(folder / "epochs", ignore_errors=True)
        return freed


class Published:
    """Published records, ``<root>/<profile>/<id>.json``: read only."""

    trains = False

    def __init__(self, root: Path) -> None:
        self.root = root

    def record(self, spec: Spec) -> Record | None:
        """The run's record, or None.

        Raises:
            DamagedRecord: if the file was changed.
        """
        file = self.root / spec.profile / f"{spec.id}.json"
        return read_record(file) if file.is_file() else None

    def records(self) -> list[Record]:
        """All records, in the order of profiles and ids."""
        return [read_record(file) for file in sorted(self.root.glob("*/*.json"))]


AnyStore = Store | Published


def open_store(root: str | Path) -> AnyStore:
    """A working store, or a published one if the folder holds its table."""
    path = Path(root)
    return Published(path) if (path / INDEX).is_file() else Store(path)


def set_aside(file: Path, why: str) -> None:
    """Rename a damaged file, so that it is neither used nor lost, and say so on stderr."""
    number = 1
    while (target := file.with_name(f"{file.name}.damaged-{number}")).exists():
        number += 1
    file.rename(target)
    print(f"{why}; set aside as {target.name}, the run is done again", file=sys.stderr)
