"""Storage that is full, read only or damaged: a clear error, nothing half-written, nothing false shown."""

import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file
from test_numbers import images, noise, own_profile
from test_sweep import Stop, stopping
from tiny import dense, pruned, recipe
from torch import nn
from typer.testing import CliRunner, Result

from pat import load_pruned, read_notes
from pat.cli import app
from pat.files import paths
from pat.latency import timing
from pat.study.experiments.evidence import Evidence
from pat.study.plan.profile import load_profile
from pat.study.plan.spec import Spec
from pat.study.report import facts
from pat.study.runs import latency_tables as tables
from pat.study.runs import run as runs
from pat.study.runs.run import run
from pat.study.runs.sweep import sweep
from pat.study.store import Published, Store
from pat.study.store.measured import read_table
from pat.study.store.publishing import publish
from pat.study.store.record import DamagedRecord, Record, read_record
from pat.training import checkpoint, models
from pat.training.checkpoint import DamagedCheckpoint
from pat.training.data import load_manifest, open_dataset

if TYPE_CHECKING:
    from conftest import Tally

MINE = ("--profile", "mine")
PRUNED = ("run", *MINE, "--ratio", "0.5", "--prune-epoch", "1")
SAFE = "all that was finished is kept, the same command goes on once "
SHORT: dict[str, Any] = {"epochs": 4, "batch_size": 747}


def pat(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def files(folder: Path) -> dict[str, bytes]:
    """What a folder holds, locks aside."""
    found = [p for p in folder.rglob("*") if p.is_file() and p.suffix != ".lock" and p.name != "lock"]
    return {str(p.relative_to(folder)): p.read_bytes() for p in found}


def assert_told(result: Result, named: Path, why: str) -> None:
    """Exit code 1 and one line that names the path, says why, and what is safe."""
    assert result.exit_code == 1, (result.output, result.exception)
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("pat: ")
    assert str(named) in lines[0]
    assert why in lines[0]
    assert SAFE in lines[0]


@dataclass
class Disk:
    """A small file system of its own, which can be full or read only."""

    root: Path

    def fill(self, leave: int = 0) -> None:
        """Leave so many bytes free."""
        free = os.statvfs(self.root)
        room = free.f_bavail * free.f_frsize - leave
        if room > 0:
            (self.root / "filler").write_bytes(bytes(room))

    def empty(self) -> None:
        """Make room again."""
        (self.root / "filler").unlink(missing_ok=True)

    @contextmanager
    def read_only(self) -> Iterator[None]:
        subprocess.run(["mount", "-o", "remount,ro", self.root], check=True, capture_output=True)
        try:
            yield
        finally:
            subprocess.run(["mount", "-o", "remount,rw", self.root], check=True, capture_output=True)


@contextmanager
def mounted(root: Path, options: str) -> Iterator[Disk]:
    """A tmpfs, or a skipped test where none can be mounted."""
    root.mkdir()
    try:
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", root], check=True, capture_output=True, text=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no tmpfs can be mounted here: {getattr(error, 'stderr', None) or error}".strip())
    try:
        yield Disk(root)
    finally:
        subprocess.run(["umount", "-l", root], check=False, capture_output=True)


def small_profile(folder: Path) -> None:
    """Three epochs of one step, one dense run and one that is pruned."""
    own_profile(folder, recipe={"epochs": 3, "batch_size": 747}, sweeps={"study": [
        {"architecture": "resnet8-basic", "criterion": "gradient", "ratios": [0.5], "epochs": [1],
         "seeds": [0]}
    ]})  # fmt: skip


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Another working directory."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory with a small profile."""
    monkeypatch.chdir(tmp_path)
    small_profile(tmp_path)
    return tmp_path


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Eight megabytes."""
    with mounted(tmp_path / "disk", "size=8m") as made:
        yield made


@contextmanager
def small_files(limit: int) -> Iterator[None]:
    """No file may grow over the limit; what a quota or another file system does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Record:
    """The record that the command leaves where nothing is in the way."""
    folder = tmp_path_factory.mktemp("undisturbed")
    small_profile(folder)
    with inside(folder):
        assert pat(*PRUNED).exit_code == 0
    (record,) = Store(folder / "runs").records()
    return record


# Full


