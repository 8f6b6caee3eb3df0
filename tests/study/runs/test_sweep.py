"""Runs and sweeps: each trunk once, in any number of processes, killed or not, to the same records."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from processes import members, servers_forks, wait_for
from safetensors.torch import load_file
from tiny import dense, flip, pruned, recipe, records_by_id

from pat.study.plan.spec import EPI, Neurons, Pruning, RandomEpoch, Spec, Tracking
from pat.study.runs import building
from pat.study.runs import run as runs
from pat.study.runs import sweep as sweeps
from pat.study.runs.building import check
from pat.study.runs.run import Watcher, run
from pat.study.runs.sweep import How, Progress, RunsLost, WorkerLost, plan, sweep
from pat.study.store import Store
from pat.study.store.record import Record
from pat.training import models
from pat.training.epoch import Epoch

EPOCHS = (1, 2, 3)
ONE_SEED = [dense(), *(pruned(p) for p in EPOCHS), pruned(0), pruned(2, "magnitude", 0.3)]
TWO_SEEDS = ONE_SEED + [dense(seed=1), *(pruned(p, seed=1) for p in EPOCHS)]


def singly(specs: list[Spec], store: Store) -> list[Record]:
    """Run after run, each trunk first with the checkpoints that its branches need."""
    return [run(spec, store, keep=() if spec.pruning else EPOCHS) for spec in specs]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Record]:
    """What an undisturbed series of single runs gives."""
    return records_by_id(singly(TWO_SEEDS, Store(tmp_path_factory.mktemp("expected"))))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without processes."""
    monkeypatch.setattr(sweeps, "executor", lambda jobs: ThreadPoolExecutor(1))


def assert_as(expected: dict[str, Record], records: list[Record]) -> None:
    for record in records:
        assert record.same_outcome(expected[record.id]), record.spec.title


def counting() -> tuple[Watcher, list[int]]:
    """A watcher, and the epochs that it sees trained."""
    epochs: list[int] = []
    return Watcher(on_epoch=lambda spec, log: epochs.append(log.epoch)), epochs


class Stop(Exception):
    """An interruption."""


def stopping(after: int) -> Watcher:
    def on_epoch(spec: Spec, log: Epoch) -> None:
        if log.epoch == after:
            raise Stop

    return Watcher(on_epoch=on_epoch)


# One run


def test_a_finished_run_is_not_run_again(store: Store) -> None:
    watcher, epochs = counting()
    first = run(pruned(1), store, watcher=watcher)
    again = run(pruned(1), store, watcher=watcher)
    assert first == again
    assert epochs == [0, 1, 2, 3]


@pytest.mark.parametrize("after", [1, 2, 3])
@pytest.mark.parametrize("branch", [True, False])
def test_an_interrupted_run_goes_on_to_the_same_record(
    after: int, branch: bool, store: Store, expected: dict[str, Record]
) -> None:
    if branch:
        run(dense(), store, keep=(2,))
        if after < 2:
            pytest.skip("the branch starts later")
    whole = run(pruned(2), Store(store.root / "other"))
    with pytest.raises(Stop):
        run(pruned(2), store, watcher=stopping(after))
    assert store.record(pruned(2)) is None
    watcher, epochs = counting()
    resumed = run(pruned(2), store, watcher=watcher)
    assert epochs[0] == after  # the epoch whose checkpoint was not yet written
    assert resumed.same_outcome(expected[resumed.id] if branch else whole)
    assert resumed.trunk == (dense().id if branch else None)
    assert store.checkpoints(pruned(2)) == []


def test_the_time_of_all_starts_is_counted(store: Store) -> None:
    with pytest.raises(Stop):
        run(dense(), store, watcher=stopping(2))
    state = store.load_checkpoint(dense(), 2)
    assert isinstance(state, dict)
    assert run(dense(), store).provenance.seconds > state["seconds"] > 0


@pytest.mark.parametrize("epoch", EPOCHS)
@pytest.mark.parametrize("criterion", ["gradient", "magnitude"])
def test_a_branch_is_the_whole_run(epoch: int, criterion: str, store: Store) -> None:
    spec = pruned(epoch, criterion, 0.3)
    trunk = run(dense(), store, keep=(epoch,))
    branch = run(spec, store)
    whole = run(spec, Store(store.root / "whole"), branch=False)
    assert branch.trunk == trunk.id
    assert whole.trunk is None
    times = {"seconds": 0.0}
    assert [e.model_copy(update=times) for e in trunk.history[:epoch] + branch.history] == [
        e.model_copy(update=times) for e in whole.history
    ]
    assert branch.same_result(whole)
    assert not branch.same_outcome(whole)
    assert (branch.result, branch.cost, branch.layers) == (whole.result, whole.cost, whole.layers)
    first, second = (
        load_file(root / spec.id / "model.safetensors") for root in (store.root, store.root / "whole")
    )
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_random_epoch_branches_too(store: Store) -> None:
    spec = dense(pruning=Pruning(criterion="gradient", ratio=0.5, policy=RandomEpoch(low=1, high=3)))
    assert spec.prune_epoch is not None
    run(dense(), store, keep=EPOCHS)
    record = run(spec, store)
    assert record.trunk == dense().id
    assert record.result is not None
    assert record.result.prune_epoch == spec.prune_epoch


