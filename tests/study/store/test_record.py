"""Records: what is written comes back, and what was changed is found."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from tiny import dense, flip, pruned

from pat.files.sealed import checksum
from pat.study.plan.spec import Spec
from pat.study.store.record import (
    CostRecord,
    DamagedRecord,
    Epoch,
    Provenance,
    Record,
    Result,
    provenance,
    read_record,
    write_record,
)
from pat.training.epoch import finite

ORIGIN = Provenance(
    commit="abc+", command="pat run", date="2026-01-01T00:00:00+00:00", seconds=1.5, python="3.12",
    packages={"torch": "2"}, hardware="a processor", os="Linux",
)  # fmt: skip


def example(spec: Spec | None = None, **changes: Any) -> Record:
    """A record with made-up numbers."""
    spec = spec or pruned(2)
    tracked = {
        "gradient": {
            "spearman": [None, 0.5],
            "kendall": [None, 0.25],
            "ratios": {"0.5": {"counts": [4, 8], "psi": [None, 0.9], "hamming": [None, 0.1],
                               "jaccard": [None, 0.8]}},
        }
    }  # fmt: skip
    rows = [
        Epoch(epoch=0, phase="dense", loss=2.25, accuracy=10.0, validation_loss=2.0, validation_accuracy=12.0,
              learning_rate=0.1, seconds=0.5, epi=0.1 + 0.2, tracked=tracked),
        Epoch(epoch=1, phase="prune", loss=None, accuracy=20.0, validation_loss=None,
              validation_accuracy=22.0, learning_rate=1 / 3, seconds=0.25, skipped=1,
              structure={"conv": 3, "layer1.0.conv2": 6}),
    ]  # fmt: skip
    fields: dict[str, Any] = {
        "id": spec.id,
        "spec": spec,
        "status": "done",
        "trunk": spec.trunk.id,
        "layers": ("conv", "layer1.0.conv2"),
        "history": tuple(rows),
        "result": Result(test_accuracy=81.5, test_loss=0.75, validation_accuracy=80.25, prune_epoch=2),
        "cost": CostRecord(dense_macs=100, macs=40, dense_parameters=10, parameters=5, training_share=0.7),
        "provenance": ORIGIN,
    }
    return Record(**(fields | changes))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_record(tmp_path / "record.json", example())
    return tmp_path / "record.json"


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    failed = example(dense(), status="failed", reason="the loss is nan", result=None, cost=None, history=())
    for record in (example(), example(dense(), trunk=None), failed):
        write_record(tmp_path / "a.json", record)
        assert read_record(tmp_path / "a.json") == record


def test_a_record_is_one_small_line_of_json(file: Path) -> None:
    content = json.loads(file.read_text())
    assert file.read_text().count("\n") == 1
    assert content["format"] == 1
    assert content["spec"]["recipe"]["momentum"] == 0.875  # defaults are spelled out for readers
    assert content["spec"]["pruning"]["policy"] == {"kind": "epoch", "epoch": 2}


def test_a_flipped_bit_is_found_or_changes_nothing(file: Path) -> None:
    whole, content = read_record(file), file.read_bytes()
    unnoticed = 0
    for position in range(0, len(content), 3):
        flip(file, position, bit=position % 8)
        try:
            assert read_record(file) == whole  # 1e-05 may become 1E-05
            unnoticed += 1
        except DamagedRecord as error:
            assert str(file) in str(error)  # noqa: PT017
        file.write_bytes(content)
    assert unnoticed < 3


def test_a_cut_record_is_found_anywhere(file: Path) -> None:
    content = file.read_bytes()
    for length in range(0, len(content) - 1, 3):
        file.write_bytes(content[:length])
        with pytest.raises(DamagedRecord, match=r"record\.json is damaged"):
            read_record(file)


EDITS: dict[str, Any] = {
    "accuracy": lambda c: c["result"].update(test_accuracy=99.5),
    "history": lambda c: c["history"].pop(),
    "status": lambda c: c.update(status="collapsed"),
    "a new field": lambda c: c.update(comment="better"),
    "no checksum": lambda c: c.pop("checksum"),
    "another seed": lambda c: c["spec"].update(seed=9),
    "another id": lambda c: c.update(id="0" * 64),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_record_is_found(edit: str, file: Path) -> None:
    content = json.loads(file.read_text())
    EDITS[edit](content)
    file.write_text(json.dumps(content))
    with pytest.raises(DamagedRecord, match="checksum does not fit"):
        read_record(file)


def resealed(file: Path, edit: Any) -> None:
    """Edit a record and give it the checksum that fits."""
    content = json.loads(file.read_text())
    del content["checksum"]
    edit(content)
    content["checksum"] = checksum(content)
    file.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (EDITS["another seed"], "its id is not its spec's"),
        (EDITS["another id"], "its id is not its spec's"),
        (EDITS["a new field"], "comment: Extra inputs"),
        (lambda c: c.update(status="fine"), "status: .*'done', 'collapsed' or 'failed'"),
        (lambda c: c.update(format=2), "format: "),
        (lambda c: c["spec"]["pruning"].update(ratio=1.5), "ratio: "),
        (lambda c: c.pop("history"), "history: Field required"),
    ],
)
def test_a_wrong_record_with_a_fitting_checksum_is_found(edit: Any, message: str, file: Path) -> None:
    resealed(file, edit)
    with pytest.raises(DamagedRecord, match=message):
        read_record(file)


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "3", '"a"', "{}", "{" * 100_000, '{"a": NaN}', '{"a": 1e999}', "\ufeff{}"]
)
def test_other_files_are_no_record(text: str, file: Path) -> None:
    file.write_text(text)
    with pytest.raises(DamagedRecord, match=r"record\.json is damaged"):
        read_record(file)
    file.write_bytes(b"\xff\xff")
    with pytest.raises(DamagedRecord):
        read_record(file)


def test_a_missing_record_is_not_a_damaged_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_record(tmp_path / "none.json")


def test_a_record_holds_no_nan() -> None:
    with pytest.raises(ValidationError, match="test_accuracy"):
        Result(test_accuracy=math.nan, test_loss=None, validation_accuracy=1, prune_epoch=None)
    assert [finite(value) for value in (math.nan, math.inf, -math.inf, 0.5)] == [None, None, None, 0.5]


def test_outcomes_are_equal_but_for_times_and_provenance() -> None:
    record = example()
    later = ORIGIN.model_copy(update={"seconds": 9.0, "date": "2027-01-01", "commit": None})
    slower = tuple(e.model_copy(update={"seconds": 7.0}) for e in record.history)
    assert record.same_outcome(example(provenance=later, history=slower))
    others = [
        example(status="collapsed"),
        example(trunk=None),
        example(history=record.history[1:]),
        example(spec=pruned(3)),
        example(cost=None),
        example(result=record.result.model_copy(update={"test_loss": 0.7500001})),  # type: ignore[union-attr]
    ]
    assert not any(record.same_outcome(other) for other in others)


def test_a_run_and_its_branch_have_one_result() -> None:
    record = example()
    whole = example(trunk=None, history=())
    assert record.same_result(whole)
    assert not record.same_outcome(whole)
    assert record.cost is not None
    assert record.result is not None
    others = [
        example(status="collapsed"),
        example(cost=None),
        example(cost=record.cost.model_copy(update={"macs": 41})),
        example(result=record.result.model_copy(update={"test_accuracy": 81.6})),
    ]
    assert not any(record.same_result(other) for other in others)


def test_provenance_names_what_was_used() -> None:
    found = provenance(seconds=1.23456, device="cpu", command="pat run")
    assert found.seconds == 1.235
    assert {"pat", "torch", "timm", "torchvision"} <= set(found.packages)
    assert found.commit is None or len(found.commit.removesuffix("+")) == 40
    assert found.hardware
    assert found.date.endswith("+00:00")
