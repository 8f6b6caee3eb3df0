"""Makes the records that are missing: trains a detector, measures it, writes down what it gave."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from importlib import metadata
from pathlib import Path
from time import perf_counter

from pat.study.experiments.detection.planned import Run
from pat.study.experiments.detection.records import DetectionRecord, missing, write
from pat.study.runs.workers import executor
from pat.study.store.record import command, provenance

_LIBRARIES = ("torchmetrics", "pycocotools")


def make(run: Run, started_as: str) -> DetectionRecord:
    """Train a run's detector, on one thread: the same numbers each time on one machine.

    Args:
        run: what to train.
        started_as: the command, for the record.

    Raises:
        FloatingPointError: if the training diverges.
    """
    import torch

    from pat.training.detection.examples import drawn
    from pat.training.detection.loop import train
    from pat.training.detection.precision import precision
    from pat.training.detection.scenes import CLASSES
    from pat.training.detection.ssd import small_ssd

    start, scale = perf_counter(), run.scale
    torch.set_num_threads(1)
    torch.manual_seed(run.seed)
    model = small_ssd(CLASSES, scale.drawing.size, scale.architecture)
    examples = {split: drawn(scale.drawing, split, count) for split, count in scale.scenes.items()}
    outcome = train(
        model,
        examples["train"],
        examples["validation"],
        scale.recipe,
        seed=run.seed,
        ratio=scale.ratio,
        criteria=scale.criteria if run.criterion is None else (run.criterion,),
        policy=run.policy(),
    )
    return DetectionRecord(
        id=run.id,
        run=run,
        outcome=outcome,
        test=precision(model, examples["test"]),
        libraries={name: metadata.version(name) for name in _LIBRARIES},
        provenance=provenance(seconds=perf_counter() - start, device="cpu", command=started_as),
    )


def make_missing(
    runs: Sequence[Run], place: Path, *, jobs: int = 1, report: Callable[[str], None] = print
) -> int:
    """Train the runs that a folder has no record of; each is written whole when it ends.

    A run that was stopped is trained anew from its start, one that is there never again.

    Args:
        runs: all that there should be.
        place: the folder of the records.
        jobs: runs at a time.
        report: takes a line for each run.

    Returns:
        How many were trained.

    Raises:
        ValueError: for less than one job, or a damaged record.
        FloatingPointError: if a training diverges; the others that had begun are kept.
    """
    if jobs < 1:
        raise ValueError(f"jobs must be at least 1, got {jobs}")
    wanted = missing(runs, place)
    for number, made in enumerate(_made(wanted, place, jobs), 1):
        report(f"{number} of {len(wanted)}: {made}")
    return len(wanted)


def _made(wanted: Sequence[Run], place: Path, jobs: int) -> Iterator[str]:
    if jobs == 1:  # no process beside this one, whose start costs seconds
        yield from (_make_one(run, place, command()) for run in wanted)
        return
    with executor(jobs) as pool:
        running = [pool.submit(_make_one, run, place, command()) for run in wanted]
        try:
            yield from (done.result() for done in as_completed(running))
        finally:
            pool.shutdown(cancel_futures=True)


def _make_one(run: Run, place: Path, started_as: str) -> str:
    record = make(run, started_as)
    write(record, place)
    when = record.outcome.prune_epoch
    pruned = "dense" if when is None else f"pruned in epoch {when}"
    return (
        f"seed {run.seed} {run.title}: {pruned}, mAP {record.test.mean:.1f} % on test, "
        f"{record.provenance.seconds:.0f} s"
    )
