"""Publishing: finished records from a working store to a folder of small files with one table."""

from collections.abc import Iterable
from pathlib import Path

from pat.checkpoint import write_whole
from pat.study.analysis import runs_table
from pat.study.record import Record, read_record, write_record
from pat.study.store import INDEX, Published


class PublishConflict(ValueError):
    """A run is published already with another outcome."""


def publish(records: Iterable[Record], target: Path) -> list[Record]:
    """Copy finished records to ``<target>/<profile>/<id>.json`` and renew the table of all of them.

    Failed runs are published too: they are results.

    Returns:
        The records that were new.

    Raises:
        PublishConflict: if a run is there with another outcome, before anything is written.
    """
    new = []
    for record in records:
        file = _file(target, record)
        if not file.is_file():
            new.append(record)
        elif not read_record(file).same_outcome(record):
            raise PublishConflict(
                f"{record.spec.title} ({record.id[:12]}) is published in {file} with another outcome"
            )
    for record in new:
        write_record(_file(target, record), record)
    table = runs_table(Published(target).records())
    write_whole(target / INDEX, table.to_csv(index=False, lineterminator="\n").encode())
    return new


def _file(target: Path, record: Record) -> Path:
    return target / record.spec.profile / f"{record.id}.json"