def test_epi_prunes_when_it_triggers_though_a_trunk_and_a_fallback_are_there(store: Store) -> None:
    policy = EPI(threshold=0.0, look_back=1, patience=0, fallback=3)
    spec = dense(pruning=Pruning(criterion="gradient", ratio=0.5, policy=policy))
    sweep_store = Store(store.root / "sweep")
    run(dense(), store, keep=(3,))
    record = run(spec, store)
    assert record.result is not None
    assert record.result.prune_epoch == 2  # it triggers after epoch 1
    assert record.trunk is None
    assert [epoch.epi is not None for epoch in record.history] == [False, True, False, False]
    assert run(spec, sweep_store, branch=False).same_outcome(record)
    late = replace(policy, threshold=1.0, patience=9, fallback=3)
    last = run(dense(pruning=Pruning(criterion="gradient", ratio=0.5, policy=late)), store)
    assert last.result is not None
    assert last.result.prune_epoch == 3


def test_epi_that_never_triggers_stays_dense(store: Store) -> None:
    policy = EPI(threshold=1.0, patience=9)
    record = run(dense(pruning=Pruning(criterion="gradient", ratio=0.5, policy=policy)), store)
    trunk = run(dense(), store)
    assert record.result == trunk.result
    assert record.cost == trunk.cost
    assert record.cost is not None
    assert record.cost.training_share == 1.0


def test_a_run_without_a_finite_loss_is_a_failed_record(store: Store) -> None:
    spec = pruned(2, recipe=recipe(learning_rate=1e30))
    record = run(spec, store)
    assert (record.status, record.result, record.cost) == ("failed", None, None)
    assert "the loss is nan in epoch" in (record.reason or "")
    watcher, epochs = counting()
    assert run(spec, store, watcher=watcher) == record
    assert epochs == []


def test_a_run_without_a_finite_gradient_is_a_failed_record(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(name: str, **shape: int) -> torch.nn.Module:
        model = models.build(name, **shape)
        for parameter in model.parameters():
            parameter.register_hook(lambda gradient: torch.full_like(gradient, float("inf")))
        return model

    monkeypatch.setattr(building, "models", SimpleNamespace(build=build))
    record = run(pruned(1, recipe=recipe(precision="fp16")), store)
    assert (record.status, record.result, record.cost) == ("failed", None, None)
    assert "epoch 0: no minibatch with finite gradients" in (record.reason or "")


def test_a_collapsed_run_is_recorded_with_a_constant_prediction(store: Store) -> None:
    record = run(pruned(1, "magnitude", 0.95), store)
    assert record.status == "collapsed"
    assert "no path" in (record.reason or "")
    assert record.result is not None
    counts = building.open_data(dense(), Path("data")).class_counts("test")
    assert record.result.test_accuracy in [pytest.approx(count / 9) for count in counts]
    assert record.result.prune_epoch == 1
    assert record.cost is None  # nothing was made smaller


def test_the_callers_random_state_and_threads_are_left_alone(store: Store) -> None:
    torch.manual_seed(3)
    before, threads = torch.random.get_rng_state(), torch.get_num_threads()
    check(dense())
    run(dense(threads=2, recipe=recipe(epochs=2, batch_size=747)), store)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (dense(data_checksum="0" * 64), "'digits' has checksum .*, the run was specified with 000000000000"),
        (dense(dataset="mnist"), "unknown dataset 'mnist'"),
        (dense(architecture="resnet9"), "unknown architecture 'resnet9'"),
        (dense(architecture="resnet18"), "takes images of 3 channels, got 1"),
        (dense(dataset="cifar10"), "cifar10"),
        (pruned(1, ratio=0.99, neurons=Neurons(min_channels=4)), "min_channels=4"),
        (dense(tracking=Tracking(ratios=(0.99,)), neurons=Neurons(min_channels=4)), "min_channels=4"),
    ],
)
def test_a_run_that_cannot_start_is_refused_before_any_training(
    spec: Spec, message: str, store: Store
) -> None:
    with pytest.raises(ValueError, match=message):
        check(spec)
    with pytest.raises(ValueError, match=message):
        sweep([dense(seed=8), spec], store)
    assert not store.root.exists()
    watcher, epochs = counting()
    with pytest.raises(ValueError, match=message):
        run(spec, store, watcher=watcher)
    assert epochs == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="the device is there")
