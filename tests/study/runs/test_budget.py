"""Budgets: kept, cut anywhere and gone on with to the same records, the most decisive runs first."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from test_record import example
from tiny import dense, pruned, recipe, records_by_id
from torch import Tensor

from pat.study.plan.spec import EPI, Pruning, Spec
from pat.study.runs.budget import OutOfTime, Pace, Saving, deadline_in, done, process_age, seconds
from pat.study.runs.run import run
from pat.study.runs.sweep import How, Progress, sweep
from pat.study.store import Store
from pat.study.store.record import Record
from pat.training.step import Step

SLOW = recipe(epochs=10, batch_size=74)
"""Ten steps per epoch."""


@pytest.mark.parametrize(
    ("text", "span"), [("9m", 540), ("90s", 90), ("90", 90), ("1h30m", 5400), ("0.5m", 30)]
)
def test_a_budget_is_a_span_of_time(text: str, span: float) -> None:
    assert seconds(text) == span


@pytest.mark.parametrize("text", ["", "0", "0m", "-3m", "9 minutes", "m", "nan", "inf"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a budget is a time above 0 such as 9m"):
        seconds(text)


def test_a_commands_start_counts() -> None:
    begin = process_age()
    time.sleep(0.05)
    assert begin + 0.04 < process_age() < begin + 5
    if sys.platform == "linux":
        assert begin > 0.1


class Clock:
    """A clock that training moves, a twentieth of a second per step: a busy machine changes nothing."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    step = Step.__call__

    def timed(self: Step, images: Tensor, labels: Tensor) -> None:
        found.now += 0.05
        step(self, images, labels)

    monkeypatch.setattr(Step, "__call__", timed)
    for name in ("monotonic", "perf_counter"):
        monkeypatch.setattr(time, name, found)
    return found


def test_a_sweep_that_is_cut_twice_keeps_its_budget_and_comes_to_the_same_records(
    tmp_path: Path, clock: Clock
) -> None:
    specs = [dense(recipe=SLOW), pruned(6, recipe=SLOW), pruned(2, recipe=SLOW)]
    expected = records_by_id(sweep(specs, Store(tmp_path / "uncut")))
    store, budget = Store(tmp_path / "cut"), clock.now / 2.7
    ended: list[Record] = []
    for _ in range(2):
        begin = clock.now
        how = How(deadline=deadline_in(budget), on_progress=lambda progress: ended.append(progress.record))
        with pytest.raises(OutOfTime, match=r"the time is up with \d of [23] runs done; the same command"):
            sweep(specs, store, how)
        assert 0.5 * budget < clock.now - begin < 1.1 * budget
    records = sweep(specs, store)
    assert [record.spec for record in records] == specs
    for record in [*records, *ended]:
        assert record.same_outcome(expected[record.id]), record.spec.title
    assert ended


def test_one_run_is_cut_after_an_epoch_and_goes_on(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(OutOfTime, match="the time is up after 1 of 4 epochs of resnet8-basic dense, seed 0"):
        run(dense(), store, deadline=deadline_in(0.0))
    assert store.checkpoints(dense()) == [1]
    assert run(dense(), store).same_outcome(run(dense(), Store(tmp_path / "whole")))


def test_a_run_that_does_not_end_in_time_is_not_begun_but_a_shorter_one_is(
    tmp_path: Path, clock: Clock
) -> None:
    """Of two that start from the same dense run, the one that prunes later is shorter."""
    store = Store(tmp_path)
    long, short = pruned(1, recipe=SLOW), pruned(9, recipe=SLOW)
    run(dense(recipe=SLOW), store, keep=(1, 9))
    (record,) = store.records()
    epoch = Pace([record]).of(short, done(short, store))
    assert epoch is not None
    told: list[Progress] = []

    def as_listed(branches: Sequence[Spec], record: Record | None) -> Sequence[Spec]:
        return [long, short]

    how = How(deadline=deadline_in(6 * epoch), order=as_listed, on_progress=told.append)
    with pytest.raises(OutOfTime):
        sweep([dense(recipe=SLOW), long, short], store, how)
    assert [progress.record.spec for progress in told] == [short]
    assert store.checkpoints(long) == []


def test_an_order_may_name_more_runs_than_were_asked_for(tmp_path: Path) -> None:
    """As EPI's epoch, which the dense run alone tells: it starts from one of that run's checkpoints too."""
    store = Store(tmp_path)
    told: list[Spec] = []

    def order(branches: Sequence[Spec], record: Record | None) -> Sequence[Spec]:
        assert record is not None
        assert record.spec == dense()
        return [pruned(2), *branches]

    how = How(order=order, on_progress=lambda progress: told.append(progress.record.spec))
    sweep([dense(), pruned(1), pruned(3)], store, how)
    assert told == [dense(), pruned(2), pruned(1), pruned(3)]
    extra = store.record(pruned(2))
    assert extra is not None
    assert extra.trunk == dense().id
    again: list[Spec] = []
    sweep(
        [dense(), pruned(1), pruned(3)],
        store,
        How(order=order, on_progress=lambda p: again.append(p.record.spec)),
    )
    assert again == []


def timed(spec: Spec, dense_seconds: float, sparse_seconds: float) -> Record:
    record = example(spec)
    phases = {"dense": dense_seconds, "prune": 100.0, "sparse": sparse_seconds}
    rows = tuple(e.model_copy(update={"seconds": phases[e.phase]}) for e in record.history)
    more = rows[-1].model_copy(update={"phase": "sparse", "seconds": sparse_seconds, "epoch": 2})
    return record.model_copy(update={"history": (*rows, more)})


def test_the_time_of_a_run_follows_from_those_before_it() -> None:
    """2 s per dense or pruning epoch, 1 s per sparse one, 3 s around them; the tiny schedule has 4."""
    pace = Pace()
    assert pace.of(dense(), 0) is None
    pace.learn(timed(pruned(1), 2.0, 1.0), around=3.0)
    assert pace.of(dense(), 0) == 4 * 2 + 3
    assert pace.of(dense(), 3) == 2 + 3
    assert pace.of(pruned(1), 1) == 2 + 2 * 1 + 3
    assert pace.of(pruned(1), 0) == 2 * 2 + 2 * 1 + 3
    assert pace.of(pruned(1), 3) == 1 + 3
    assert pace.of(pruned(1, ratio=0.3), 1) == 3 * 2 + 3  # never seen: as the dense network
    by_epi = Pruning(criterion="gradient", ratio=0.5, policy=EPI(threshold=0.9))
    assert pace.of(dense(pruning=by_epi), 0) == 4 * 2 + 3  # it may stay silent
    assert pace.of(dense(architecture="resnet8-bottleneck"), 0) is None


def test_checkpoints_take_a_tenth_of_an_accelerators_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    written: list[int] = []

    def trained(device: str, keep: tuple[int, ...]) -> list[int]:
        nonlocal now
        written.clear()
        saving = Saving(dense(device=device, recipe=recipe(epochs=40)), keep, None)

        def write() -> None:
            nonlocal now
            now += 0.5
            written.append(epoch)

        for epoch in range(1, 21):
            now += 1.0
            saving.after(epoch, write)
        return list(written)

    assert trained("cpu", ()) == list(range(1, 21))
    assert trained("cuda", (7,)) == [1, 6, 7, 12, 17]
