"""Stores: where runs are kept while they are made (``runs/``) and once they are published (``results/``)."""

import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

from filelock import FileLock, Timeout

from pat.files import paths
from pat.files.atomic import CannotWrite
from pat.files.plain import printable
from pat.study.plan.spec import Spec
from pat.study.store import packs
from pat.study.store.record import DamagedRecord, Record, read_record, write_record

INDEX = "runs.csv"
"""The table that every published store has, and by which it is known."""

_ID = re.compile("[0-9a-f]{64}")


class Busy(TimeoutError):
    """Another process trains a run at the moment."""


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

    def file(self, spec: Spec) -> Path:
        """Where the run's record is, or would be."""
        return self.folder(spec) / "record.json"

    def record(self, spec: Spec) -> Record | None:
        """The run's record, or None if it has none; a damaged one is set aside and named on stderr."""
        return self._read(self.file(spec))

    def records(self) -> list[Record]:
        """All records, in the order of their ids; damaged ones are set aside and named on stderr."""
        found = [self._read(folder / "record.json") for folder in self._folders()]
        return [record for record in found if record is not None]

    def _folders(self) -> list[Path]:
        return [path for path in sorted(self.root.glob("*")) if path.is_dir() and _ID.fullmatch(path.name)]

    def _read(self, file: Path) -> Record | None:
        try:
            return _of_run(file, file.parent.name)
        except FileNotFoundError:
            return None
        except DamagedRecord as error:
            set_aside(file, str(error))
            return None

    def write(self, record: Record) -> None:
        write_record(self.file(record.spec), record)

    def check_writable(self) -> None:
        """Find out before any training whether anything can be kept here.

        Raises:
            CannotWrite: naming the store, if not.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root) as file:
                file.write(b"x")
        except OSError as error:
            raise CannotWrite(error.errno, f"cannot write to {self.root}: {error.strerror}") from error

    def checkpoint_path(self, spec: Spec, epochs: int) -> Path:
        """Where the state after so many epochs is kept."""
        return self.folder(spec) / "epochs" / f"{epochs:04d}.ckpt"

    def checkpoints(self, spec: Spec) -> list[int]:
        """After how many epochs there are checkpoints, ascending (whole or not)."""
        return sorted(int(file.stem) for file in (self.folder(spec) / "epochs").glob("[0-9]" * 4 + ".ckpt"))

    def load_checkpoint(self, spec: Spec, epochs: int) -> object | None:
        """A checkpoint's content, or None if it is missing.

        One that is damaged, or that is another run's or another epoch's, is set aside and named on stderr.
        """
        from pat.training import checkpoint

        path = self.checkpoint_path(spec, epochs)
        try:
            state = checkpoint.load(path)
            if problem := _misplaced(state, spec, epochs):
                raise checkpoint.DamagedCheckpoint(f"checkpoint {path} {problem}")
            return cast("object", state)
        except FileNotFoundError:
            return None
        except checkpoint.DamagedCheckpoint as error:
            set_aside(path, str(error))
            return None

    @contextmanager
    def lock(self, spec: Spec, *, wait: bool = True) -> Iterator[None]:
        """Only one process trains a run; the lock goes with the process that holds it.

        Raises:
            Busy: if another process holds it and ``wait`` is off.
        """
        with alone(self.folder(spec), wait=wait):
            yield

    def clean(self, spec: Spec, keep: Iterable[int] = ()) -> None:
        """Remove a run's checkpoints except some, and unfinished files of dead processes.

        Only with the run's lock: another process may be writing.
        """
        wanted = set(keep)
        for epochs in self.checkpoints(spec):
            if epochs not in wanted:
                self.checkpoint_path(spec, epochs).unlink(missing_ok=True)
        for part in self.folder(spec).rglob(".*.part"):
            part.unlink(missing_ok=True)

    def unfinished(self) -> list[tuple[str, int]]:
        """Ids of runs without a record, and how many epochs their checkpoints hold."""
        rows = []
        for folder in self._folders():
            kept = [int(file.stem) for file in (folder / "epochs").glob("[0-9]" * 4 + ".ckpt")]
            if kept and not (folder / "record.json").is_file():
                rows.append((folder.name, max(kept)))
        return rows

    def collect_garbage(self) -> int:
        """Remove checkpoints of finished runs and remains of dead processes; bytes freed.

        Runs that are being trained are left alone, and so is what lies elsewhere behind a link: it may be
        another store's.
        """
        freed, root = 0, self.root.resolve()
        for folder in self._folders():
            if not (folder / "epochs").resolve().is_relative_to(root):
                continue
            with suppress(Busy), alone(folder, wait=False):
                freed += _collect(folder)
        return freed


def _collect(folder: Path) -> int:
    finished = (folder / "record.json").is_file()
    doomed = list(folder.rglob(".*.part"))
    if finished:
        doomed += [path for path in (folder / "epochs").glob("*.ckpt*") if path.is_file()]
    freed = 0
    for path in doomed:
        freed += path.stat().st_size
        path.unlink()
    if finished:
        shutil.rmtree(folder / "epochs", ignore_errors=True)
    return freed


@contextmanager
def alone(folder: Path, *, wait: bool) -> Iterator[None]:
    """Only one process writes into a run's folder, which is made where it is not there.

    The lock goes with the process that holds it; its file stays, held by nobody.

    Raises:
        Busy: if another process holds it and ``wait`` is off.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        held = FileLock(folder / "lock", timeout=-1 if wait else 0).acquire()
    except Timeout:
        raise Busy(f"run {folder.name[:12]} is being trained by another process") from None
    with held:
        yield


