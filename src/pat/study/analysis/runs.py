"""Means over seeds, and paired differences, of the table of runs."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from pat.study.analysis.intervals import Interval, interval


def summary(table: pd.DataFrame, by: Sequence[str], value: str = "test_accuracy") -> pd.DataFrame:
    """Mean and interval over seeds of one column, per combination of ``by``; failed runs count as missing.

    Returns:
        Columns ``by``, ``mean``, ``low``, ``high`` (NaN for a single value), ``n``.
    """
    rows = []
    for key, part in table.dropna(subset=[value]).groupby(list(by), dropna=False, sort=True):
        found = interval(part[value])
        keys = dict(zip(by, key, strict=True))
        rows.append({**keys, "mean": found.mean, "low": found.low, "high": found.high, "n": found.n})
    means = pd.DataFrame(rows, columns=[*by, "mean", "low", "high", "n"])
    return means.astype({"mean": float, "low": float, "high": float})


def by_epoch(table: pd.DataFrame, value: str, digits: int) -> pd.DataFrame:
    """A column's mean ± half-width over seeds as text, one column per pruning epoch.

    Returns:
        Indexed by network and pruning; empty text where there is no run.
    """
    runs = table.dropna(subset=["prune_epoch", value])
    rows = [
        (network, pruning, epoch, interval(part[value]).plus_minus(digits))
        for (network, pruning, epoch), part in runs.groupby(["architecture", "pruning", "prune_epoch"])
    ]
    long = pd.DataFrame(rows, columns=["network", "pruning", "epoch", "text"])
    wide = long.pivot(index=["network", "pruning"], columns="epoch", values="text")
    return wide.fillna("").rename(columns=lambda epoch: f"p = {epoch:g}").rename_axis(columns=None)


def paired_difference(
    table: pd.DataFrame, first: Mapping[str, Any], second: Mapping[str, Any], value: str = "test_accuracy"
) -> Interval:
    """``first - second`` over the seeds that both have.

    Args:
        table: of :func:`~pat.study.store.rows.runs_table`.
        first, second: column values that select each side's runs.

    Raises:
        ValueError: if no seed has both, or a seed has several runs of one side.
    """
    sides = []
    for wanted in (first, second):
        part = table
        for column, want in wanted.items():
            part = part[part[column].isna()] if want is None else part[part[column] == want]
        series = part.set_index("seed")[value]
        if series.index.has_duplicates:
            raise ValueError(f"several runs of one seed match {dict(wanted)}")
        sides.append(series)
    both = pd.concat(sides, axis=1, join="inner").dropna()
    if both.empty:
        raise ValueError(f"no seed has a run of both {dict(first)} and {dict(second)}")
    return interval(both.iloc[:, 0] - both.iloc[:, 1])
