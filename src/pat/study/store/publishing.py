"""Publishing: finished records from a working store to a folder of small files with one table."""

from collections.abc import Callable, Iterable
from pathlib import Path

from pat.files.atomic import write_whole
from pat.study.store import Published, measured
from pat.study.store.packs import add_to_packs
from pat.study.store.record import Record, write_record
from pat.study.store.rows import runs_table
from pat.study.store.speeds import read_speeds
from pat.study.store.stores import INDEX


class PublishConflict(ValueError):
    """Publishing would overwrite a record with another, or turn a working store into a published one."""


def publish(records: Iterable[Record], target: Path, *, packed: bool = False) -> list[Record]:
    """Copy finished records to ``<target>/<profile>/<id>.json`` and renew the table of all of them.

    Failed runs are published too: they are results.

    Args:
        records: what to publish.
        target: a published store, or where it is to be.
        packed: add the records to the packs of their seeds instead, which take a tenth of the space.

    Returns:
        The records that were new.

    Raises:
        PublishConflict: if a run is there with another outcome, or the target is a working store, before
            anything is written.
    """
    if any(target.glob("*/record.json")):
        raise PublishConflict(f"{target} is a working store; publish to another folder")
    new, published = {}, Published(target)
    for record in records:
        there = published.record(record.spec)
        if there is None:
            new[record.id] = record
        elif not there.same_result(record):
            raise PublishConflict(
                f"{record.spec.title} ({record.id[:12]}) is published in {published.file(record.spec)} "
                "with another outcome"
            )
    if packed:
        add_to_packs(target, new.values())
    else:
        for record in new.values():
            write_record(published.file(record.spec), record)
    table = runs_table(Published(target).records())
    write_whole(target / INDEX, table.to_csv(index=False, lineterminator="\n").encode())
    return list(new.values())


def _refuse(conflict: str) -> None:
    raise PublishConflict(conflict)


def publish_measurements(source: Path, target: Path, on_conflict: Callable[[str], None] = _refuse) -> int:
    """Copy latency tables and step times from one store to another; step times are added to those there.

    Args:
        source, target: roots of the stores.
        on_conflict: told where the target has another table of the same machine, or step times that were
            measured under other conditions; the target's stay.

    Returns:
        The number of files that were new or changed.

    Raises:
        PublishConflict: at the first conflict, before anything is written, unless ``on_conflict`` is given.
        ValueError: naming a file that is damaged, before anything is written.
    """
    new = {}
    for profile in measured.profiles(source):
        for file in measured.files(measured.latency_folder(source, profile)):
            there = measured.latency_folder(target, profile) / file.name
            measured.read_table(file)  # nothing but tables is published
            if there.is_file() and there.read_bytes() != file.read_bytes():
                on_conflict(f"{there} is published with other times than {file}")
            else:
                new[there] = file.read_bytes()
        published = {speeds.hardware: speeds for speeds in read_speeds(target, profile)}
        for speeds in read_speeds(source, profile):
            there = measured.speed_folder(target, profile) / speeds.file
            try:
                new[there] = published.get(speeds.hardware, speeds).merged(speeds).to_json()
            except ValueError as error:
                on_conflict(f"{there}: {error}")
    changed = [file for file, content in new.items() if not file.is_file() or file.read_bytes() != content]
    for file in changed:
        write_whole(file, new[file])
    return len(changed)
