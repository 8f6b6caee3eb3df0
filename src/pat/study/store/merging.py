"""Merging: another machine's runs into a working store, nothing overwritten, nothing lost."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pat.files.atomic import write_whole
from pat.study.store import AnyStore, Store
from pat.study.store.publishing import publish_measurements
from pat.study.store.record import Record, write_record
from pat.study.store.stores import Busy, alone


@dataclass
class Merged:
    """What a merge did.

    Attributes:
        new: runs whose record was copied.
        known: how many runs both stores had, with the same outcome.
        unfinished: how many runs without a record brought checkpoints that were not there.
        conflicts: what stays in the source alone because the target has it otherwise, in words.
    """

    new: list[Record] = field(default_factory=list)
    known: int = 0
    unfinished: int = 0
    conflicts: list[str] = field(default_factory=list)


def merge(source: AnyStore, target: Store) -> Merged:
    """Copy into ``target`` what it lacks of ``source``, where only damaged records are set aside.

    A run's record comes last, after its weights, scores and checkpoints. A run that both stores have with
    different outcomes is a conflict: the target keeps its own, all others are merged. So is a run that is
    being trained in the target at the moment.

    Raises:
        ValueError: if both are the same folder.
        OSError: naming the file that cannot be written; merging again goes on.
    """
    if source.root.resolve() == target.root.resolve():
        raise ValueError(f"{source.root} cannot be merged into itself")
    found = Merged()
    for record in source.records():
        try:
            with target.lock(record.spec, wait=False):
                _merge_run(record, source, target, found)
        except Busy as busy:
            found.conflicts.append(str(busy))
    if isinstance(source, Store):
        for run_id, _ in source.unfinished():
            try:
                with alone(target.root / run_id, wait=False):
                    if not (target.root / run_id / "record.json").is_file():
                        found.unfinished += _copy(source.root / run_id, target.root / run_id) > 0
            except Busy as busy:
                found.conflicts.append(str(busy))
    publish_measurements(source.root, target.root, found.conflicts.append)
    return found


def _merge_run(record: Record, source: AnyStore, target: Store, found: Merged) -> None:
    there = target.record(record.spec)
    if there is not None and not there.same_result(record):
        found.conflicts.append(
            f"{record.spec.title} ({record.id[:12]}) has another outcome in {source.file(record.spec)} "
            f"than in {target.file(record.spec)}"
        )
        return
    if isinstance(source, Store):
        _copy(source.folder(record.spec), target.folder(record.spec), anew=there is None)
    if there is None:
        write_record(target.file(record.spec), record)
        found.new.append(record)
    else:
        found.known += 1


def _copy(source: Path, target: Path, *, anew: bool = False) -> int:
    """Copy the files of a run that are not there, its record left out; their number.

    With ``anew`` also those that are: without a record nothing says that they belong to the source's.
    """
    copied = 0
    for file in _files(source):
        there = target / file.relative_to(source)
        if anew or not there.exists():
            with suppress(FileNotFoundError):  # whoever trains in the source has removed it
                write_whole(there, file.read_bytes())
                copied += 1
    return copied


def _files(folder: Path) -> Iterator[Path]:
    """Weights, scores and checkpoints; no locks, parts or damaged files."""
    for pattern in ("model.safetensors", "scores.ckpt", "epochs/" + "[0-9]" * 4 + ".ckpt"):
        yield from sorted(file for file in folder.glob(pattern) if file.is_file())  # a pipe has no end
