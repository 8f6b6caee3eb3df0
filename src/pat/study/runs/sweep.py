"""Sweeps: many specs, each dense trunk trained once, branches from its checkpoints, in several processes."""

import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from pat.files import paths
from pat.files.atomic import storage_problem
from pat.study.plan.spec import Spec
from pat.study.runs.budget import OutOfTime, Pace, time_left
from pat.study.runs.trunks import Trunk, plan
from pat.study.runs.watcher import Watcher
from pat.study.runs.workers import executor
from pat.study.store import AnyStore, Store
from pat.study.store.record import Record
from pat.study.store.stores import Busy

_ASK_AGAIN = 1.0
"""Seconds after which a run that another process trains is asked for again."""


class MissingRuns(ValueError):
    """A published store lacks runs, and nothing is trained into it."""


class WorkerLost(RuntimeError):
    """A training process died, killed from outside or for its memory; what it had finished is kept."""


class RunsLost(RuntimeError):
    """Some runs ended with an error that is no result; those that do not start from one are done."""


@dataclass(frozen=True)
class Progress:
    """Told after every finished run.

    Attributes:
        done, total: runs of the sweep that were missing when it began.
        record: the run's.
        trained: whether by this sweep; another process may have been first.
    """

    done: int
    total: int
    record: Record
    trained: bool


Order = Callable[[Sequence[Spec], Record | None], Sequence[Spec]]


def longest_first(branches: Sequence[Spec], record: Record | None) -> list[Spec]:
    """So that no process waits for the others' last run at the end."""
    return sorted(branches, key=lambda spec: spec.prune_epoch or 0)


@dataclass(frozen=True)
class How:
    """How a sweep is run; no result depends on it.

    Attributes:
        jobs: runs at a time, each in a process of its own; a single job is trained by this one.
        pool: where they are trained, if not here: so many at a time as ``jobs`` says, see
            :class:`pat.study.runs.cluster.Cluster`.
        data: root of the data sets.
        workers: processes a run that decode images of data sets too large for memory.
        on_progress: called after every run that was missing.
        on_wait: called with their number when only runs that other processes train are left.
        deadline: when to be at the end, on :func:`time.monotonic`'s clock: no run begins that does not end by
            then, unless it is the first and nothing fits, and one that takes longer is cut after an epoch.
        order: the runs of a dense run's record, in the order in which to train them; it may name more.
        graphs: let an accelerator capture a network's passes, see :class:`pat.training.step.Step`.

    Raises:
        ValueError: if ``jobs`` is under 1.
    """

    jobs: int = 1
    pool: Executor | None = None
    data: Path = paths.DATA
    workers: int = 0
    on_progress: Callable[[Progress], None] = lambda progress: None
    on_wait: Callable[[int], None] = lambda runs: None
    deadline: float | None = None
    order: Order = longest_first
    graphs: bool = True

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise ValueError(f"jobs must be at least 1, got {self.jobs}")


ALONE = How()
"""One run after the other, in this process."""


def sweep(specs: Sequence[Spec], store: AnyStore, how: How = ALONE) -> list[Record]:
    """Records of all specs, training what the store lacks.

    Several sweeps may share a store, in any number of processes: a run that another one trains is left to it,
    and waited for once nothing else is to do.

    Args:
        specs: any runs.
        store: a working store, or a published one, which is only read.
        how: processes, data, and who is told.

    Returns:
        The records in the order of ``specs``.

    Raises:
        ValueError: before any training, if a run cannot start.
        MissingRuns: if the store is published and lacks some.
        WorkerLost: if a process died.
        CannotWrite: before any training, if runs are missing and the store may not be written to.
        OutOfTime: if runs are missing at the deadline; what ended has its records.
        RunsLost: after all other runs, if one raised an error (out of memory); at once if nothing more can be
            kept (a full disk), since no other run could be.
    """
    found = {spec.id: store.record(spec) for spec in specs}
    missing = [spec for spec in dict.fromkeys(specs) if found[spec.id] is None]
    if missing and not isinstance(store, Store):
        raise MissingRuns(
            f"{store.root} lacks {len(missing)} of {len(found)} runs, the first being "
            f"{missing[0].title} ({missing[0].id[:12]}); name a working store to train them"
        )
    if missing and isinstance(store, Store):
        from pat.study.runs.building import check

        for spec in {_setting(spec): spec for spec in missing}.values():
            check(spec, how.data, how.workers)
        store.check_writable()
        _Sweep(plan(missing), store, how, Pace(r for r in found.values() if r)).train()
        found = {spec.id: store.record(spec) for spec in specs}
    records = [found[spec.id] for spec in specs]
    lost = [s for s, r in zip(specs, records, strict=True) if r is None]
    if lost:
        raise RuntimeError(f"{lost[0].title} ({lost[0].id[:12]}) left no record")
    return [record for record in records if record is not None]


