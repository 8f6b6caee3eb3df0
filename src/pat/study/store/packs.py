"""Packs: the published records of one profile and seed in one compressed file, a line of JSON each.

Records of one seed say nearly the same in many places: together they take a tenth of what they take alone.
"""

import lzma
from collections.abc import Iterable, Iterator
from pathlib import Path

from pat.files.atomic import write_whole
from pat.files.plain import read_regular
from pat.study.plan.spec import Spec
from pat.study.store.record import DamagedRecord, Record, parse_record, record_text

SUFFIX = ".jsonl.xz"
_LARGEST = 1 << 30  # bytes unpacked; a file that claims to hold more is no pack


def pack_of(root: Path, spec: Spec) -> Path:
    """The pack that a run is published in."""
    return root / spec.profile / f"seed-{spec.seed:04d}{SUFFIX}"


def write_pack(path: Path, records: Iterable[Record]) -> None:
    """Write records whole, in the order of their ids; the same records give the same bytes."""
    lines = (record_text(record) for record in sorted(records, key=lambda record: record.id))
    write_whole(path, lzma.compress(b"".join(lines), format=lzma.FORMAT_XZ, preset=6))


def add_to_packs(root: Path, records: Iterable[Record]) -> None:
    """Add records to those that the packs of their seeds have."""
    added: dict[Path, list[Record]] = {}
    for record in records:
        added.setdefault(pack_of(root, record.spec), []).append(record)
    for path, new in added.items():
        write_pack(path, [*(read_pack(path) if path.is_file() else ()), *new])


def read_pack(path: Path) -> Iterator[Record]:
    """The records of a pack.

    Raises:
        DamagedRecord: if it is no regular file, no pack, holds more than a gigabyte, or a record in it was
            changed or belongs elsewhere.
        FileNotFoundError: if there is no such file.
    """
    try:
        reader = lzma.LZMADecompressor(format=lzma.FORMAT_XZ)
        text = reader.decompress(read_regular(path), _LARGEST)
        if not reader.eof or reader.unused_data:
            raise ValueError("it is cut, goes on behind its end, or holds more than a gigabyte")
    except (ValueError, lzma.LZMAError) as error:
        raise DamagedRecord(f"pack {path} is damaged: {error}") from None
    for number, line in enumerate(text.splitlines(), 1):
        record = parse_record(line, f"record {number} of {path}")
        if pack_of(path.parent.parent, record.spec) != path:
            raise DamagedRecord(f"record {number} of {path} belongs into another pack, {record.id}")
        yield record
