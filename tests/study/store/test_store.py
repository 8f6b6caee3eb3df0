"""Stores: damaged files are named and set aside, one process trains a run, publishing copies."""

import csv
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from test_record import example
from tiny import dense, flip, pruned, recipe

from pat.study.plan.spec import Spec
from pat.study.runs.run import Watcher, run
from pat.study.runs.sweep import MissingRuns, sweep
from pat.study.runs.workers import executor
from pat.study.store import Published, Store, open_store
from pat.study.store.publishing import PublishConflict, publish
from pat.study.store.record import DamagedRecord, Record, write_record
from pat.study.store.stores import INDEX

SHORT = dense(recipe=recipe(epochs=2))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


def written(store: Store, *specs: Spec) -> list[Record]:
    records = [example(spec) for spec in specs]
    for record in records:
        store.write(record)
    return records


# Reading


def test_records_are_found_by_their_spec(store: Store) -> None:
    first, second = written(store, pruned(1), pruned(2))
    assert store.record(pruned(1)) == first
    assert store.record(dense()) is None
    assert store.records() == sorted([first, second], key=lambda r: r.id)
    assert open_store(str(store.root)).records() == store.records()


def test_a_store_that_is_not_there_is_empty(store: Store) -> None:
    assert store.records() == []
    assert store.unfinished() == []
    assert store.collect_garbage() == 0
    assert not store.root.exists()


def test_a_file_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"store .*file is not a folder"):
        open_store(tmp_path / "file")


