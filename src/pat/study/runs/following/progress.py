"""Progress: bars for the epochs of a run and the runs of a sweep, on a terminal or in a notebook."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from tqdm import tqdm

from pat.study.plan.spec import Spec
from pat.study.runs import sweep as sweeps
from pat.study.runs.following.console import Console
from pat.study.runs.watcher import Watcher

if TYPE_CHECKING:
    from pat.training.epoch import Epoch


def _bar(console: Console, unit: str) -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[detail]}", markup=False),
        console=console,
        disable=not console.is_terminal,  # lines are printed instead
    )


@contextmanager
def of_run(spec: Spec, console: Console) -> Iterator[Watcher]:
    """A bar over a run's epochs with phase, loss, accuracy, EPI and the time left.

    Where the output is not a terminal, a line an epoch.
    """
    with _bar(console, "epochs") as bar:
        task = bar.add_task(spec.title, total=spec.recipe.epochs, detail="")

        def on_epoch(spec: Spec, log: "Epoch") -> None:
            value = _epi(spec, log)
            epi = "" if value is None else f"  EPI {value:.3f}"
            loss = "-" if log.loss is None else f"{log.loss:.3f}"
            detail = (
                f"{log.phase}  loss {loss}  train {log.accuracy:.1f} %  "
                f"validation {log.validation_accuracy:.1f} %{epi}"
            )
            bar.update(task, completed=log.epoch + 1, detail=detail)
            if not console.is_terminal:
                console.print(f"epoch {log.epoch} of 0-{spec.recipe.epochs - 1}  {detail}", soft_wrap=True)

        def on_step(spec: Spec, epoch: int, step: int, steps: int) -> None:
            bar.update(task, completed=epoch + step / steps)

        yield Watcher(on_epoch=on_epoch, on_step=on_step)


def _epi(spec: Spec, log: "Epoch") -> float | None:
    """The policy's EPI, else the watched one at the run's ratio (a dense run's: gradient, middle ratio)."""
    if log.epi is not None or not log.tracked or not spec.tracking.ratios:
        return log.epi
    pruning, ratios = spec.pruning, spec.tracking.ratios
    criterion = pruning.criterion if pruning else "gradient"
    ratio = pruning.ratio if pruning else ratios[len(ratios) // 2]
    at = log.tracked[criterion]["ratios"].get(f"{ratio:g}")
    return None if at is None else at["psi"][0]


@contextmanager
def in_notebook() -> Iterator[Callable[[sweeps.Progress], None]]:
    """A bar over a sweep's runs with the time left, as text on stderr.

    So it needs no widgets, comes through papermill, and the book leaves it out. A sweep that trains nothing
    shows nothing.
    """
    bars: list[tqdm] = []

    def on_progress(progress: sweeps.Progress) -> None:
        if not bars:
            bars.append(tqdm(total=progress.total, unit="run", file=sys.stderr, mininterval=0, leave=False))
        (bar,) = bars
        bar.total = progress.total
        bar.set_postfix_str(progress.record.spec.title, refresh=False)
        bar.update(progress.done - bar.n)

    try:
        yield on_progress
    finally:
        for bar in bars:
            bar.close()


@contextmanager
def of_sweep(console: Console) -> Iterator["SweepBar"]:
    """A bar over a sweep's runs; where the output is not a terminal, a line a run."""
    bar = _bar(console, "runs")
    try:
        yield SweepBar(bar, console)
    finally:
        bar.stop()


class SweepBar:
    """Callback for :func:`pat.study.runs.sweep.sweep`."""

    def __init__(self, bar: Progress, console: Console) -> None:
        self._bar = bar
        self._console = console
        self._task = bar.add_task("training", total=None, detail="")
        self.trained = 0

    def __call__(self, progress: sweeps.Progress) -> None:
        record = progress.record
        self._bar.start()  # only now: a sweep that trains nothing shows nothing
        self.trained += progress.trained
        accuracy = "" if record.result is None else f"  {record.result.test_accuracy:.1f} %"
        by = "" if progress.trained else " (by another process)"
        detail = f"{record.spec.title}: {record.status}{accuracy}{by}"
        self._bar.update(self._task, total=progress.total, completed=progress.done, detail=detail)
        if not self._console.is_terminal:
            self._console.print(f"{progress.done}/{progress.total}  {detail}", soft_wrap=True)

    def waiting(self, runs: int) -> None:
        """Callback for a sweep that has nothing left to do but wait."""
        self._console.print(f"waiting for {runs} runs that other processes train", soft_wrap=True)
