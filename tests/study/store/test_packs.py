"""Packs: many records in one compressed file, each checked as if it were alone."""

import lzma
from pathlib import Path

import pytest
from test_record import example

from pat.study.store.packs import pack_of, read_pack, write_pack
from pat.study.store.publishing import publish
from pat.study.store.record import DamagedRecord, Record, record_text
from pat.study.store.stores import Published


def of_seed(seed: int, threads: int = 1) -> Record:
    record = example()
    spec = record.spec.model_copy(update={"seed": seed, "threads": threads})
    return record.model_copy(update={"id": spec.id, "spec": spec})


def test_what_is_packed_comes_back_in_the_order_of_ids(tmp_path: Path) -> None:
    records = [of_seed(3), of_seed(3, threads=2), of_seed(3, threads=3)]
    file = pack_of(tmp_path, records[0].spec)
    write_pack(file, records)
    assert list(read_pack(file)) == sorted(records, key=lambda r: r.id)
    again = file.read_bytes()
    write_pack(file, records[::-1])
    assert file.read_bytes() == again


def test_publishing_adds_to_the_pack_of_each_seed(tmp_path: Path) -> None:
    first, second = of_seed(1), of_seed(2)
    assert publish([first], tmp_path, packed=True) == [first]
    assert publish([first, second], tmp_path, packed=True) == [second]
    store = Published(tmp_path)
    assert store.records() == sorted([first, second], key=lambda r: r.id)
    assert store.record(second.spec) == second
    assert store.record(of_seed(4).spec) is None
    assert store.file(first.spec).name == "seed-0001.jsonl.xz"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda text: text[: len(text) // 2], "is cut"),
        (lambda text: text + b"x", "goes on behind its end"),
        (lambda text: b"nothing of the kind", "damaged"),
        (lambda text: lzma.compress(lzma.decompress(text).replace(b"resnet8", b"resnet9", 1)), "checksum"),
        (lambda text: lzma.compress(record_text(of_seed(8))), "belongs into another pack"),
    ],
)
def test_a_changed_pack_is_refused(spoil: object, message: str, tmp_path: Path) -> None:
    record = of_seed(7)
    file = pack_of(tmp_path, record.spec)
    write_pack(file, [record])
    file.write_bytes(spoil(file.read_bytes()))  # type: ignore[operator]
    with pytest.raises(DamagedRecord, match=message):
        list(read_pack(file))