@pytest.mark.parametrize("damage", ["flip", "cut", "edit", "empty"])
def test_a_damaged_record_is_named_set_aside_and_done_again(
    damage: str, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    first = run(SHORT, store)
    file = store.folder(SHORT) / "record.json"
    if damage == "flip":
        flip(file, file.stat().st_size // 2)
    elif damage == "cut":
        os.truncate(file, 100)
    elif damage == "empty":
        os.truncate(file, 0)
    else:
        content = json.loads(file.read_text())
        content["result"]["test_accuracy"] += 1
        file.write_text(json.dumps(content))
    bad = file.read_bytes()
    again = run(SHORT, store)
    assert again.same_outcome(first)
    assert str(file) in (said := capsys.readouterr().err)
    assert "damaged" in said
    assert file.with_name("record.json.damaged-1").read_bytes() == bad
    file.write_text("{}")
    assert store.record(SHORT) is None
    assert file.with_name("record.json.damaged-2").read_text() == "{}"


def test_a_record_in_another_runs_place_is_not_taken(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    written(store, pruned(1))
    store.folder(pruned(2)).mkdir()
    shutil.copy(store.folder(pruned(1)) / "record.json", store.folder(pruned(2)))
    assert store.record(pruned(2)) is None
    assert "is of another run" in capsys.readouterr().err
    assert store.record(pruned(1)) is not None


def test_a_damaged_checkpoint_is_set_aside(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    run(SHORT, store, keep=(1,))
    file = store.checkpoint_path(SHORT, 1)
    flip(file, file.stat().st_size // 2)
    assert store.load_checkpoint(SHORT, 1) is None
    assert str(file) in capsys.readouterr().err
    assert file.with_name("0001.ckpt.damaged-1").is_file()
    assert store.checkpoints(SHORT) == []
    assert store.load_checkpoint(SHORT, 1) is None


def test_other_peoples_folders_are_left_alone(tmp_path: Path) -> None:
    """`--store .` is easily typed."""
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "record.json").write_text("not ours")
    (tmp_path / "project" / ".download.part").write_text("not ours")
    store = Store(tmp_path)
    assert store.records() == []
    store.collect_garbage()
    assert sorted(p.name for p in (tmp_path / "project").iterdir()) == [".download.part", "record.json"]


# One process a run


def _counted(spec: Spec, root: Path, log: Path) -> str:
    def on_epoch(spec: Spec, row: object) -> None:
        with log.open("a") as file:
            file.write("epoch\n")

    return run(spec, Store(root), watcher=Watcher(on_epoch=on_epoch)).model_dump_json()


def test_two_processes_on_one_run_train_it_once(store: Store, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with executor(2) as pool:
        jobs = [pool.submit(_counted, SHORT, store.root, log) for _ in range(2)]
        first, second = (job.result() for job in jobs)
    assert first == second
    assert log.read_text().count("epoch") == SHORT.recipe.epochs


def test_the_lock_of_a_dead_process_is_free(store: Store) -> None:
    code = (
        "import sys, os; from filelock import FileLock; from pathlib import Path\n"
        "p = Path(sys.argv[1]); p.mkdir(parents=True)\n"
        "lock = FileLock(p / 'lock'); lock.acquire(); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code, store.folder(SHORT)], check=False)
    with store.lock(SHORT, wait=False):
        pass


# Rubbish


def test_garbage_goes_and_unfinished_runs_stay(store: Store) -> None:
    spec = pruned(1, recipe=SHORT.recipe)
    run(SHORT, store, keep=(1,))
    run(spec, store)
    unfinished = store.checkpoint_path(dense(seed=5), 3)
    unfinished.parent.mkdir(parents=True)
    unfinished.write_bytes(b"state")
    (store.folder(SHORT) / ".record.json.7.part").write_bytes(b"half")
    assert store.unfinished() == [(dense(seed=5).id, 3)]
    before = store.records()
    assert store.checkpoints(SHORT) == [1]
    size = store.checkpoint_path(SHORT, 1).stat().st_size
    assert store.collect_garbage() == size + len(b"half")
    assert store.records() == before
    assert unfinished.is_file()
    left = {file.name for file in store.folder(SHORT).iterdir()}
    assert left == {"record.json", "model.safetensors", "scores.ckpt", "lock"}
    assert store.collect_garbage() == 0


def test_garbage_collection_leaves_a_run_alone_that_is_being_trained(store: Store) -> None:
    part = store.folder(SHORT) / "epochs" / ".0001.ckpt.1.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"being written")
    code = (
        "import sys; from filelock import FileLock\n"
        "lock = FileLock(sys.argv[1] + '/lock'); lock.acquire(); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, store.folder(SHORT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert store.collect_garbage() == 0
        assert part.is_file()
        with pytest.raises(TimeoutError), store.lock(SHORT, wait=False):
            pass
        holder.communicate()
    assert store.collect_garbage() == len(b"being written")


# Publishing


def test_publishing_copies_records_and_writes_the_table(store: Store, tmp_path: Path) -> None:
    target = tmp_path / "results"
    failed = example(dense(seed=2), status="failed", reason="the loss is nan", result=None, cost=None)
    records = [*written(store, pruned(1), dense(seed=1)), failed]
    assert publish(records, target) == records
    published = open_store(target)
    assert isinstance(published, Published)
    assert sorted(r.id for r in published.records()) == sorted(r.id for r in records)
    assert published.record(pruned(1)) == records[0]
    assert published.record(pruned(2)) is None
    assert {p.relative_to(target).as_posix() for p in target.rglob("*.*")} == {
        INDEX,
        *(f"tiny/{record.id}.json" for record in records),
    }
    with (target / INDEX).open() as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert rows[failed.id]["status"] == "failed"
    assert float(rows[records[0].id]["test_accuracy"]) == 81.5


def test_publishing_again_changes_nothing(store: Store, tmp_path: Path) -> None:
    target = tmp_path / "results"
    publish(written(store, pruned(1), pruned(2)), target)
    before = {file: file.read_bytes() for file in target.rglob("*.*")}
    later = example(pruned(1)).provenance.model_copy(update={"seconds": 99.0})
    assert publish([example(pruned(1), provenance=later), example(pruned(2))], target) == []
    assert {file: file.read_bytes() for file in target.rglob("*.*")} == before


def test_another_outcome_is_a_conflict_and_nothing_is_written(store: Store, tmp_path: Path) -> None:
    target = tmp_path / "results"
    publish(written(store, pruned(1)), target)
    before = sorted(target.rglob("*"))
    other = example(pruned(1), status="collapsed")
    with pytest.raises(PublishConflict, match=rf"at epoch 1.*{pruned(1).id}\.json with another outcome"):
        publish([example(pruned(2)), other], target)
    assert sorted(target.rglob("*")) == before


def test_a_whole_run_is_no_conflict_with_its_published_branch(tmp_path: Path) -> None:
    branch, whole = example(pruned(1)), example(pruned(1), trunk=None, history=())
    assert publish([branch], tmp_path / "results") == [branch]
    assert publish([whole], tmp_path / "results") == []
    assert Published(tmp_path / "results").record(pruned(1)) == branch


def test_a_working_store_is_no_place_to_publish_to(store: Store) -> None:
    records = written(store, pruned(1))
    with pytest.raises(PublishConflict, match="working store"):
        publish(records, store.root)
    assert isinstance(open_store(store.root), Store)


def test_a_published_record_that_was_changed_is_an_error(store: Store, tmp_path: Path) -> None:
    target = tmp_path / "results"
    publish(written(store, pruned(1)), target)
    file = target / "tiny" / f"{pruned(1).id}.json"
    file.rename(file.with_name(f"{pruned(2).id}.json"))
    with pytest.raises(DamagedRecord, match="is of another run"):
        Published(target).record(pruned(2))
    with pytest.raises(DamagedRecord):
        Published(target).records()
    file.write_text("{}")
    with pytest.raises(DamagedRecord, match=file.name):
        Published(target).record(pruned(1))
    assert file.is_file()  # set aside by nobody


def test_a_published_store_is_only_read(store: Store, tmp_path: Path) -> None:
    target = tmp_path / "results"
    publish(written(store, pruned(1)), target)
    before = {file: file.read_bytes() for file in target.rglob("*.*")}
    published = open_store(target)
    assert sweep([pruned(1)], published) == [example(pruned(1))]
    with pytest.raises(MissingRuns, match=rf"2 of 3 runs, .*{pruned(3).title} \({pruned(3).id[:12]}\)"):
        sweep([pruned(1), pruned(3), pruned(2)], published)
    assert {file: file.read_bytes() for file in target.rglob("*.*")} == before


def test_records_are_small(store: Store, record_property: Any) -> None:
    """All of results/ is to stay under 30 MB: thousands of runs."""
    spec = dense(recipe=recipe(epochs=24), tracking={"ratios": [i / 10 for i in range(1, 10)]})
    started = time.perf_counter()
    run(spec, store)
    size = (store.folder(spec) / "record.json").stat().st_size
    record_property("trunk_record_bytes", size)
    record_property("seconds", round(time.perf_counter() - started, 2))
    assert size < 120_000
    write_record(store.root / "branch.json", example(pruned(2)))
    assert (store.root / "branch.json").stat().st_size < 5_000
