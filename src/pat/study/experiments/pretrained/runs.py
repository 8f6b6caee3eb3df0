"""Train, prune, finetune against EPI on a longer schedule (Sec. 4.5, Table 3)."""

from collections.abc import Iterable, Sequence
from statistics import fmean, median
from typing import Literal

import pandas as pd

from pat.study.plan.profile import Profile
from pat.study.plan.spec import EPI
from pat.study.store.record import MissingRun, Record

Budget = Literal["epochs", "time"]
"""What EPI's run has as much of as training, pruning and finetuning: epochs, or training time."""

METHODS = {"finetuned": "train, prune, finetune", "epochs": "EPI, equal epochs", "time": "EPI, equal time"}
"""Names of the columns of Table 3 for people."""

_COLUMNS = [
    "architecture", "criterion", "ratio", "method", "seed", "status", "test_accuracy", "prune_epoch",
    "triggered", "epochs", "seconds", "training", "macs_share",
]  # fmt: skip


def pretrained_table(records: Iterable[Record]) -> pd.DataFrame:
    """Runs of Table 3, one row a ratio, method and seed, with what each spent.

    Args:
        records: of the experiment.

    Returns:
        ``method`` (of :data:`METHODS`), ``test_accuracy`` in percent (NaN for a failed run), ``prune_epoch``
        (of the finetuned: counted from the start of finetuning), ``triggered`` (False if EPI stayed silent
        until its fall-back epoch; None where nothing can trigger), ``epochs`` and ``seconds`` of the whole
        training, the dense one before finetuning included, ``training``, its multiply-accumulates as a
        multiple of one dense run's, and ``macs_share`` of the pruned network. A run of EPI whose length is
        that of both budgets has a row for each.
    """
    records = list(records)
    by_id = {record.id: record for record in records}
    rows = []
    for tuned in (record for record in records if record.spec.pretrained):
        dense = by_id.get(tuned.spec.trunk.id)
        if dense is None:
            continue
        ratio, seed = _ratio(tuned), tuned.spec.seed
        rows.append(_row("finetuned", dense, tuned))
        lengths: dict[str, int | None] = {
            "epochs": _twice(dense),
            "time": _length_of_equal_time(records, ratio),
        }
        for method, epochs in lengths.items():
            found = _by_epi(records, ratio, seed, epochs)
            rows += [] if found is None else [_row(method, dense, found)]
    table = pd.DataFrame(rows, columns=_COLUMNS)
    return table.astype(
        {"test_accuracy": float, "prune_epoch": float, "training": float, "macs_share": float}
    )


def _row(method: str, dense: Record, record: Record) -> dict[str, object]:
    pruning, cost, result = record.spec.pruning, record.cost, record.result
    assert pruning is not None
    parts = [dense, record] if record.spec.pretrained else [record]
    scale = record.spec.recipe.epochs / dense.spec.recipe.epochs
    return {
        "architecture": record.spec.architecture,
        "criterion": pruning.criterion,
        "ratio": pruning.ratio,
        "method": method,
        "seed": record.spec.seed,
        "status": record.status,
        "test_accuracy": result.test_accuracy if result else None,
        "prune_epoch": result.prune_epoch if result else None,
        "triggered": triggered(record),
        "epochs": sum(part.spec.recipe.epochs for part in parts),
        "seconds": sum(training_seconds(part) for part in parts),
        "training": cost.training_share * scale if cost else None,
        "macs_share": cost.macs / cost.dense_macs if cost else None,
    }


def triggered(record: Record) -> bool | None:
    """Whether EPI had triggered when a run that it decides was pruned; False if that was its fall-back epoch.

    Returns:
        None for a run that EPI does not decide.
    """
    policy = record.spec.pruning.policy if record.spec.pruning else None
    if not isinstance(policy, EPI):
        return None
    values = [epoch.epi for epoch in record.history if epoch.phase == "dense"][-policy.patience - 1 :]
    if record.result is None or record.result.prune_epoch is None or not values or values[-1] is None:
        return False
    before = [value for value in values[:-1] if value is not None]
    complete = len(before) == policy.patience or policy.history == "available"
    return complete and values[-1] >= max([policy.threshold, *before])


def training_seconds(record: Record) -> float:
    """Time of a run's epochs: the median dense and the median sparse one, times their numbers.

    Single epochs are disturbed by whatever else a machine does. The pruning epoch counts as dense.
    """
    total = 0.0
    for sparse in (False, True):
        seconds = [epoch.seconds for epoch in record.history if (epoch.phase == "sparse") == sparse]
        total += len(seconds) * median(seconds) if seconds else 0.0
    return total


def dense_epoch_seconds(records: Iterable[Record]) -> pd.Series:
    """Median dense epoch of each run that has dense epochs, in seconds, by its id.

    The runs of an experiment do the same work in them, so that only the machine makes them differ.
    """
    found = {}
    for record in records:
        seconds = [epoch.seconds for epoch in record.history if epoch.phase == "dense"]
        if seconds:
            found[record.id] = median(seconds)
    return pd.Series(found, dtype=float, name="seconds")