@contextmanager
def full_at(disk: Disk, kind: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fill the disk right before a run writes a certain file."""

    def filling(function: Callable[..., Any], wanted: Callable[..., bool]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            if wanted(*arguments):
                disk.fill()
            return function(*arguments, **options)

        return wrapped

    with monkeypatch.context() as patch:
        named = kind + ".ckpt"
        patch.setattr(checkpoint, "save", filling(checkpoint.save, lambda path, state: path.name == named))
        if kind == "model":
            patch.setattr(runs, "save_pruned", filling(runs.save_pruned, lambda *given: True))
        if kind == "record":
            patch.setattr(Store, "write", filling(Store.write, lambda store, record: True))
        yield


KINDS = {
    "0001": "0001.ckpt",
    "model": "model.safetensors",
    "scores": "scores.ckpt",
    "record": "record.json",
    "0002": "0002.ckpt",
    "0003": "0003.ckpt",
}


def test_a_disk_that_is_full_while_a_run_is_kept(
    bench: "Tally", here: Path, expected: Record, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = (*PRUNED, "--store", "disk/runs")
    root = disk.root / "runs"
    for kind in list(KINDS)[: bench.pick(4, 6)]:
        shutil.rmtree(root, ignore_errors=True)
        with bench.trial("storage", f"disk full when a run writes its {KINDS[kind].lstrip('0123')}"):
            with full_at(disk, kind, monkeypatch):
                assert_told(pat(*command), Path("disk/runs", expected.id), "No space left on device; ")
            assert KINDS[kind] not in [file.name for file in root.rglob("*")]
            assert list(root.rglob("*.part")) == []
            assert pat("status", "--store", "disk/runs").exit_code == 0
            assert_told(pat(*command), Path("disk/runs"), "cannot write to disk/runs: No space left")
            disk.empty()
            again = pat(*command)
            assert again.exit_code == 0, again.output
            assert "epoch 1/3" not in again.output or kind == "0001"  # it went on
            (record,) = Store(root).records()
            assert record.same_outcome(expected)
            assert list(root.rglob("*.part")) == list(root.rglob("*.damaged*")) == []


def test_a_disk_with_too_little_room(bench: "Tally", here: Path, expected: Record, disk: Disk) -> None:
    """Wherever the room ends, also while a sweep is under way."""
    draw = random.Random(2)
    root = disk.root / "runs"
    for trial in range(bench.pick(2, 20)):
        shutil.rmtree(root, ignore_errors=True)
        command = (*PRUNED, "--store", "disk/runs")
        if trial % 2:
            command = ("sweep", *MINE, "--jobs", "1", "--store", "disk/runs")
        with bench.trial("storage", "a disk with too little room for a run or a sweep"):
            disk.fill(leave=draw.randrange(8_000, 300_000))
            ended = pat(*command)
            assert ended.exit_code in (0, 1)
            if ended.exit_code:
                assert_told(ended, Path("disk/runs"), "No space left on device; ")
            disk.empty()
            assert pat(*command).exit_code == 0
            record = Store(root).record(expected.spec)
            assert record is not None
            assert record.same_result(expected)
            assert list(root.rglob("*.part")) == []


def test_a_sweep_on_a_full_disk_stops_rather_than_train_for_nothing(
    bench: "Tally", here: Path, disk: Disk
) -> None:
    """In worker processes too (long)."""
    grid = [dense(seed=seed, recipe=recipe(**SHORT)) for seed in range(4)]
    for jobs in (1, 2)[: bench.pick(1, 2)]:
        with bench.trial("storage", "a sweep whose disk is full: no other run is begun"):
            own_profile(here, recipe={"epochs": 3, "batch_size": 747}, sweeps={"study": [
                {"architecture": "resnet8-basic", "criterion": "gradient", "ratios": [0.5], "epochs": [1],
                 "seeds": list(range(len(grid)))}
            ]})  # fmt: skip
            disk.fill(leave=60_000)
            ended = pat("sweep", *MINE, "--jobs", str(jobs), "--store", "disk/runs")
            assert_told(ended, Path("disk/runs"), "could not be kept: cannot write ")
            assert len(list((disk.root / "runs").iterdir())) <= jobs
            disk.empty()
            shutil.rmtree(disk.root / "runs")


def test_a_disk_without_room_for_another_file(bench: "Tally", here: Path, expected: Record) -> None:
    failed = 0
    for inodes in range(2, 2 + bench.pick(3, 9)):
        with (
            bench.trial("storage", "a disk that takes no more files"),
            mounted(here / f"disk{inodes}", f"size=8m,nr_inodes={inodes}") as disk,
        ):
            ended = pat(*PRUNED, "--store", f"disk{inodes}/runs")
            if ended.exit_code or inodes < 5:
                failed += 1
                assert_told(ended, Path(disk.root.name), "No space left on device; ")
            else:  # enough for all of a run's files
                assert [record.same_outcome(expected) for record in Store(disk.root / "runs").records()] == [
                    True
                ]
            assert list(disk.root.rglob("*.part")) == []
    assert failed >= bench.pick(3, 5)


def test_files_that_may_not_grow(bench: "Tally", here: Path, expected: Record) -> None:
    """A limit on their size, as of a quota: the commands that write, in this process and in a child."""
    for limit in (1, 1_000, 5_000, 50_000)[-bench.pick(1, 4) :]:
        with bench.trial("storage", "files that may not grow over 1 to 50,000 bytes"):
            with small_files(limit):
                ended = pat(*PRUNED)
            assert_told(ended, Path("runs") / (expected.id if limit > 1 else ""), "File too large; ")
            assert list((here / "runs").rglob("*.part")) == []
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)),) * 2); "
        "from pat.cli import main; main()"
    )

    def child(limit: int, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, str(limit), *arguments]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ended.returncode == 1, ended.stderr
        assert ended.stderr.count("\n") == 1, ended.stderr
        assert SAFE in ended.stderr
        return ended

    for limit in (40_000, 100, 3_000)[: bench.pick(0, 3)]:
        with bench.trial("storage", "the same in a process of its own"):
            said = child(limit, *PRUNED).stderr
            assert said.startswith(f"pat: cannot write runs/{expected.id}/epochs/0001.ckpt: File too large; ")
    with bench.trial("storage", "the same command where files may grow again"):
        assert pat(*PRUNED).exit_code == 0
        assert Store(here / "runs").records()[0].same_outcome(expected)
    for limit in (1_000, 10)[: bench.pick(1, 2)]:  # a process that needs no torch starts soon
        with bench.trial("storage", "the same in a process of its own"):
            said = child(limit, "results", "publish").stderr
            assert said.startswith(f"pat: cannot write results/mine/{expected.id}.json: File too large; ")
            assert list((here / "results").rglob("*.*")) == []


def test_a_disk_that_is_full_while_records_are_published(bench: "Tally", here: Path, disk: Disk) -> None:
    """After every number of records, and at the table."""
    source = Store(here / "runs")
    records = [run(dense(seed=seed, recipe=recipe(epochs=2, batch_size=747)), source) for seed in range(3)]
    publish(records, here / "expected")
    failed = 0
    for pages in range(bench.pick(5, 9)):
        with bench.trial("storage", "disk full when records and their table are published"):
            (disk.root / "results" / "tiny").mkdir(parents=True)
            disk.fill(leave=4096 * pages)
            ended = pat("results", "publish", "--target", "disk/results")
            if ended.exit_code:
                failed += 1
                assert_told(ended, Path("disk/results"), "No space left on device; ")
            for file in (disk.root / "results" / "tiny").iterdir():
                assert read_record(file) in records
            disk.empty()
            assert pat("results", "publish", "--target", "disk/results").exit_code == 0
            assert files(disk.root / "results") == files(here / "expected")
            shutil.rmtree(disk.root / "results")
    assert failed >= 4


def test_a_disk_that_is_full_while_data_are_added_or_cached(bench: "Tally", here: Path, disk: Disk) -> None:
    images(here / "data" / "pets", {"ant": 12, "bee": 12}, noise)
    for pages in range(2):
        with bench.trial("storage", "disk full when a data set is described"):
            (disk.root / "manifests").mkdir()
            disk.fill(leave=4096 * pages)
            ended = pat("data", "add", "data/pets", "--out", "disk/manifests")
            assert_told(ended, Path("disk/manifests"), "No space left on device; ")
            assert not (disk.root / "manifests" / "pets.yaml").exists()
            assert list((disk.root / "manifests").glob(".*")) == []
            disk.empty()
            assert pat("data", "add", "data/pets", "--out", "disk/manifests").exit_code == 0
            assert load_manifest(disk.root / "manifests" / "pets.yaml").num_classes == 2
            shutil.rmtree(disk.root / "manifests")
    assert pat("data", "add", "data/pets").exit_code == 0
    shutil.copytree(here / "data", disk.root / "data")
    manifest = load_manifest("pets")

    def batch() -> torch.Tensor:
        dataset = open_dataset(manifest, root=disk.root / "data", device="cpu")
        return next(iter(dataset.eval_batches("validation", batch_size=9)))[0]

    with bench.trial("storage", "disk full when decoded images are cached: it costs time only"):
        disk.fill()
        first = batch()
        assert files(disk.root / "data" / ".pat-cache") == {}
        disk.empty()
        assert torch.equal(batch(), first)
        (cache,) = (disk.root / "data" / ".pat-cache").iterdir()
    draw = random.Random(3)
    whole = cache.read_bytes()
    for trial in range(bench.pick(20, 200)):
        with bench.trial("storage", "damaged cache of decoded images: decoded again"):
            cache.write_bytes(damaged(whole, draw, trial))
            assert torch.equal(batch(), first)


def test_a_disk_that_is_full_when_a_latency_table_is_kept(
    bench: "Tally", here: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = timing.measure
    quick = {"repeats": 1, "points": 2, "time_layer": lambda *cell: 1e-3}
    monkeypatch.setattr(timing, "measure", lambda *given, **how: real(*given, **how | quick))
    measure = tables._measure

    def measured_meanwhile(*arguments: Any) -> Any:
        found = measure(*arguments)
        disk.fill()
        return found

    command = ("latency", *MINE, "--store", "disk/runs")
    with bench.trial("storage", "disk full when a latency table is kept"):
        with monkeypatch.context() as patch:
            patch.setattr(tables, "_measure", measured_meanwhile)
            assert_told(pat(*command), Path("disk/runs/measured/latency/mine"), "No space left on device; ")
        assert [name for name in files(disk.root) if "measured" in name] == []
        disk.empty()
        assert pat(*command).exit_code == 0
    (table,) = (disk.root / "runs" / "measured" / "latency" / "mine").glob("*.json")
    content = table.read_bytes()
    with bench.trial("storage", "a latency table in a store that is read only"), disk.read_only():
        assert pat(*command).exit_code == 0
    draw = random.Random(4)
    for trial in range(bench.pick(10, 100)):
        with bench.trial("storage", "damaged latency table"):
            bad = damaged(content, draw, trial)
            table.write_bytes(bad)
            shown = pat(*command)
            if shown.exit_code == 0:  # such as 1E-05 for 1e-05
                assert read_table(table).to_json().encode() == content
            else:
                assert (shown.exit_code, shown.stderr.count("\n")) == (2, 1)
                assert table.name in shown.stderr
            assert table.read_bytes() == bad


# Read only


@contextmanager
def nobody() -> Iterator[None]:
    """Without the rights of root, for whom no folder is read only."""
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def finished_store(root: Path) -> list[Record]:
    """A store in which the small sweep, and one run of it, is done."""
    assert pat("sweep", *MINE, "--jobs", "1", "--store", str(root)).exit_code == 0
    return Store(root).records()


def check_read_only(bench: "Tally", here: Path, store: Path, records: list[Record], why: str) -> None:
    """All that reads works; what would train says so before it does."""
    at = ("--store", str(store))
    reading: dict[str, tuple[str, ...]] = {
        "status": ("status", *at),
        "results table": ("results", "table", *at),
        "results table --csv": ("results", "table", "--csv", *at),
        "show": ("show", records[0].id[:12], *at),
        "a sweep that is done": ("sweep", *MINE, "--jobs", "1", *at),
        "a run that is done": (*PRUNED, *at),
        "results publish": ("results", "publish", *at, "--target", str(here / "results")),
    }
    before = files(store)
    for name, command in reading.items():
        with bench.trial("storage", f"read-only store: {name}"):
            shown = pat(*command)
            assert shown.exit_code == 0, (name, shown.output, shown.exception)
            assert shown.stderr == ""
    with bench.trial("storage", "read-only store: the evidence of the claims"):
        assert {r.id for r in Evidence(load_profile("mine"), "study", Store(store)).records} == {
            r.id for r in records
        }
    lacking: dict[str, tuple[str, ...]] = {
        "a run that is not there": ("run", *MINE, "--seed", "5", *at),
        "a sweep of which runs are missing": ("sweep", *MINE, "--preset", "more", "--jobs", "1", *at),
    }
    for name, command in lacking.items():
        with bench.trial("storage", f"read-only store: {name}, told before any training"):
            shown = pat(*command)
            assert_told(shown, store, why)
            assert "cannot write to" in shown.stderr
            assert "epoch 1/" not in shown.output
    assert files(store) == before


def more_runs(here: Path) -> None:
    cells = {"architecture": "resnet8-basic", "criterion": "gradient", "ratios": [0.5]}
    own_profile(here, recipe={"epochs": 3, "batch_size": 747}, sweeps={
        "study": [cells | {"epochs": [1], "seeds": [0]}], "more": [cells | {"epochs": [0, 1], "seeds": [0]}]
    })  # fmt: skip


def test_a_store_that_is_mounted_read_only(bench: "Tally", here: Path, disk: Disk) -> None:
    more_runs(here)
    store = disk.root / "runs"
    records = finished_store(store)
    with disk.read_only():
        check_read_only(bench, here, store, records, "Read-only file system; ")
    file = Store(store).file(records[0].spec)
    content = file.read_bytes()
    draw = random.Random(5)
    for trial in range(bench.pick(3, 20)):
        with bench.trial("storage", "read-only store with a damaged record: the others are shown"):
            bad = damaged(content, draw, trial)
            file.write_bytes(bad)
            with disk.read_only():
                shown = pat("results", "table", "--store", str(store))
                assert shown.exit_code == 0
                assert str(file) in shown.stderr
                assert "it is not used, and cannot be set aside: Read-only file system" in shown.stderr
                assert records[0].id[:12] not in shown.stdout
                assert records[1].id[:12] in shown.stdout
                swept = pat("sweep", *MINE, "--jobs", "1", "--store", str(store))
                assert swept.exit_code == 1
                assert "cannot write to" in swept.stderr
            assert file.read_bytes() == bad


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can put on another user")
def test_a_store_of_another_user(bench: "Tally", here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    more_runs(here)
    place = Path(tempfile.mkdtemp())
    try:
        place.chmod(0o755)
        store = place / "runs"
        records = finished_store(store)
        shutil.copytree(here / "profiles", place / "profiles")
        (place / "open").mkdir(mode=0o777)
        (place / "open").chmod(0o777)
        monkeypatch.chdir(place)
        with nobody():
            check_read_only(bench, place / "open", store, records, "Permission denied; ")
    finally:
        monkeypatch.chdir(here)
        shutil.rmtree(place)


# Damaged


def damaged(content: bytes, draw: random.Random, trial: int) -> bytes:
    """Another content of a file: flipped bits, cut, emptied, with more behind it, zeros in it, or garbage."""
    bad = bytearray(content)
    kind = ("flip", "flip", "cut", "flips", "append", "zeros", "garbage", "empty")[trial % 8]
    if kind == "flip":
        bad[draw.randrange(len(bad))] ^= 1 << draw.randrange(8)
    elif kind == "flips":
        for _ in range(draw.randrange(2, 50)):
            bad[draw.randrange(len(bad))] ^= draw.randrange(1, 256)
    elif kind == "cut":
        del bad[draw.randrange(1, len(bad)) :]
    elif kind == "append":
        bad += draw.randbytes(draw.randrange(1, 5000))
    elif kind == "zeros":
        start = draw.randrange(len(bad) - 16)
        end = min(len(bad), start + 4096)
        bad[start:end] = bytes(end - start)
    elif kind == "garbage":
        bad = bytearray(draw.randbytes(len(bad)))
    else:
        bad.clear()
    return bytes(bad) if bytes(bad) != content else b""


@dataclass
class Interrupted:
    """A run that was stopped in its last epoch, and what it comes to."""

    spec: Spec
    store: Store
    expected: Record
    model: dict[str, torch.Tensor]
    other: Spec

    def checkpoint(self, epochs: int = 3) -> Path:
        return self.store.checkpoint_path(self.spec, epochs)


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Interrupted:
    spec, other = (pruned(1, seed=seed, recipe=recipe(**SHORT)) for seed in (0, 1))
    whole, store = (Store(tmp_path_factory.mktemp(name)) for name in ("whole", "stopped"))
    for each in (spec, other):
        with suppress(Stop):
            run(each, store, keep=(1, 2), watcher=stopping(3))
    expected = run(spec, whole)
    return Interrupted(spec, store, expected, load_file(model_of(whole, spec)), other)


def model_of(store: Store, spec: Spec) -> Path:
    return store.folder(spec) / "model.safetensors"


def replacements(run: Interrupted) -> dict[str, bytes]:
    """Checkpoints that are whole, and not this one."""
    from_run = {
        "another epoch's": run.checkpoint(2).read_bytes(),
        "another run's": run.store.checkpoint_path(run.other, 3).read_bytes(),
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "a.ckpt"
        states: dict[str, Any] = {"empty": {}, "a list's": [], "a model's": {"model": torch.zeros(3)}}
        for name, state in states.items():
            checkpoint.save(file, state)
            from_run[name] = file.read_bytes()
    return from_run


def test_damaged_checkpoints(
    bench: "Tally", interrupted: Interrupted, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """At least 100: found, set aside, named; the one before is used; some runs go on to their end."""
    store, spec = interrupted.store, interrupted.spec
    file = interrupted.checkpoint()
    whole = file.read_bytes()
    others = replacements(interrupted)
    draw = random.Random(6)
    variants = bench.pick(100, 400)
    resumed = bench.pick(4, 30)
    for trial in range(variants):
        name, bad = "bits and lengths", damaged(whole, draw, trial)
        if trial % 5 == 4:
            name = draw.choice(list(others))
            bad = others[name]
            assert bad != whole
        what = "checkpoint that is another run's or epoch's" if name in others else "damaged checkpoint"
        try:
            with bench.trial("storage", what):
                file.write_bytes(bad)
                assert store.load_checkpoint(spec, 3) is None
                said = capsys.readouterr().err
                assert said.count("\n") == 1
                assert str(file) in said
                aside = file.with_name(f"{file.name}.damaged-1")
                assert aside.read_bytes() == bad
                assert aside.name in said
                assert store.checkpoints(spec)[-1] == 2
                assert store.load_checkpoint(spec, 2) is not None
            if trial % (variants // resumed) == 0 and trial // (variants // resumed) < resumed:
                with bench.trial("storage", f"{what}: the run ends as if nothing had been"):
                    copy = Store(tmp_path / f"{trial}")
                    shutil.copytree(store.folder(spec), copy.folder(spec))
                    aside_copy = copy.folder(spec) / "epochs" / aside.name
                    aside_copy.rename(copy.checkpoint_path(spec, 3))
                    if trial % 3 == 2:  # the one before as well
                        copy.checkpoint_path(spec, 2).write_bytes(damaged(whole, draw, trial))
                    record = run(spec, copy)
                    assert record.same_outcome(interrupted.expected)
                    weights = load_file(model_of(copy, spec))
                    assert weights.keys() == interrupted.model.keys()
                    assert all(
                        torch.equal(weights[name], tensor) for name, tensor in interrupted.model.items()
                    )
                    assert str(copy.checkpoint_path(spec, 3)) in capsys.readouterr().err
                    shutil.rmtree(copy.root)
        finally:
            file.with_name(f"{file.name}.damaged-1").unlink(missing_ok=True)
            file.write_bytes(whole)


def test_damaged_checkpoints_of_the_run_that_others_start_from(
    bench: "Tally", tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A branch takes nothing damaged, and no other run's: the sweep trains the dense run up to it again."""
    trunk, other = (dense(seed=seed, recipe=recipe(**SHORT)) for seed in (0, 1))
    branch = pruned(2, recipe=recipe(**SHORT))
    store = Store(tmp_path / "runs")
    run(trunk, store, keep=(2,))
    run(other, store, keep=(2,))
    expected = run(branch, Store(tmp_path / "whole"), branch=False)
    file = store.checkpoint_path(trunk, 2)
    whole = file.read_bytes()
    draw = random.Random(7)
    for trial in range(bench.pick(1, 12)):
        with bench.trial("storage", "damaged checkpoint of a dense run from which others start"):
            foreign = store.checkpoint_path(other, 2).read_bytes()
            file.write_bytes(foreign if trial % 3 == 0 else damaged(whole, draw, trial))
            (record,) = sweep([branch], store)
            assert record.same_result(expected)
            assert record.trunk == trunk.id
            assert str(file) in capsys.readouterr().err
            assert run(trunk, store).trunk is None
            shutil.rmtree(store.folder(branch))


def test_damaged_scores_and_models(bench: "Tally", tmp_path: Path) -> None:
    """What reads them notices."""
    spec = pruned(1, recipe=recipe(epochs=2, batch_size=747))
    store = Store(tmp_path / "runs")
    run(spec, store)
    scores, model = store.folder(spec) / "scores.ckpt", model_of(store, spec)
    whole = {file: file.read_bytes() for file in (scores, model)}
    build = partial(models.build, spec.architecture, num_classes=10, in_channels=1, image_size=8)
    good: nn.Module = load_pruned(build(), model)
    draw = random.Random(8)
    for trial in range(bench.pick(16, 120)):
        with bench.trial("storage", "damaged scores of a finished run"):
            scores.write_bytes(damaged(whole[scores], draw, trial))
            with pytest.raises(DamagedCheckpoint, match=r"scores\.ckpt"):
                checkpoint.load(scores)
        with bench.trial("storage", "damaged model of a finished run"):
            model.write_bytes(damaged(whole[model], draw, trial))
            try:
                read = load_pruned(build(), model)
            except ValueError as error:
                assert "model.safetensors" in str(error)  # noqa: PT017
            else:  # a bit of its notes
                assert all(map(torch.equal, read.state_dict().values(), good.state_dict().values()))
    start = whole[model].index(b"__metadata__")
    stop = whole[model].index(b"}", start) + 1
    for position in range(start, stop, bench.pick(8, 1)):
        with bench.trial("storage", "damaged notes of a finished run's model"):
            bad = bytearray(whole[model])
            bad[position] ^= 1 << draw.randrange(8)
            model.write_bytes(bad)
            try:
                load_pruned(build(), model)
                notes = read_notes(model)
            except ValueError as error:
                assert "model.safetensors" in str(error)  # noqa: PT017
            else:
                assert notes["spec"] == spec.id


def edited(content: bytes, draw: random.Random, trial: int) -> bytes:
    """A record that still is one, with something else in it."""
    tree = json.loads(content)
    kind = ("accuracy", "status", "cost", "history", "seed", "epoch", "number")[trial % 7]
    if kind == "accuracy":
        tree["result"]["test_accuracy"] = round(draw.uniform(0, 100), 2)
    elif kind == "status":
        tree["status"] = "collapsed"
    elif kind == "cost":
        tree["cost"] = tree["cost"] | {"macs": tree["cost"]["macs"] // 2}
    elif kind == "history":
        tree["history"].pop(draw.randrange(len(tree["history"])))
    elif kind == "seed":
        tree["spec"]["seed"] += 1
    elif kind == "epoch":
        tree["history"][0]["validation_accuracy"] += 1
    else:
        tree["provenance"]["seconds"] = draw.random()
    return json.dumps(tree, separators=(",", ":")).encode() + b"\n"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Record]]:
    """A folder with a profile and a store, and the records in it."""
    folder = tmp_path_factory.mktemp("finished")
    own_profile(folder, recipe={"epochs": 2}, sweeps={"study": [
        {"architecture": "resnet8-basic", "criterion": "gradient", "ratios": [0.5], "epochs": [0],
         "seeds": [0]}
    ]})  # fmt: skip
    with inside(folder):
        assert pat("sweep", *MINE, "--jobs", "1").exit_code == 0
    return folder, Store(folder / "runs").records()


