"""The same command gives the same record, and a record can be made anew from itself."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import Tally
from tiny import dense, pruned, recipe
from typer.testing import CliRunner

from pat.cli import app
from pat.files import paths
from pat.rivals.prunetrain import PruneTrainSettings
from pat.study.plan.profile import load_profile
from pat.study.plan.spec import EPI, METHOD_VERSION, LatencyAware, Pruning, Spec, Variation
from pat.study.runs import latency_tables as tables
from pat.study.runs.run import run
from pat.study.runs.sweep import How, sweep
from pat.study.runs.verifying import find, verify
from pat.study.store import Published, Store
from pat.study.store.comparing import differences, surroundings
from pat.study.store.publishing import publish, publish_measurements
from pat.study.store.record import Record, hardware, provenance, read_record, write_record

SHORT = recipe(epochs=3, batch_size=249)
TINY = ["--profile", "tiny", "--architecture", "resnet8-basic", "--ratio", "0.5", "--prune-epoch", "2"]


def ticket(**changes: Any) -> Spec:
    plain = pruned(1, recipe=SHORT).pruning
    assert plain is not None
    return dense(recipe=SHORT, pruning=plain.model_copy(update={"rewind": 0, **changes}))


def by_epi() -> Spec:
    policy = EPI(threshold=0.0, look_back=1, patience=0)
    return dense(recipe=SHORT, pruning=Pruning(criterion="gradient", ratio=0.5, policy=policy))


KINDS = {
    "a dense run": dense(recipe=SHORT),
    "a run that branched from a dense one": pruned(2, recipe=SHORT),
    "a run pruned by EPI": by_epi(),
    "a lottery ticket": ticket(),
    "another mask of the same structure": ticket(variation=Variation(kind="same", draw=1)),
    "a pretrained network": pruned(0, recipe=SHORT, pretrained=True),
    "PruneTrain": dense(recipe=SHORT, method=PruneTrainSettings(share=0.4, interval=1, threshold=0.02)),
    "a run that fails": pruned(1, recipe=recipe(learning_rate=1e30)),
    "a run that collapses": pruned(1, "magnitude", 0.95, recipe=SHORT),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Every kind of run, branches as branches."""
    made = Store(tmp_path_factory.mktemp("made"))
    sweep(list(KINDS.values()), made)
    return made


def known(store: Store, spec: Spec) -> Record:
    record = store.record(spec)
    assert record is not None
    return record


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_can_be_made_anew(bench: Tally, kind: str, store: Store, tmp_path: Path) -> None:
    record = known(store, KINDS[kind])
    with bench.trial("reproducibility", "a record made anew from itself"):
        found = verify(record, store.root, Store(tmp_path))
        assert found.differences == []
        assert found.own.same_result(record)
        assert found.own.provenance.date >= record.provenance.date


def test_the_branch_was_one(store: Store) -> None:
    assert known(store, KINDS["a run that branched from a dense one"]).trunk == dense(recipe=SHORT).id


def test_a_latency_aware_record_takes_its_table_along(
    bench: Tally, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "_BUDGET", 0.1)  # any times will do
    profile, own = load_profile("smoke"), Store(tmp_path / "own")
    aware = LatencyAware(weight=0.05, table=tables.table_of(profile, own).checksum)
    plain = pruned(1).pruning
    assert plain is not None
    pruning = plain.model_copy(update={"latency": aware})
    record = run(profile.spec(recipe=profile.recipe.model_copy(update={"epochs": 2}), pruning=pruning), own)
    publish([record], tmp_path / "results")
    publish_measurements(own.root, tmp_path / "results")
    with bench.trial("reproducibility", "a record made anew from itself"):
        anew, origin = find(record.id[:10], tmp_path / "results")
        assert verify(anew, origin, Store(tmp_path / "scratch")).differences == []
    with pytest.raises(ValueError, match=r"no latency table with checksum [0-9a-f]{12}"):
        verify(anew, tmp_path / "nowhere", Store(tmp_path / "other"))


CHANGES = {
    "result, test_accuracy": lambda r: {"result": r.result.model_copy(update={"test_accuracy": 99.9})},
    "epoch 1, loss": lambda r: {
        "history": (r.history[0], r.history[1].model_copy(update={"loss": 0.5}), *r.history[2:])
    },
    "cost, macs": lambda r: {"cost": r.cost.model_copy(update={"macs": 1})},
    "status": lambda r: {"status": "collapsed"},
    "cost": lambda r: {"cost": None},
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_differs_is_named(bench: Tally, what: str, store: Store, tmp_path: Path) -> None:
    record = known(store, dense(recipe=SHORT))
    changed = record.model_copy(update=CHANGES[what](record))
    with bench.trial("reproducibility", "a record with another number in it, made anew"):
        (line,) = differences(changed, record)
        assert line.startswith(f"{what}: ")
        file = tmp_path / f"{record.id}.json"
        write_record(file, changed)  # its checksum fits: only another training can tell
        done = CliRunner().invoke(app, ["verify", str(file), "--scratch", str(store.root)])
        assert done.exit_code == 1
        assert f"DIFFERS {what}: " in done.stdout


def test_a_record_is_not_held_against_itself(store: Store) -> None:
    record = known(store, dense(recipe=SHORT))
    with pytest.raises(ValueError, match="holds the record itself, or published ones: train in another"):
        verify(record, store.root, store)


def test_the_command_verifies_by_id_and_by_file(store: Store, tmp_path: Path) -> None:
    record = known(store, pruned(2, recipe=SHORT))
    arguments = ["verify", record.id[:12], "--store", str(store.root), "--scratch", str(tmp_path / "scratch")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert f"equal to the last digit: status, result, cost, {len(record.history)} epochs" in done.stdout
    by_file = CliRunner().invoke(
        app, ["verify", str(store.file(record.spec)), "--scratch", str(tmp_path / "scratch")]
    )
    assert by_file.exit_code == 0, by_file.output


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("0000", "'0000' is no file, and no run has an id in"),
        ("", "'' is no file, and 10 runs have an id in"),
    ],
)
def test_no_such_record(name: str, message: str, store: Store) -> None:
    done = CliRunner().invoke(app, ["verify", name, "--store", str(store.root)])
    assert done.exit_code == 2
    assert message in done.stderr


