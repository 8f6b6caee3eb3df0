"""Many processes, many machines: each run trained once, nothing overwritten, conflicts named."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Tally
from processes import forked, wait_for
from tiny import dense, pruned, recipe, records_by_id
from typer.testing import CliRunner

from pat.cli import app
from pat.study.plan.spec import Spec
from pat.study.runs import run as runs
from pat.study.runs.run import run
from pat.study.runs.sweep import How, sweep
from pat.study.runs.watcher import Watcher
from pat.study.store import Published, Store
from pat.study.store.merging import merge
from pat.study.store.record import Record, write_record
from pat.study.store.stores import Busy

SHORT = recipe(epochs=3, batch_size=249)


def grid(seeds: int) -> list[Spec]:
    return [
        spec
        for seed in range(seeds)
        for spec in (
            dense(seed=seed, recipe=SHORT),
            *(pruned(p, seed=seed, recipe=SHORT) for p in (0, 1, 2)),
            pruned(1, "magnitude", 0.3, seed=seed, recipe=SHORT),
        )
    ]


def share(seeds: int, root: Path, log: Path) -> None:
    """One of four processes with the same sweep: it notes every training, and what it says of every run."""
    train, own = runs._train, os.getpid()

    def note(kind: str, what: object) -> None:
        with log.open("a") as file:
            file.write(f"{kind} {own} {what}\n")

    def counted(spec: Spec, *arguments: Any, **options: Any) -> Record:
        note("trains", spec.id)
        return train(spec, *arguments, **options)

    runs._train = counted
    ready = log.with_suffix(".ready")  # none begins before all are there
    ready.mkdir(exist_ok=True)
    (ready / str(own)).touch()
    wait_for(lambda: len(list(ready.iterdir())) == 4, 60)
    sweep(grid(seeds), Store(root), How(on_progress=lambda p: note("says", p.trained)))


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], dict[str, Record]]:
    """What one process alone gives."""
    store = Store(tmp_path_factory.mktemp("alone"))
    return lambda seeds: records_by_id(sweep(grid(seeds), store))


def test_four_processes_share_a_sweep(
    bench: Tally, tmp_path: Path, alone: Callable[[int], dict[str, Record]]
) -> None:
    seeds = bench.pick(2, 6)
    store, log = Store(tmp_path / "runs"), tmp_path / "log"
    store.folder(dense(recipe=SHORT)).mkdir(parents=True)
    # A process that died while it trained: its lock's file is there, and nobody holds it.
    (store.folder(dense(recipe=SHORT)) / "lock").touch()
    with bench.trial("concurrency", "four processes on one store and one sweep"):
        processes = [forked(share, seeds, store.root, log) for _ in range(4)]
        for process in processes:
            process.join(600)
        assert [process.exitcode for process in processes] == [0] * 4
        expected = alone(seeds)
        found = {record.id: record for record in store.records()}
        assert found.keys() == expected.keys()
        assert all(found[key].same_outcome(expected[key]) for key in expected)
        lines = [line.split() for line in log.read_text().splitlines()]
        trainings = [(process, what) for kind, process, what in lines if kind == "trains"]
        again = {spec: n for spec, n in Counter(spec for _, spec in trainings).items() if n > 1}
        assert again == {}
        assert len({process for process, _ in trainings}) > 1  # the work was shared
        told = [what for kind, _, what in lines if kind == "says"]
        assert told.count("True") == len(expected)  # each trained by the one that says so
        assert list(store.root.rglob(".*.part")) == []


def test_a_lock_of_a_dead_process_is_taken_over(bench: Tally, tmp_path: Path) -> None:
    store, spec = Store(tmp_path), dense(recipe=SHORT)
    code = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom pat.study.store.stores import alone\n"
        "with alone(Path(sys.argv[1]), wait=False):\n"
        "    print('held', flush=True)\n    sys.stdin.read()"
    )
    for _ in range(bench.pick(1, 5)):
        with bench.trial("concurrency", "a lock whose process was killed"):
            holder = subprocess.Popen(
                [sys.executable, "-c", code, store.folder(spec)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            with pytest.raises(Busy, match=f"run {spec.id[:12]} is being trained by another process"):
                run(spec, store, wait=False)
            holder.kill()
            holder.wait()
            with store.lock(spec, wait=False):
                pass


def files(root: Path) -> dict[str, bytes]:
    return {
        file.relative_to(root).as_posix(): file.read_bytes()
        for file in root.rglob("*")
        if file.is_file() and file.name != "lock"
    }


def test_two_machines_stores_merge_without_loss(bench: Tally, tmp_path: Path) -> None:
    one, two = Store(tmp_path / "one"), Store(tmp_path / "two")
    shared, first, second = dense(recipe=SHORT), pruned(1, recipe=SHORT), pruned(2, recipe=SHORT)
    sweep([shared, first], one)
    sweep([shared, second], two)
    before = files(one.root)
    with bench.trial("concurrency", "two machines' stores merged"):
        found = merge(one, two)
        assert [record.spec for record in found.new] == [first]
        assert (found.known, found.unfinished, found.conflicts) == (1, 0, [])
        assert files(one.root) == before
        assert two.record(first) == one.record(first)
        assert two.checkpoints(shared) == [1, 2]  # each machine's branches needed another one
        again = merge(one, two)
        assert (again.new, again.known) == ([], 2)
        # What was merged is worth as much as what was trained: nothing is trained again.
        trained: list[bool] = []
        sweep([shared, first, second], two, How(on_progress=lambda p: trained.append(p.trained)))
        assert trained == []


def test_weights_without_a_record_give_way_to_those_of_the_record(bench: Tally, tmp_path: Path) -> None:
    one, two, spec = Store(tmp_path / "one"), Store(tmp_path / "two"), dense(recipe=SHORT)
    run(spec, one)
    two.folder(spec).mkdir(parents=True)
    (two.folder(spec) / "model.safetensors").write_bytes(b"of a run that was killed before its record")
    with bench.trial("concurrency", "a merge over the remains of a killed run"):
        merge(one, two)
        assert files(two.root) == files(one.root)


def test_an_unfinished_run_is_merged_and_goes_on(bench: Tally, tmp_path: Path) -> None:
    one, two, whole = (Store(tmp_path / name) for name in ("one", "two", "whole"))
    spec = dense(recipe=SHORT)
    expected = run(spec, whole, keep=(1, 2))
    run(spec, one, keep=(1, 2))
    one.file(spec).unlink()
    with bench.trial("concurrency", "an unfinished run merged"):
        assert merge(one, two).unfinished == 1
        epochs: list[int] = []
        watcher = Watcher(on_epoch=lambda spec, log: epochs.append(log.epoch))
        assert run(spec, two, watcher=watcher).same_outcome(expected)
        assert epochs == [2]


def altered(record: Record) -> Record:
    assert record.result is not None
    result = record.result.model_copy(update={"test_accuracy": 12.5})
    return record.model_copy(update={"result": result})


def test_a_conflict_is_named_and_nothing_overwritten(bench: Tally, tmp_path: Path) -> None:
    one, two = Store(tmp_path / "one"), Store(tmp_path / "two")
    spec, other = pruned(0, recipe=SHORT), dense(recipe=SHORT)
    record = run(spec, one)
    run(other, one)
    two.write(altered(record))
    with bench.trial("concurrency", "another outcome of a run in a merge"):
        before = two.file(spec).read_bytes()
        done = CliRunner().invoke(app, ["merge", str(one.root), "--store", str(two.root)])
        assert done.exit_code == 1
        assert f"conflict: {spec.title} ({spec.id[:12]}) has another outcome in" in done.stderr
        assert "1 runs and 0 unfinished ones copied" in done.stdout
        assert two.file(spec).read_bytes() == before
        assert two.record(other) is not None


def test_a_run_that_is_being_trained_is_left_out_of_a_merge(bench: Tally, tmp_path: Path) -> None:
    one, two = Store(tmp_path / "one"), Store(tmp_path / "two")
    spec = dense(recipe=SHORT)
    run(spec, one)
    with bench.trial("concurrency", "a merge into a run that is being trained"):
        with two.lock(spec):
            found = merge(one, two)
        assert found.new == []
        assert found.conflicts == [f"run {spec.id[:12]} is being trained by another process"]
        assert [record.spec for record in merge(one, two).new] == [spec]


def test_published_records_merge_too(tmp_path: Path) -> None:
    spec, published = dense(recipe=SHORT), tmp_path / "results"
    record = run(spec, Store(tmp_path / "one"))
    write_record(Published(published).file(spec), record)
    target = Store(tmp_path / "two")
    assert [r.id for r in merge(Published(published), target).new] == [record.id]
    assert target.record(spec) == record


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["merge", "nowhere"], "no store nowhere"),
        (["merge", "runs"], "runs cannot be merged into itself"),
        (["merge", "runs", "--store", "results"], "results holds published records"),
    ],
)
def test_a_merge_that_makes_no_sense_is_refused(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    Path("results").mkdir()
    Path("results/runs.csv").touch()
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2
    assert message in done.stderr


def test_a_record_of_the_store_is_never_half_there(bench: Tally, tmp_path: Path) -> None:
    """Whoever reads while others write sees a whole record or none."""
    store, spec = Store(tmp_path), dense(recipe=SHORT)
    record = run(spec, store)
    code = (
        "import sys\nfrom pathlib import Path\nfrom pat.study.store.record import read_record, write_record\n"
        "file = Path(sys.argv[1])\nrecord = read_record(file)\nwrite_record(file, record)\n"
        "print('begun', flush=True)\nwhile True: write_record(file, record)"
    )
    writer = subprocess.Popen([sys.executable, "-c", code, store.file(spec)], stdout=subprocess.PIPE)
    seen = set()
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"begun\n"
        for _ in range(bench.pick(200, 500)):
            with bench.trial("concurrency", "a record read while another process writes it"):
                assert store.record(spec) == record
            seen.add(store.file(spec).stat().st_ino)
        assert len(seen) > 1  # it was being written
    finally:
        writer.kill()
        writer.wait()
    assert json.loads(store.file(spec).read_text())["id"] == spec.id