def epochs_of_equal_time(records: Sequence[Record], ratio: float) -> int:
    """How many epochs EPI's run may take for the time that train, prune, finetune took, mean over seeds.

    Epochs are timed by a run's median dense and median sparse epoch, since single ones are disturbed.

    Args:
        records: dense and finetuned runs, and those by EPI on twice the dense runs' schedule.
        ratio: alpha.

    Raises:
        MissingRun: if a run of that ratio is missing or was not pruned.
    """
    wanted = []
    for tuned in (r for r in records if r.spec.pretrained and _ratio(r) == ratio):
        dense = next((r for r in records if r.id == tuned.spec.trunk.id), None)
        if dense is None:
            raise MissingRun(f"the dense run of {tuned.spec.title} is missing")
        own = _by_epi(records, ratio, tuned.spec.seed, _twice(dense))
        if own is None:
            raise MissingRun(f"no run of EPI on {_twice(dense)} epochs beside {tuned.spec.title}")
        if own.result is None or own.result.prune_epoch is None:
            raise MissingRun(f"{own.spec.title} was not pruned, so its sparse epochs have no time")
        times = {
            phase: median(e.seconds for e in own.history if (e.phase == "sparse") == (phase == "sparse"))
            for phase in ("dense", "sparse")
        }
        budget = len(dense.history) * median(e.seconds for e in dense.history)
        budget += len(tuned.history) * median(e.seconds for e in tuned.history)
        before = own.result.prune_epoch + 1
        wanted.append(before + (budget - before * times["dense"]) / times["sparse"])
    if not wanted:
        raise MissingRun(f"no finetuned run at ratio {ratio:g} to take the time of")
    return round(fmean(wanted))


def _length_of_equal_time(records: Sequence[Record], ratio: float) -> int | None:
    try:
        return epochs_of_equal_time(records, ratio)
    except MissingRun:
        return None


def _twice(dense: Record) -> int:
    return 2 * dense.spec.recipe.epochs


def _by_epi(records: Iterable[Record], ratio: float, seed: int, epochs: int | None) -> Record | None:
    """The run that EPI decides on a schedule of that length."""
    for record in records:
        spec = record.spec
        decided = spec.pruning is not None and isinstance(spec.pruning.policy, EPI)
        if decided and (_ratio(record), spec.seed, spec.recipe.epochs) == (ratio, seed, epochs):
            return record
    return None


def _ratio(record: Record) -> float:
    return record.spec.pruning.ratio if record.spec.pruning else 0.0


def pretrained_differences(table: pd.DataFrame) -> pd.DataFrame:
    """EPI minus train, prune, finetune, test accuracy in points.

    Args:
        table: of :func:`pretrained_table`.

    Returns:
        Columns ``ratio``, ``seed``, ``budget`` (``epochs`` or ``time``) and ``difference``, without failed
        runs.
    """
    runs = table.dropna(subset=["test_accuracy"])
    wide = runs.pivot_table(index=["ratio", "seed"], columns="method", values="test_accuracy")
    wide = wide.reindex(columns=list(METHODS))
    gaps = wide[["epochs", "time"]].sub(wide["finetuned"], axis=0).rename_axis(columns="budget")
    long = gaps.melt(ignore_index=False, value_name="difference").dropna(subset=["difference"])
    return long.reset_index()[["ratio", "seed", "budget", "difference"]]


def pretrained_difference(
    records: Iterable[Record], profile: Profile, preset: str, budget: Budget
) -> pd.Series:
    """EPI minus train, prune, finetune, test accuracy in points, mean over the ratios, by seed.

    Args:
        records: of the experiment ``pretrained``, or none.
        profile, preset: have its settings.
        budget: what both sides have as much of.

    Returns:
        Indexed by seed, without the seeds that lack a run of some ratio.

    Raises:
        ValueError: for an unknown budget, or if the preset does not have the experiment.
    """
    if budget not in ("epochs", "time"):
        raise ValueError(f"unknown budget {budget!r}; known are epochs, time")
    records = list(records)
    empty = pd.Series(dtype=float, name="difference", index=pd.Index([], name="seed", dtype=int))
    if not records:
        return empty
    own = profile.preset(preset).pretrained
    if own is None:
        raise ValueError(f"preset {preset!r} has no runs of pretrained networks")
    return over_ratios(pretrained_table(records), own.ratios, budget)


def over_ratios(table: pd.DataFrame, ratios: Sequence[float], budget: str) -> pd.Series:
    """:func:`pretrained_differences` of one budget, mean over the ratios, of the seeds that have all."""
    found = pretrained_differences(table)
    found = found[(found["budget"] == budget) & found["ratio"].isin(ratios)]
    seeds = found.groupby("seed")["difference"].agg(["mean", "size"])
    return seeds.loc[seeds["size"] == len(ratios), "mean"].rename("difference")
