"""Budgets: how long the runs of a sweep take, learnt from those that ended, and which still end in time."""

import os
import re
import time
from collections.abc import Callable, Collection, Hashable, Iterable
from pathlib import Path
from statistics import median

from pat.study.plan.spec import Spec
from pat.study.store import Store
from pat.study.store.record import Record

_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0}
_SPAN = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?")
MARGIN = 1.1
"""What an epoch or a run may take longer than those before it."""


class OutOfTime(RuntimeError):
    """A budget is spent. What is unfinished goes on from its last checkpoint."""


def seconds(text: str) -> float:
    """A span of time such as ``9m``, ``1h30m``, ``90s`` or ``90`` (seconds).

    Raises:
        ValueError: if it is none, or not above 0.
    """
    match = _SPAN.fullmatch(text.strip())
    parts = match.groups() if match else ()
    total = sum(float(part) * unit for part, unit in zip(parts, _SECONDS.values(), strict=False) if part)
    if not total > 0:
        raise ValueError(f"a budget is a time above 0 such as 9m, 1h30m or 90s, got {text!r}")
    return total


def deadline_in(span: float) -> float:
    """The moment so many seconds from now, on a clock that all processes of the machine share."""
    return time.monotonic() + span


def process_age() -> float:
    """Seconds since this process began, its start included; 0 where the system does not say."""
    try:
        began = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])  # in ticks since boot
        return time.clock_gettime(time.CLOCK_BOOTTIME) - began / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, ValueError, IndexError):
        return 0.0


def time_left(deadline: float) -> float:
    """Seconds until then."""
    return deadline - time.monotonic()


class Pace:
    """How long runs take: dense epochs and pruned ones of each network, and what comes around them."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self._epochs: dict[Hashable, float] = {}
        self._around = 0.0
        for record in records:
            self.learn(record)

    def learn(self, record: Record, around: float | None = None) -> None:
        """Take the times of a run that ended.

        Args:
            record: the run's.
            around: seconds that passed around its epochs, if they are known.
        """
        for phase, key in (("dense", dense_key(record.spec)), ("sparse", pruned_key(record.spec))):
            if spans := [epoch.seconds for epoch in record.history if epoch.phase == phase]:
                self._epochs[key] = median(spans)
        if around is not None:
            self._around = around

    def of(self, spec: Spec, done: int) -> float | None:
        """Seconds that a run takes from an epoch on; None if no run of its network was seen.

        Args:
            spec: the run.
            done: epochs that are behind it.
        """
        dense = self._epochs.get(dense_key(spec))
        if dense is None:
            return None
        whole = spec.recipe.epochs
        pruned = whole if spec.prune_epoch is None else spec.prune_epoch + 1  # EPI may stay silent
        left = max(whole - max(pruned, done), 0)
        return self._around + (whole - done - left) * dense + left * self._epochs.get(pruned_key(spec), dense)

    def fits(self, spec: Spec, store: Store, deadline: float) -> bool:
        """Whether a run ends in time; of an unknown network, whether an epoch of a known one would."""
        needed = self.of(spec, done(spec, store))
        if needed is None:
            needed = self._around + max(self._epochs.values(), default=0.0)
        return MARGIN * needed < time_left(deadline)


class Saving:
    """When a run writes checkpoints, and when it stops for its deadline.

    On a CPU after every epoch. An accelerator's epochs may be shorter than the writing: there, after so much
    time that writing takes a tenth of it. Always where a checkpoint is wanted, and where the run is cut.

    Args:
        spec: the run.
        keep: numbers of epochs after which a checkpoint is wanted.
        deadline: see :func:`deadline_in`.
    """

    def __init__(self, spec: Spec, keep: Collection[int], deadline: float | None) -> None:
        self._spec, self._keep, self._deadline = spec, keep, deadline
        self._saved = self._ended = time.monotonic()
        self._writing = 0.0

    def after(self, epochs: int, write: Callable[[], None]) -> None:
        """Let a checkpoint be written after so many epochs, if one is due.

        Raises:
            OutOfTime: if the next epoch would not end in time.
        """
        now = time.monotonic()
        needed = MARGIN * (now - self._ended + self._writing)
        last = epochs == self._spec.recipe.epochs
        cut = not last and self._deadline is not None and now + needed > self._deadline
        pause = 0.0 if self._spec.device == "cpu" else 9 * self._writing
        if cut or epochs in self._keep or now - self._saved >= pause:
            write()
            self._saved = time.monotonic()
            self._writing = self._saved - now
        self._ended = time.monotonic()
        if cut:
            whole = self._spec.recipe.epochs
            raise OutOfTime(f"the time is up after {epochs} of {whole} epochs of {self._spec.title}")


def done(spec: Spec, store: Store) -> int:
    """Epochs that a run need not train any more: its own checkpoint's, else those of the dense run."""
    if own := store.checkpoints(spec):
        return own[-1]
    if spec.pretrained or spec.pruning is None:
        return 0
    start = spec.prune_epoch if spec.pruning.rewind is None else spec.pruning.rewind
    return start if start and start in store.checkpoints(spec.trunk) else 0


def dense_key(spec: Spec) -> Hashable:
    """What decides how long a dense epoch takes."""
    return (spec.dataset, spec.architecture, spec.recipe.batch_size, spec.recipe.slices, spec.device)


def pruned_key(spec: Spec) -> Hashable:
    """What decides how long an epoch after the pruning takes."""
    pruning = spec.pruning
    return (dense_key(spec), pruning and (pruning.criterion, pruning.ratio), spec.method)