class Published:
    """Published records: read only.

    One file each, ``<root>/<profile>/<id>.json``, or many in the pack of a profile and seed
    (:mod:`~pat.study.store.packs`).
    """

    trains = False

    def __init__(self, root: Path) -> None:
        self.root = root
        self._packs: dict[Path, dict[str, Record]] = {}
        self._alone: dict[Path, Record] = {}

    def file(self, spec: Spec) -> Path:
        """The file that the run's record is in, or would be."""
        pack = packs.pack_of(self.root, spec)
        return pack if spec.id in self._pack(pack) else self.root / spec.profile / f"{spec.id}.json"

    def record(self, spec: Spec) -> Record | None:
        """The run's record, or None.

        Raises:
            DamagedRecord: if the file was changed, before it was read first.
        """
        run_id, pack = spec.id, packs.pack_of(self.root, spec)
        packed = self._pack(pack).get(run_id)
        file = self.root / spec.profile / f"{run_id}.json"
        return packed if packed or not file.is_file() else self._of_run(file)

    def _pack(self, file: Path) -> dict[str, Record]:
        if file not in self._packs:
            records = packs.read_pack(file) if file.is_file() else ()
            self._packs[file] = {record.id: record for record in records}
        return self._packs[file]

    def _of_run(self, file: Path) -> Record:
        if file not in self._alone:
            self._alone[file] = _of_run(file, file.stem)
        return self._alone[file]

    def records(self) -> list[Record]:
        """All records, in the order of profiles and ids."""
        alone = [self._of_run(file) for file in self.root.glob("*/*.json")]
        packed = [r for file in self.root.glob(f"*/*{packs.SUFFIX}") for r in self._pack(file).values()]
        return sorted([*alone, *packed], key=lambda record: (record.spec.profile, record.id))


AnyStore = Store | Published


def open_store(root: str | Path) -> AnyStore:
    """A working store, or a published one if the folder holds its table.

    Raises:
        ValueError: for a path that no folder can have.
    """
    path = paths.usable(root)
    return Published(path) if (path / INDEX).is_file() else Store(path)


def _misplaced(state: Any, spec: Spec, epochs: int) -> str | None:
    """What is wrong with a whole checkpoint in this place: a good checksum does not tell whose it is."""
    if not isinstance(state, dict) or "next_epoch" not in state:
        return "is no state of a run"
    if (run := state.get("run", spec.id)) != spec.id:  # before it was noted, the place alone said whose
        return f"is of another run, {run}"
    if state["next_epoch"] != epochs:
        return f"is the state after {state['next_epoch']} epochs"
    return None


def _of_run(file: Path, run_id: str) -> Record:
    """A record whose place says which run it is of."""
    record = read_record(file)
    if record.id != run_id:
        raise DamagedRecord(f"record {file} is of another run, {record.id}")
    return record


def set_aside(file: Path, why: str) -> None:
    """Rename a damaged file, so that it is neither used nor lost, and say so on stderr."""
    number = 1
    while (target := file.with_name(f"{file.name}.damaged-{number}")).exists():
        number += 1
    done = f"set aside as {target.name}, the run is done again"
    try:
        file.rename(target)
    except FileNotFoundError:
        pass  # another process was first
    except OSError as error:  # what else is there can still be read
        done = f"it is not used, and cannot be set aside: {error.strerror}"
    print(printable(f"{why}; {done}"), file=sys.stderr)
