"""Verifying: a record's run made anew, from nothing, and held against it."""

from dataclasses import dataclass
from pathlib import Path

from pat.files import paths
from pat.files.atomic import write_whole
from pat.study.plan.spec import METHOD_VERSION
from pat.study.runs.watcher import SILENT, Watcher
from pat.study.store import Store, measured, open_store
from pat.study.store.comparing import differences
from pat.study.store.measured import find_table
from pat.study.store.record import Record, read_record
from pat.study.store.stores import INDEX


@dataclass(frozen=True)
class Verified:
    """A record and its run made anew.

    Attributes:
        known: the record.
        own: the new one.
        differences: in what they differ but for times and provenance, a line each; empty if in nothing.
    """

    known: Record
    own: Record
    differences: list[str]


def find(name: str, store: Path) -> tuple[Record, Path]:
    """A record, and the root of the store that it lies in.

    Args:
        name: a record's file, or the first digits of its id.
        store: where to look for an id.

    Raises:
        ValueError: if there is no such record, several, or a damaged one.
    """
    file = paths.usable(name)
    if file.is_file():
        return read_record(file), file.resolve().parents[1]
    found = [record for record in open_store(store).records() if record.id.startswith(name)]
    if len(found) != 1:
        problem = "no run has" if not found else f"{len(found)} runs have"
        where = "" if found else "; name the store of a run that is not published with --store"
        raise ValueError(f"{name!r} is no file, and {problem} an id in {store} that starts with it{where}")
    return found[0], store


def verify(
    known: Record,
    origin: Path,
    scratch: Store,
    *,
    data: Path = paths.DATA,
    workers: int = 0,
    watcher: Watcher = SILENT,
) -> Verified:
    """Make a record's run anew in another store, from its first epoch on, and compare.

    Runs that start from a dense run's weights by their nature train that one first. On the processor and with
    the versions that made the record the two are equal to the last digit; elsewhere rounding may differ, and
    after some epochs of training that shows.

    Args:
        known: the record.
        origin: root of the store that it comes from, for the latency table that it may name.
        scratch: where to train; a store of its own, or what it holds of the run is taken.
        data: root of the data sets.
        workers: processes that decode images of data sets too large for memory.
        watcher: told of progress.

    Raises:
        ValueError: before any training, if the run cannot start here: other data, another version of the
            method, a device or a latency table that is not there.
    """
    from pat.study.runs.building import check
    from pat.study.runs.run import run

    if scratch.root.resolve() == origin.resolve() or (scratch.root / INDEX).is_file():
        raise ValueError(
            f"{scratch.root} holds the record itself, or published ones: train in another folder"
        )
    spec = known.spec
    if spec.method_version != METHOD_VERSION:
        raise ValueError(
            f"the record was made by version {spec.method_version} of the method, this is {METHOD_VERSION}"
        )
    if spec.pruning is not None and spec.pruning.latency is not None:
        table = find_table(origin, spec.profile, spec.pruning.latency.table)
        file = measured.latency_folder(scratch.root, spec.profile) / f"{table.checksum[:12]}.json"
        write_whole(file, table.to_json().encode())
    check(spec, data, workers)
    own = run(spec, scratch, data=data, workers=workers, branch=False, watcher=watcher)
    return Verified(known, own, differences(known, own))