def test_another_version_of_the_method_is_not_compared(store: Store, tmp_path: Path) -> None:
    record = known(store, dense(recipe=SHORT))
    other = record.model_copy(update={"spec": dense(recipe=SHORT, method_version=METHOD_VERSION + 1)})
    with pytest.raises(ValueError, match=f"made by version {METHOD_VERSION + 1} of the method"):
        verify(other, store.root, Store(tmp_path))


def test_other_surroundings_are_told(store: Store) -> None:
    made = known(store, dense(recipe=SHORT)).provenance
    other = made.model_copy(update={"packages": {**made.packages, "torch": "0.4"}, "hardware": "an abacus"})
    assert surroundings(made, made) == []
    assert surroundings(other, made) == [
        f"torch: 0.4 then, {made.packages['torch']} now",
        f"hardware: an abacus then, {made.hardware} now",
    ]


def command(folder: Path, *arguments: str, **environment: str) -> Record:
    """One ``pat run`` in an interpreter of its own."""
    (folder / "profiles").mkdir(parents=True)
    shutil.copy(paths.BOOK.parent / "profiles" / "tiny.yaml", folder / "profiles")
    subprocess.run(
        [sys.executable, "-m", "pat.cli", "run", *TINY, *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        check=True,
        capture_output=True,
    )
    (file,) = folder.glob("runs/*/record.json")
    return read_record(file)


def test_the_same_command_twice(bench: Tally, tmp_path: Path) -> None:
    """In other folders, with other hash seeds, threads offered, time zones and languages."""
    with bench.trial("reproducibility", "the same command twice"):
        first = command(tmp_path / "one", PYTHONHASHSEED="1", OMP_NUM_THREADS="1", TZ="UTC")
        second = command(
            *(tmp_path / "two",), PYTHONHASHSEED="2", OMP_NUM_THREADS="2", TZ="Asia/Tokyo", LC_ALL="C.UTF-8"
        )
        assert first.same_outcome(second)


def test_one_process_or_two(bench: Tally, store: Store, tmp_path: Path) -> None:
    if not bench.long:
        pytest.skip("takes the long bench; tests of sweeps hold two processes against single runs")
    specs = [spec for spec in KINDS.values() if spec.experiment in ("dense", "sweep")]
    with bench.trial("reproducibility", "a sweep by one process and by two"):
        for record in sweep(specs, Store(tmp_path), How(jobs=2)):
            assert record.same_outcome(known(store, record.spec)), record.spec.title


def test_another_number_of_threads_is_another_run(bench: Tally, tmp_path: Path) -> None:
    """It rounds differently, so nothing is promised between the two; each is repeatable by itself."""
    two = dense(recipe=SHORT, threads=2)
    with bench.trial("reproducibility", "a run on two threads, twice"):
        first, second = (run(two, Store(tmp_path / name)) for name in ("one", "two"))
        assert first.same_outcome(second)
        assert first.id != dense(recipe=SHORT).id


def test_the_environment_is_in_each_record(store: Store) -> None:
    for record in store.records():
        made = record.provenance
        assert {"pat", "torch", "torchvision", "numpy"} <= made.packages.keys()
        assert all([made.command, made.date, made.python, made.hardware, made.os, *made.packages.values()])
        assert record.spec.threads >= 1
        assert record.spec.device == "cpu"


PUBLISHED = [
    {"experiment": "dense", "architecture": "resnet8-basic"},
    {"experiment": "sweep", "architecture": "mobilenetv1-tiny"},
    {"experiment": "ticket", "architecture": "resnet8-bottleneck"},
    {"experiment": "prunetrain", "architecture": "resnet8-bottleneck"},
]


@pytest.mark.parametrize("wanted", PUBLISHED, ids=lambda wanted: wanted["experiment"])
def test_a_published_record_is_made_anew(bench: Tally, wanted: dict[str, str], tmp_path: Path) -> None:
    """Where processor and versions are those of the record, to the last digit."""
    if not bench.long:
        pytest.skip("takes the long bench")
    root = paths.BOOK.parent / "results"
    records = [
        record
        for record in Published(root).records()
        if record.spec.profile == "digits"
        and all(getattr(record.spec, name) == value for name, value in wanted.items())
    ]
    record = min(records, key=lambda record: record.id)
    here = provenance(seconds=0, device="cpu", command="")
    then = {name: version for name, version in record.provenance.packages.items() if name != "pat"}
    if hardware("cpu") != record.provenance.hardware or not then.items() <= here.packages.items():
        pytest.skip("made on another processor or with other versions")
    with bench.trial("reproducibility", "a published record made anew"):
        assert verify(record, root, Store(tmp_path)).differences == []
