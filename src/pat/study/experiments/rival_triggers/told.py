"""Dense runs told again: what their records still know of every epoch, to a policy that decides anew."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Never

from pat.criteria import Criterion
from pat.policy import NamedPolicy
from pat.rivals.triggers.threshold import Told
from pat.stability import Structure
from pat.study.analysis.stability import structures
from pat.study.store.record import Record

MEASURES = ("spearman", "kendall", "hamming", "jaccard")
"""As records name them; the first two are the same at all ratios."""


class NotRecorded(ValueError):
    """A policy asks for what records do not keep."""


class _Gone(Mapping[str, Any]):
    """Tensors by group that nobody kept."""

    def __init__(self, what: str) -> None:
        self._what = what

    def _refuse(self) -> Never:
        raise NotRecorded(f"it needs the {self._what} of every epoch, which records do not keep")

    def __getitem__(self, name: str) -> Never:
        self._refuse()

    def __iter__(self) -> Never:
        self._refuse()

    def __len__(self) -> int:
        return self._refuse()


@dataclass(frozen=True)
class Replay:
    """What a policy makes of a dense run.

    Attributes:
        epoch: in which it would prune; None if it did not trigger while there was an epoch left to prune in.
        signals: by epoch, what it held against its rule; None where that was undefined.
    """

    epoch: int | None
    signals: tuple[float | None, ...]


def epochs_told(record: Record, criterion: Criterion, ratio: float) -> Iterator[tuple[Structure, Told]]:
    """What a policy that prunes by a criterion at a ratio would have been told after every dense epoch.

    The structure and the loss are there, and so are the comparisons with earlier epochs; scores and masks are
    not, and a policy that asks for them gets :class:`NotRecorded`.

    Raises:
        ValueError: if the run did not watch that criterion and ratio.
    """
    counts = structures(record, criterion, ratio).to_dict("index")
    for epoch in record.history:
        if epoch.tracked:
            watched = epoch.tracked[criterion]
            at = {**watched, **watched["ratios"][f"{ratio:g}"]}
            window, before = ({name: at[name][side] for name in MEASURES} for side in (0, 1))
            loss = math.nan if epoch.loss is None else epoch.loss
            seen = Told(_Gone("scores"), _Gone("masks"), loss, before, window, record.spec.tracking.look_back)
            yield {str(layer): int(n) for layer, n in counts[epoch.epoch].items()}, seen


def replay(
    policy: NamedPolicy,
    record: Record,
    criterion: Criterion,
    ratio: float,
    told: Iterable[tuple[Structure, Told]] | None = None,
) -> Replay:
    """When a policy would have pruned a dense run; the decision is the policy's own.

    Args:
        policy: whatever it has seen is left out.
        record: the dense run.
        criterion, ratio: what would be pruned.
        told: what :func:`epochs_told` makes of that, if it is there already.

    Raises:
        NotRecorded: if the policy asks for what records do not keep.
        ValueError: if the run did not watch that criterion and ratio.
    """
    epochs = record.spec.recipe.epochs
    fresh = policy.build(record.spec.seed, epochs)
    told = epochs_told(record, criterion, ratio) if told is None else told
    signals = tuple(fresh.update(*epoch) for epoch in told)
    due = fresh.prune_epoch
    return Replay(due if due is not None and due < epochs else None, signals)