def _setting(spec: Spec) -> tuple[Hashable, ...]:
    """What decides whether a run can start."""
    data = (spec.dataset, spec.data_checksum, spec.device, spec.recipe.batch_size, spec.recipe.slices)
    return (*data, spec.architecture, spec.neurons, spec.tracking, spec.pruning and spec.pruning.ratio)


@dataclass(frozen=True)
class _Ended:
    """A run that came to its end: whether it was trained now, since another process may have been first, and
    the seconds that passed around its epochs."""

    record: Record
    trained: bool
    around: float


@dataclass(frozen=True)
class _Job:
    spec: Spec
    trunk: Trunk
    again: bool = False

    def keep(self, store: Store) -> list[int]:
        """Checkpoints to keep for good, as the store is now."""
        return self.trunk.keep(store) if self.spec == self.trunk.spec else []


class _Sweep:
    """Trunks first, each one's branches as soon as it is done, in the order that is asked for.

    Checkpoints of trunks stay, since another sweep may start from them; ``pat gc`` removes them.
    """

    def __init__(self, trunks: Sequence[Trunk], store: Store, how: How, pace: Pace) -> None:
        self._store, self._how, self._pace = store, how, pace
        self._total = sum(trunk.wanted + len(trunk.branches) for trunk in trunks)
        self._done = 0
        self._begun = False
        self._ready: list[_Job] = []
        self._lost: list[tuple[_Job, Exception]] = []
        self._cut = False
        for trunk in trunks:
            job = _Job(trunk.spec, trunk)
            waits = trunk.wanted or job.keep(store)
            self._ready += [job] if waits else self._branches(trunk, store.record(trunk.spec))

    def train(self) -> None:
        """Train them all, or as many as the deadline allows; raises what :func:`sweep` does."""
        given = self._how.pool
        with executor(self._how.jobs) if given is None else nullcontext(given) as pool:
            try:
                for job, future in self._as_they_end(pool):
                    try:
                        self._ended(job, future.result())
                    except BrokenProcessPool:
                        raise
                    except OutOfTime:
                        self._cut = True
                    except Exception as error:
                        self._lost.append((job, error))
                        if storage_problem(error) is not None:
                            break  # the others would train for nothing
            except BrokenProcessPool:
                raise WorkerLost(
                    "a training process died (killed, perhaps for its memory); the same command goes on"
                ) from None
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        if self._lost:
            _tell(self._lost)
        if self._cut or self._ready:
            raise OutOfTime(
                f"the time is up with {self._done} of {self._total} runs done; the same command goes on"
            )

    def _ended(self, job: _Job, ended: _Ended) -> None:
        self._pace.learn(ended.record, ended.around if ended.trained else None)
        if job.spec == job.trunk.spec:
            self._ready[:0] = self._branches(job.trunk, ended.record)
        if job.spec != job.trunk.spec or (job.trunk.wanted and not job.again):
            self._done += 1
            self._how.on_progress(Progress(self._done, self._total, ended.record, ended.trained))

    def _branches(self, trunk: Trunk, record: Record | None) -> list[_Job]:
        """A trunk's branches, or the trunk once more if the order names runs that start where it left no
        checkpoint, since they were not asked for."""
        ordered = [
            spec
            for spec in dict.fromkeys(self._how.order(trunk.branches, record))
            if spec in trunk.branches or self._store.record(spec) is None
        ]
        more = len(ordered) - len(trunk.branches)
        self._total += more
        trunk.branches = ordered
        again = _Job(trunk.spec, trunk, again=True)
        if more and set(again.keep(self._store)) - set(self._store.checkpoints(trunk.spec)):
            return [again]
        return [_Job(spec, trunk) for spec in ordered]

    def _next(self) -> _Job | None:
        """What to start now: the first that ends in time."""
        deadline = self._how.deadline
        for job in self._ready:
            if deadline is None or self._pace.fits(job.spec, self._store, deadline):
                return job
        if self._begun or not self._ready or self._late():
            return None
        return self._ready[0]  # it is cut, and goes on with the next budget

    def _late(self) -> bool:
        return self._how.deadline is not None and time_left(self._how.deadline) <= 0

    def _start(self, pool: Executor, job: _Job) -> Future[_Ended]:
        from pat.study.runs.run import run

        self._begun = True
        self._ready.remove(job)
        how = self._how
        options = {"data": how.data, "workers": how.workers, "deadline": how.deadline, "graphs": how.graphs}
        options |= {"keep": job.keep(self._store), "wait": False}
        until = None
        if how.pool is not None and how.deadline is not None:
            until = time.time() + time_left(how.deadline)
        try:
            return pool.submit(_run, run, job.spec, self._store, options, until)
        except (EOFError, ConnectionError) as error:  # no worker can be started
            raise BrokenProcessPool(str(error)) from error

    def _as_they_end(self, pool: Executor) -> Iterator[tuple[_Job, Future[_Ended]]]:
        """Jobs as they end, started in the order of what is ready, so many at a time; more may be put there.

        A job that another process trains is asked for again as long as there is nothing else to start.
        """
        how, ready = self._how, self._ready
        running: dict[Future[_Ended], _Job] = {}
        elsewhere: list[_Job] = []
        told = 0
        while ready or elsewhere or running:
            while len(running) < how.jobs and (job := self._next()) is not None:
                running[self._start(pool, job)] = job
            ended: set[Future[_Ended]] = set()
            if running:
                patience = _ASK_AGAIN if elsewhere and len(running) < how.jobs else None
                ended, _ = wait(running, timeout=patience, return_when=FIRST_COMPLETED)
            elif not elsewhere or self._late():
                ready += elsewhere
                return
            else:
                if len(elsewhere) != told:
                    how.on_wait(told := len(elsewhere))
                time.sleep(_ASK_AGAIN)
            for future in ended:
                job = running.pop(future)
                if isinstance(future.exception(), Busy):
                    elsewhere.append(job)
                else:
                    yield job, future
            if not ready and not ended:
                ready += elsewhere
                elsewhere.clear()


