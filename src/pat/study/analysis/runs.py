"""Records as one tidy table of runs, and means over their seeds."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from pat.study.analysis.intervals import Interval, interval
from pat.study.store.record import Record

_COLUMNS = [
    "id", "profile", "dataset", "architecture", "criterion", "ratio", "pruning", "policy",
    "prune_epoch", "seed", "status", "test_accuracy", "validation_accuracy", "macs", "macs_share",
    "parameters_share", "training_share", "seconds", "hardware", "commit",
]  # fmt: skip


def runs_table(records: Iterable[Record]) -> pd.DataFrame:
    """One row a run: what it was, how it ended, what it cost."""
    return pd.DataFrame([_row(record) for record in records], columns=_COLUMNS)


def _row(record: Record) -> dict[str, Any]:
    spec, pruning, result, cost = record.spec, record.spec.pruning, record.result, record.cost
    return {
        "id": record.id,
        "profile": spec.profile,
        "dataset": spec.dataset,
        "architecture": spec.architecture,
        "criterion": pruning.criterion if pruning else None,
        "ratio": pruning.ratio if pruning else None,
        "pruning": f"{pruning.criterion} {100 * pruning.ratio:g} %" if pruning else spec.experiment,
        "policy": pruning.policy.kind if pruning and spec.experiment == "sweep" else spec.experiment,
        "prune_epoch": result.prune_epoch if result else spec.prune_epoch,
        "seed": spec.seed,
        "status": record.status,
        "test_accuracy": result.test_accuracy if result else None,
        "validation_accuracy": result.validation_accuracy if result else None,
        "macs": cost.macs if cost else None,
        "macs_share": cost.macs / cost.dense_macs if cost else None,
        "parameters_share": cost.parameters / cost.dense_parameters if cost else None,
        "training_share": cost.training_share if cost else None,
        "seconds": record.provenance.seconds,
        "hardware": record.provenance.hardware,
        "commit": record.provenance.commit,
    }


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
        table: from :func:`runs_table`.
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
