"""Sweeps: many specs, each dense trunk trained once, branches from its checkpoints, in several processes."""

import multiprocessing
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pat.files import paths
from pat.files.atomic import storage_problem
from pat.study.plan.spec import Spec
from pat.study.runs.watcher import Watcher
from pat.study.runs.workers import follow_parent
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


@dataclass
class Trunk:
    """A dense run and what hangs on it.

    Attributes:
        spec: the dense run.
        wanted: whether its own record was asked for.
        branches: pruned runs that start from its checkpoints.
    """

    spec: Spec
    wanted: bool = False
    branches: list[Spec] = field(default_factory=list)

    def keep(self, store: Store) -> list[int]:
        """Checkpoints that unfinished branches will start from."""
        waiting = [b for b in self.branches if store.record(b) is None and not store.checkpoints(b)]
        return sorted({epochs for branch in waiting for epochs in branch.needs})


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


@dataclass(frozen=True)
class How:
    """How a sweep is run; no result depends on it.

    Attributes:
        jobs: processes; one run is always trained by one, and a single job by this one.
        data: root of the data sets.
        workers: processes a run that decode images of data sets too large for memory.
        on_progress: called after every run that was missing.
        on_wait: called with their number when only runs that other processes train are left.

    Raises:
        ValueError: if ``jobs`` is under 1.
    """

    jobs: int = 1
    data: Path = paths.DATA
    workers: int = 0
    on_progress: Callable[[Progress], None] = lambda progress: None
    on_wait: Callable[[int], None] = lambda runs: None

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise ValueError(f"jobs must be at least 1, got {self.jobs}")


ALONE = How()
"""One run after the other, in this process."""


def plan(specs: Iterable[Spec]) -> list[Trunk]:
    """Group runs by the dense run they share."""
    trunks: dict[str, Trunk] = {}
    for spec in dict.fromkeys(specs):
        trunk = trunks.setdefault(spec.trunk.id, Trunk(spec.trunk))
        if spec == spec.trunk:
            trunk.wanted = True
        else:
            trunk.branches.append(spec)
    return list(trunks.values())


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
        _train(plan(missing), store, how)
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


_Ended = tuple[Record, bool]
"""A run's record, and whether it was trained now: another process may have been first."""


@dataclass(frozen=True)
class _Job:
    spec: Spec
    trunk: Trunk

    def keep(self, store: Store) -> list[int]:
        """Checkpoints to keep for good, as the store is now."""
        return self.trunk.keep(store) if self.spec == self.trunk.spec else []


def _train(trunks: list[Trunk], store: Store, how: How) -> None:
    """Trunks first, each one's branches as soon as it is done, longest runs first.

    Checkpoints of trunks stay, since another sweep may start from them; ``pat gc`` removes them.
    """
    from pat.study.runs.run import run

    total = sum(t.wanted + len(t.branches) for t in trunks)
    done = 0
    lost: list[tuple[_Job, Exception]] = []
    ready: list[_Job] = []
    for trunk in trunks:
        job = _Job(trunk.spec, trunk)
        ready += [job] if trunk.wanted or job.keep(store) else _branches(trunk)
    with _executor(how.jobs) as pool:

        def start(job: _Job) -> Future[_Ended]:
            options = {"data": how.data, "workers": how.workers, "keep": job.keep(store), "wait": False}
            return pool.submit(_run, run, job.spec, store, options)

        try:
            for job, future in _as_they_end(ready, start, how):
                try:
                    record, trained = future.result()
                except BrokenProcessPool:
                    raise
                except Exception as error:
                    lost.append((job, error))
                    if storage_problem(error) is not None:
                        break  # the others would train for nothing
                    continue
                if job.spec == job.trunk.spec:
                    ready[:0] = _branches(job.trunk)
                if job.spec != job.trunk.spec or job.trunk.wanted:
                    done += 1
                    how.on_progress(Progress(done, total, record, trained))
        except BrokenProcessPool:
            raise WorkerLost(
                "a training process died (killed, perhaps for its memory); the same command goes on"
            ) from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    if lost:
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


def _run(run: Callable[..., Record], spec: Spec, store: Store, options: Mapping[str, Any]) -> _Ended:
    begun: list[Spec] = []
    record = run(spec, store, watcher=Watcher(on_start=begun.append), **options)
    return record, spec in begun


def _as_they_end(
    ready: list[_Job], start: Callable[[_Job], Future[_Ended]], how: How
) -> Iterator[tuple[_Job, Future[_Ended]]]:
    """Jobs as they end, started in the order of ``ready``, so many at a time; more may be put into it.

    A job that another process trains is asked for again as long as there is nothing else to start.
    """
    running: dict[Future[_Ended], _Job] = {}
    elsewhere: list[_Job] = []
    told = 0
    while ready or elsewhere or running:
        while ready and len(running) < how.jobs:
            job = ready.pop(0)
            running[start(job)] = job
        ended: set[Future[_Ended]] = set()
        if running:
            patience = _ASK_AGAIN if elsewhere and len(running) < how.jobs else None
            ended, _ = wait(running, timeout=patience, return_when=FIRST_COMPLETED)
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


def _branches(trunk: Trunk) -> list[_Job]:
    ordered = sorted(trunk.branches, key=lambda spec: spec.prune_epoch or 0)
    return [_Job(spec, trunk) for spec in ordered]


class _Here(Executor):
    """One job at a time needs no process beside this one, whose start costs seconds."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def _executor(jobs: int) -> Executor:
    """Fresh interpreters: a forked torch may hang, and would inherit the parent's threads."""
    if jobs == 1:
        return _Here()
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(jobs, mp_context=context, initializer=follow_parent)