def _tell(lost: Sequence[tuple[_Job, Exception]]) -> NoReturn:
    spec, cause = lost[-1][0].spec, lost[-1][1]
    if problem := storage_problem(cause):
        raise RunsLost(f"{spec.title} ({spec.id[:12]}) could not be kept: {problem}") from cause
    spec, cause = lost[0][0].spec, lost[0][1]
    waiting = sum(len(job.trunk.branches) for job, _ in lost if job.spec == job.trunk.spec)
    raise RunsLost(
        f"{len(lost)} runs ended with an error, the first being {spec.title} ({spec.id[:12]}): "
        f"{type(cause).__name__}: {cause}; {waiting} that start from a lost dense run wait, "
        "all others are done"
    ) from cause


def _run(
    run: Callable[..., Record],
    spec: Spec,
    store: Store,
    options: Mapping[str, Any],
    until: float | None = None,
) -> _Ended:
    """A run, and the time around its epochs; ``until`` is the deadline on the clock that machines share."""
    if until is not None:
        options = {**options, "deadline": time.monotonic() + until - time.time()}
    begun: list[Spec] = []
    epochs: list[float] = []
    begin = time.perf_counter()
    watcher = Watcher(on_start=begun.append, on_epoch=lambda spec, log: epochs.append(log.seconds))
    record = run(spec, store, watcher=watcher, **options)
    return _Ended(record, spec in begun, time.perf_counter() - begin - sum(epochs))
