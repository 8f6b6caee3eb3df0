"""Where the pruning epoch hardly matters: the epochs around the oracle's that are as good."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from pat.study.analysis.grid import cells
from pat.study.analysis.intervals import interval
from pat.study.plan.profile import Profile
from pat.study.store.record import Record


def plateaus(records: Iterable[Record], profile: Profile, preset: str = "full") -> pd.DataFrame:
    """The plateau of every network, criterion and ratio of a sweep.

    The best epoch has the highest mean validation accuracy. Others are as good if their mean test accuracy is
    not under the 95 % interval of the best one's; the plateau reaches from the best as far as all epochs of
    the grid are.

    Args:
        records, profile, preset: see :func:`~pat.study.analysis.grid.cells`.

    Returns:
        Columns ``architecture``, ``criterion``, ``ratio``, ``best``, ``first`` and ``last`` (pruning epochs)
        and ``floor`` (the accuracy that is still as good, in percent).
    """
    own = cells(records, profile, preset)
    rows = []
    for key in dict.fromkeys(cell.key[:3] for cell in own):
        runs = [cell for cell in own if cell.key[:3] == key]
        rows.append((*key, *_plateau([cell.validation for cell in runs], [cell.test for cell in runs])))
    columns = ["architecture", "criterion", "ratio", "best", "first", "last", "floor"]
    return pd.DataFrame(rows, columns=columns)


def _plateau(
    validation: Sequence[Mapping[int, float]], test: Sequence[Mapping[int, float]]
) -> tuple[int, int, int, float]:
    """Best, first and last epoch and floor, from accuracies by epoch, one mapping a seed."""
    epochs = sorted({epoch for run in test for epoch in run})
    means = [float(np.mean([run[p] for run in validation if p in run])) for p in epochs]
    tests = [interval([run[p] for run in test if p in run]) for p in epochs]
    best = first = last = means.index(max(means))
    floor = tests[best].mean if tests[best].low is None else tests[best].low
    assert floor is not None
    while first > 0 and tests[first - 1].mean >= floor:
        first -= 1
    while last + 1 < len(epochs) and tests[last + 1].mean >= floor:
        last += 1
    return epochs[best], epochs[first], epochs[last], floor