def broken(content: bytes, records: list[Record], other: bytes, draw: random.Random, trial: int) -> bytes:
    """A record that is none any more."""
    if trial % 10 == 9:
        return other
    return edited(content, draw, trial) if trial % 3 == 2 else damaged(content, draw, trial)


def still_the_same(file: Path, record: Record) -> bool:
    """Whether damage changed no more than how a number is written, such as 1E-05 for 1e-05."""
    try:
        return read_record(file) == record
    except DamagedRecord:
        return False


def test_damaged_records_of_a_working_store(
    bench: "Tally",
    finished: tuple[Path, list[Record]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Set aside and named wherever the store is read, and the others shown."""
    folder, records = finished
    monkeypatch.chdir(folder)
    store = Store(folder / "runs")
    victim, healthy = records
    file = store.file(victim.spec)
    whole, other = file.read_bytes(), store.file(healthy.spec).read_bytes()
    profile = load_profile("mine")
    short = victim.id[:12]
    draw = random.Random(9)

    def by_command(*arguments: str) -> str:
        shown = pat(*arguments)
        assert shown.exit_code == 0
        assert short not in shown.stdout
        return shown.stderr

    def by_function(read: Callable[[], list[Record]]) -> str:
        capsys.readouterr()
        assert read() == [healthy]
        return capsys.readouterr().err

    readers: list[Callable[[], str]] = [
        lambda: by_function(store.records),
        lambda: by_command("results", "table"),
        lambda: by_command("results", "table", "--csv"),
        lambda: by_function(lambda: list(Evidence(profile, "study", store).records)),
        lambda: by_command("results", "publish", "--target", "fresh"),
        lambda: by_command("status"),
    ]
    for trial in range(bench.pick(50, 300)):
        with bench.trial("storage", "damaged record of a working store"):
            file.write_bytes(broken(whole, records, other, draw, trial))
            if still_the_same(file, victim):
                continue
            said = readers[trial % len(readers)]()
            assert said.count("\n") == 1
            assert victim.id in said
            assert not file.exists()
            aside = file.with_name("record.json.damaged-1")
            assert aside.name in said
            aside.unlink()
            shutil.rmtree(folder / "fresh", ignore_errors=True)
    file.write_bytes(whole)


def test_damaged_published_records(
    bench: "Tally",
    finished: tuple[Path, list[Record]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nothing is shown of a published store with a damaged record; each reader names the file."""
    folder, records = finished
    monkeypatch.chdir(folder)
    root = tmp_path / "results"
    publish(records, root)
    store = Published(root)
    victim, healthy = records
    file = store.file(victim.spec)
    whole, other = file.read_bytes(), store.file(healthy.spec).read_bytes()
    profile = load_profile("mine")
    (tmp_path / "book").mkdir()
    texts = ["claims.yaml", "paper_values.yaml"]
    for name in texts:
        shutil.copy(paths.BOOK / name, tmp_path / "book")
    draw = random.Random(10)

    def by_command(*arguments: str) -> str:
        shown = pat(*arguments)
        assert shown.exit_code == 2
        assert shown.stdout == ""
        assert shown.stderr.count("\n") == 1
        return shown.stderr

    def by_function(read: Callable[[], object]) -> str:
        with pytest.raises(DamagedRecord) as caught:
            read()
        return str(caught.value)

    def by_facts(*profiles: str) -> str:
        capsys.readouterr()
        options = ["--store", str(root), "--book", str(tmp_path / "book"), "--profile", *profiles]
        assert facts.main(options) == 2
        assert sorted(path.name for path in (tmp_path / "book").iterdir()) == texts
        return capsys.readouterr().err

    readers: list[Callable[[], str]] = [
        lambda: by_function(store.records),
        lambda: by_function(lambda: store.record(victim.spec)),
        lambda: by_command("results", "table", "--store", str(root)),
        lambda: by_command("status", "--store", str(root)),
        lambda: by_function(lambda: Evidence(profile, "study", store).records),
        lambda: by_facts("mine"),
        lambda: by_command("sweep", *MINE, "--store", str(root)),
        lambda: by_command("results", "publish", "--target", str(root)),
    ]
    for trial in range(bench.pick(40, 240)):
        with bench.trial("storage", "damaged record of a published store"):
            bad = broken(whole, records, other, draw, trial)
            file.write_bytes(bad)
            if still_the_same(file, victim):
                continue
            assert victim.id in readers[trial % len(readers)]()
            assert file.read_bytes() == bad
    file.write_bytes(whole)


def test_output_that_cannot_be_written(bench: "Tally", finished: tuple[Path, list[Record]]) -> None:
    """A table that is sent to a full disk says so, and does not end as if it had been written."""
    folder, _ = finished
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    for command in (["status"], ["results", "table"], ["results", "table", "--csv"])[: bench.pick(1, 3)]:
        with bench.trial("storage", "output to a full disk"), Path("/dev/full").open("w") as full:
            ended = subprocess.run(
                [sys.executable, "-m", "pat.cli", *command],
                cwd=folder, stdout=full, stderr=subprocess.PIPE, text=True, check=False,
            )  # fmt: skip
            assert ended.returncode != 0
            assert "Traceback" not in ended.stderr
            assert "No space left on device" in ended.stderr