def test_a_device_that_is_not_there_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="no CUDA device"):
        sweep([dense(device="cuda")], store)
    assert not store.root.exists()


# Sweeps


def test_runs_are_planned_by_trunk(store: Store) -> None:
    trunks = plan([pruned(2), pruned(0), dense(seed=1), pruned(2), pruned(3, "magnitude")])
    assert [t.spec for t in trunks] == [dense(), dense(seed=1)]
    assert [t.wanted for t in trunks] == [False, True]
    assert trunks[0].branches == [pruned(2), pruned(0), pruned(3, "magnitude")]
    assert trunks[0].keep(store) == [2, 3]
    run(pruned(3, "magnitude"), store)
    assert trunks[0].keep(store) == [2]


def test_two_processes_give_what_single_runs_give(store: Store, expected: dict[str, Record]) -> None:
    told: list[Progress] = []
    records = sweep(TWO_SEEDS, store, How(jobs=2, on_progress=told.append))
    assert [record.spec for record in records] == TWO_SEEDS
    assert_as(expected, records)
    assert [p.done for p in told] == list(range(1, len(TWO_SEEDS) + 1))
    assert {p.total for p in told} == {len(TWO_SEEDS)}
    # Each dense epoch was trained once: branches have no epoch before their pruning epoch.
    for record in records:
        first = record.spec.prune_epoch or 0
        assert [epoch.epoch for epoch in record.history] == list(range(first, 4))
        assert record.trunk == (record.spec.trunk.id if first else None)
    # Nothing is left to do, or lying about but the checkpoints that another sweep could start from.
    branches = [spec for spec in TWO_SEEDS if spec.pruning is not None]
    assert all(store.checkpoints(spec) == [] for spec in branches)
    assert {n for spec in TWO_SEEDS for n in store.checkpoints(spec)} == {s.prune_epoch for s in branches} - {
        0
    }
    store.collect_garbage()
    assert all(store.checkpoints(spec) == [] for spec in TWO_SEEDS)
    told.clear()
    started = time.perf_counter()
    assert sweep(TWO_SEEDS, store, How(jobs=2, on_progress=told.append)) == records
    assert time.perf_counter() - started < 2
    assert told == []


def test_one_job_gives_the_same_and_goes_on_where_a_store_is_partial(
    store: Store, expected: dict[str, Record], in_this_process: None
) -> None:
    """The trunk's record is there, its checkpoints are gone, one of them only."""
    run(dense(), store, keep=EPOCHS)
    store.checkpoint_path(dense(), 1).unlink()
    run(pruned(3), store)
    with pytest.raises(Stop):
        run(pruned(2), store, watcher=stopping(3))
    flip(store.checkpoint_path(pruned(2), 3), 500)
    records = sweep(ONE_SEED, store, How(jobs=1))
    assert_as(expected, records)
    assert store.checkpoints(pruned(2)) == []


def test_a_trunk_whose_checkpoints_are_gone_is_trained_up_to_the_last_one_wanted(store: Store) -> None:
    record = run(dense(), store)
    watcher, epochs = counting()
    assert run(dense(), store, keep=(1, 2), watcher=watcher) == record
    assert epochs == [0, 1]
    assert {1, 2} <= set(store.checkpoints(dense()))
    store.checkpoint_path(dense(), 1).unlink()
    flip(store.checkpoint_path(dense(), 2), 500)
    assert run(dense(), store, keep=(1, 2), watcher=watcher) == record
    assert epochs == [0, 1] * 2
    assert store.load_checkpoint(dense(), 2) is not None


def test_an_interrupted_trunk_still_gives_early_checkpoints(store: Store) -> None:
    """A plain run, stopped late, kept only its last checkpoints; branches need earlier ones."""
    with pytest.raises(Stop):
        run(dense(), store, watcher=stopping(3))
    assert store.checkpoints(dense()) == [2, 3]
    run(dense(), store, keep=(1,))
    assert store.checkpoints(dense()) == [1]


def test_checkpoints_that_another_sweep_kept_stay(store: Store) -> None:
    run(dense(), store, keep=(1, 2))
    run(dense(), store, keep=(3,))
    assert {1, 2, 3} <= set(store.checkpoints(dense()))


def test_a_sweep_of_branches_alone_trains_their_trunk(
    store: Store, expected: dict[str, Record], in_this_process: None
) -> None:
    told: list[Progress] = []
    assert_as(expected, sweep([pruned(2), pruned(0), pruned(2)], store, How(on_progress=told.append)))
    assert [(p.done, p.total) for p in told] == [(1, 2), (2, 2)]
    assert store.record(dense()) is not None


