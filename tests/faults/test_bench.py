"""The bench's own record: whole, or refused."""

from pathlib import Path
from typing import Any

import pytest

from pat.study.store.bench import Bench, Row, facts, read_bench, source, write_bench
from pat.study.store.record import provenance

ROWS = (
    Row(group="crashes", fault="killed while training", tried=5, survived=5),
    Row(group="fuzzing", fault="records", tried=100, survived=99),
)


def bench_record(**fields: Any) -> Bench:
    made = provenance(seconds=1.0, device="cpu", command="test")
    return Bench(mode="short", rows=ROWS, provenance=made, **fields)


def test_the_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    record = bench_record()  # once: it has the time
    write_bench(file, record)
    assert read_bench(file) == record
    assert read_bench(file).total() == (105, 104)
    assert read_bench(file).total("crashes") == (5, 5)


def test_a_changed_record_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    write_bench(file, bench_record())
    file.write_text(file.read_text().replace('"survived": 99', '"survived": 100'))
    with pytest.raises(ValueError, match=r"bench.json is damaged: its checksum does not fit"):
        read_bench(file)


def test_no_more_can_survive_than_was_tried() -> None:
    with pytest.raises(ValueError, match="6 of 5 tried"):
        Row(group="crashes", fault="killed", tried=5, survived=6)


def test_what_the_book_quotes() -> None:
    found = facts(bench_record())
    assert "tried **5 faults**, of which the study survived **5**" in found["summary"]
    assert "**100 malformed or altered inputs**, to which **99** times" in found["summary"]
    assert [row["Part"] for row in found["rows"]] == ["Crashes", "Fuzzed input"]
    assert [row["What was done"] for row in found["faults"]] == ["killed while training", "records"]
    assert "not been run" in facts(None)["summary"]


def test_the_source_is_known_by_folder(tmp_path: Path) -> None:
    package = tmp_path / "pat"
    for name in ("a.py", "files/b.py", "study/plan/c.yaml", "files/__pycache__/b.pyc"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(name)
    before = source(package)
    assert list(before) == ["pat", "pat/files", "pat/study/plan"]
    (package / "files" / "b.py").write_text("another")
    assert {name for name, known in source(package).items() if known != before[name]} == {"pat/files"}


def test_the_book_says_what_changed_since_the_bench(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    write_bench(file, bench_record(source=source()))
    assert facts(read_bench(file))["origin"].endswith("The source is the one that was tried.")
    older = {**source(), "pat/files": "0" * 16, "pat/gone": "1" * 16}
    assert facts(bench_record(source=older))["origin"].endswith("changed in `pat/files`, `pat/gone`.")
    assert "does not say which source" in facts(bench_record())["origin"]
