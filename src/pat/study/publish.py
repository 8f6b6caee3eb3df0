"""Publishing: finished records from a working store to a folder of small files with one table."""

from collections.abc import Iterable
from pathlib import Path

from pat.atomic import write_whole
from pat.study.analysis import runs_table
from pat.study.record import Record, write_record
from pat.study.store import INDEX, Published


class PublishConflict(ValueError):
    """Publishing would overwrite a record with another, or turn a working store into a published one."""


def publish(records: Iterable[Record], target: Path) -> list[Record]:
    """Copy finished records to ``<target>/<profile>/<id>.json`` and renew the table of all of them.

    Failed runs are published too: they are results.

    Returns:
        The records that were new.

    Raises:
        PublishConflict: if a run is there with another outcome, or the target is a working store, before
            anything is written.
    """
    if any(target.glob("*/record.json")):
        raise PublishConflict(f"{target} is a working store; publish to another folder")
    new = []
    for record in records:
        there = Published(target).record(record.spec)
        if there is None:
            new.append(record)
        elif not there.same_result(record):
            raise PublishConflict(
                f"{record.spec.title} ({record.id[:12]}) is published in {_file(target, record)} "
                "with another outcome"
            )
    for record in new:
        write_record(_file(target, record), record)
    table = runs_table(Published(target).records())
    write_whole(target / INDEX, table.to_csv(index=False, lineterminator="\n").encode())
    return new


def _file(target: Path, record: Record) -> Path:
    return target / record.spec.profile / f"{record.id}.json"