def losing(*lost: Spec) -> Callable[..., Record]:
    """A run that some specs do not survive."""

    def lose(spec: Spec, store: Store, **options: object) -> Record:
        if spec in lost:
            raise MemoryError("no memory left")
        return run(spec, store, **options)  # type: ignore[arg-type]

    return lose


def test_a_run_with_an_unexpected_error_does_not_stop_the_others(
    store: Store, in_this_process: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = recipe(epochs=2, batch_size=747)
    others = [dense(recipe=settings), pruned(0, recipe=settings), dense(seed=1, recipe=settings)]
    lost = pruned(1, recipe=settings)
    specs = [others[0], lost, *others[1:]]
    told: list[Progress] = []
    with monkeypatch.context() as patch:
        patch.setattr(runs, "run", losing(lost))
        message = rf"1 runs ended .* {lost.title} \({lost.id[:12]}\): MemoryError: no memory left; 0 that"
        with pytest.raises(RunsLost, match=message) as caught:
            sweep(specs, store, How(on_progress=told.append))
    assert isinstance(caught.value.__cause__, MemoryError)
    assert store.record(lost) is None
    assert {p.record.spec for p in told} == set(others)
    assert all(store.record(spec) is not None for spec in others)
    assert [record.spec for record in sweep(specs, store)] == specs  # the same command goes on


def test_runs_that_start_from_a_lost_one_wait(
    store: Store, in_this_process: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = recipe(epochs=2, batch_size=747)
    trunk, other = dense(recipe=settings), dense(seed=1, recipe=settings)
    branches = [pruned(p, recipe=settings) for p in (0, 1)]
    monkeypatch.setattr(runs, "run", losing(trunk))
    with pytest.raises(RunsLost, match=rf"{trunk.title} .*; 2 that start from a lost dense run wait"):
        sweep([trunk, *branches, other], store)
    assert [record.spec for record in store.records()] == [other]


def die(spec: Spec, store: Store, **options: object) -> Record:
    """A run whose process is killed."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("the process lives on")


def test_a_lost_worker_is_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "run", die)
    with pytest.raises(WorkerLost, match=r"a training process died .*; the same command goes on"):
        sweep([dense(), dense(seed=1)], store, How(jobs=2))
    assert store.records() == []


@pytest.mark.parametrize("jobs", [0, -1])
def test_jobs_must_be_positive(jobs: int, store: Store) -> None:
    with pytest.raises(ValueError, match=f"jobs must be at least 1, got {jobs}"):
        sweep([dense()], store, How(jobs=jobs))


def test_nothing_to_do_is_done_at_once(store: Store) -> None:
    assert sweep([], store, How(jobs=2)) == []


# Killed

SWEEP = """
import sys
from pathlib import Path
if __name__ == "__main__":  # a worker imports this file
    sys.path[:0] = sys.argv[2:]
    from test_sweep import TWO_SEEDS
    from pat.study.store import Store
    from pat.study.runs.sweep import How, sweep
    sweep(TWO_SEEDS, Store(Path(sys.argv[1])), How(jobs=2))
"""


@pytest.fixture
def started(store: Store, tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Start the sweep as a process group of its own."""
    script = tmp_path / "sweep.py"
    script.write_text(SWEEP)
    groups = []

    def start() -> subprocess.Popen[bytes]:
        command = [sys.executable, script, store.root, Path(__file__).parent, Path(__file__).parents[2]]
        process = subprocess.Popen(command, start_new_session=True)
        groups.append(process)
        return process

    yield start
    for process in groups:
        if members(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_a_killed_sweep_goes_on_to_the_same_records_and_leaves_no_process(
    store: Store,
    started: Callable[[], subprocess.Popen[bytes]],
    expected: dict[str, Record],
    in_this_process: None,
) -> None:
    parent = started()
    wait_for(lambda: len(list(store.root.glob("*/record.json"))) >= 3, 120)
    workers = servers_forks(parent.pid)
    os.kill(parent.pid, signal.SIGKILL)
    os.kill(workers[-1], signal.SIGKILL)
    parent.wait()
    wait_for(lambda: members(parent.pid) == [], 20)  # the other worker follows its parent
    assert len(workers) == 2
    assert len(list(store.root.glob("*/record.json"))) < len(TWO_SEEDS)
    for file in sorted(store.root.glob("*/epochs/*.ckpt"))[-1:]:
        flip(file, file.stat().st_size // 3)

    assert_as(expected, sweep(TWO_SEEDS, store))
    assert list(store.root.rglob("*.part")) == []
