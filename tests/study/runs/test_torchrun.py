"""One run on several ranks, started as a user would, against the same run by one process."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from processes import wait_for

from pat.study.plan.profile import load_profile
from pat.study.plan.spec import AtEpoch, Spec
from pat.study.runs.building import check, open_data
from pat.study.runs.run import run
from pat.study.store import Store
from pat.study.store.record import Record
from pat.training.data.augment import Augment
from pat.training.ranks import Ranks, joined

CLOSE = 15.0
"""Points: BatchNorm sees 125 or 250 images where one process sees 500, and after five epochs, in which the
network is barely trained, seeds differ by as much."""


def smoke() -> Spec:
    return load_profile("smoke").spec(seed=0, criterion="gradient", ratio=0.5, policy=AtEpoch(epoch=2))


def torchrun(ranks: int, store: Path) -> subprocess.Popen[str]:
    command = ["run", "--profile", "smoke", "--ratio", "0.5", "--prune-epoch", "2", "--store", str(store)]
    starter = ["-m", "torch.distributed.run", f"--nproc-per-node={ranks}", "--standalone", "-m", "pat.cli"]
    return subprocess.Popen(
        [sys.executable, *starter, *command],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def workers(of: subprocess.Popen[str]) -> list[int]:
    children = Path(f"/proc/{of.pid}/task/{of.pid}/children").read_text().split()
    return [int(pid) for pid in children]


def left(record: Record) -> int:
    """Filters after the pruning epoch."""
    (epoch,) = (epoch for epoch in record.history if epoch.phase == "prune")
    assert epoch.structure is not None
    return sum(epoch.structure.values())


def test_a_rank_that_dies_ends_the_run_which_goes_on_with_another_number_of_ranks(tmp_path: Path) -> None:
    spec, store = smoke(), Store(tmp_path / "runs")
    two = torchrun(2, store.root)
    try:
        wait_for(lambda: bool(store.checkpoints(spec)), 300)
        os.kill(workers(two)[1], signal.SIGKILL)
        said, _ = two.communicate(timeout=180)
    finally:
        two.kill()
    assert two.returncode != 0, said
    assert store.record(spec) is None
    before = store.checkpoints(spec)[-1]
    four = torchrun(4, store.root)
    said, _ = four.communicate(timeout=400)
    assert four.returncode == 0, said
    assert "epoch 0 " not in said  # trained before
    record, alone = store.record(spec), run(spec, Store(tmp_path / "alone"))
    assert record is not None
    assert record.provenance.hardware == f"{alone.provenance.hardware}, 4 ranks"
    assert [log.phase for log in record.history] == [log.phase for log in alone.history]
    assert abs(left(record) - left(alone)) < 3  # a unit that goes last may count three
    assert 0 < before < spec.recipe.epochs
    assert record.result is not None
    assert alone.result is not None
    assert abs(record.result.test_accuracy - alone.result.test_accuracy) < CLOSE


def test_shares_make_up_the_batch() -> None:
    dataset = open_data(smoke())
    common = {"batch_size": 20, "seed": 3, "epoch": 1, "augment": Augment(crop_padding=2)}
    whole, _ = next(dataset.train_batches(**common))  # type: ignore[arg-type]
    for rank in range(4):
        share, _ = next(dataset.train_batches(**common, share=(rank, 4)))  # type: ignore[arg-type]
        assert share.equal(whole[rank::4])
    seen = [len(y) for k in range(3) for _, y in dataset.eval_batches("test", batch_size=50, share=(k, 3))]
    assert sum(seen) == dataset.split_size("test")


def test_a_batch_that_cannot_be_shared_is_refused_before_training() -> None:
    with pytest.raises(ValueError, match="a batch of 500 images has no equal shares for 3 ranks"):
        check(smoke(), ranks=Ranks(0, 3))
    rival = load_profile("smoke").spec(seed=0, prunetrain={"share": 0.5, "interval": 2, "threshold": 0.1})
    with pytest.raises(ValueError, match="method 'prunetrain' is trained by one process, not by 2 ranks"):
        check(rival, ranks=Ranks(0, 2))


def test_one_process_is_a_rank_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "1")
    with joined("cpu") as ranks:
        assert (ranks.rank, ranks.world, ranks.share) == (0, 1, (0, 1))
        assert ranks.told("said") == "said"
