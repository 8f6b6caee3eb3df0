"""Detectors in tables: precision by pruning epoch, EPI against the best of them, when EPI triggers."""

import math
from collections.abc import Iterable, Iterator, Sequence

import pandas as pd

from pat.stability import EarlyPruningIndicator, highest_threshold
from pat.study.analysis.intervals import interval
from pat.study.experiments.detection.records import DetectionRecord

BEST = "best fixed epoch"
"""For each seed the fixed epoch with the highest precision on validation; compared on test."""

_COLUMNS = [
    "seed", "criterion", "pruned", "epoch", "triggered", "test", "half", "validation", "before", "after",
    "macs", "seconds",
]  # fmt: skip


def detector_runs(records: Iterable[DetectionRecord]) -> pd.DataFrame:
    """One row a run, and one a seed and criterion for :data:`BEST`.

    Returns:
        Columns ``seed``, ``criterion`` (empty for dense runs), ``pruned`` (``dense``, ``epoch 30``, ``EPI``,
        :data:`BEST`), ``epoch`` (in which Algorithm 1 ran), ``triggered``, ``test``, ``half`` (mAP at 0.5 on
        test), ``validation``, ``before``, ``after`` (all in percent), ``macs`` (percent of the dense
        detector's) and ``seconds``.
    """
    table = pd.DataFrame([_row(record) for record in records], columns=_COLUMNS)
    fixed = table[table["pruned"].str.startswith("epoch")]
    best = fixed.loc[fixed.groupby(["criterion", "seed"], sort=False)["validation"].idxmax()]
    whole = pd.concat([table, best.assign(pruned=BEST, seconds=0.0)])
    kinds = whole["pruned"].map({"EPI": 1, BEST: 2}).fillna(0)
    fixed_first = whole.assign(kind=kinds).sort_values(["criterion", "kind", "epoch", "seed"], kind="stable")
    return fixed_first.drop(columns="kind").reset_index(drop=True)


def _row(record: DetectionRecord) -> tuple[object, ...]:
    run, outcome = record.run, record.outcome
    names = {"dense": "dense", "epoch": f"epoch {run.epoch}", "epi": "EPI"}
    return (
        run.seed,
        run.criterion or "",
        names[run.kind],
        math.nan if outcome.prune_epoch is None else outcome.prune_epoch,
        record.triggered,
        record.test.mean,
        record.test.half,
        outcome.validation.mean,
        outcome.before.mean if outcome.before else math.nan,
        outcome.after.mean if outcome.after else math.nan,
        100 * outcome.size.macs / outcome.dense.macs,
        record.provenance.seconds,
    )


def detector_precision(table: pd.DataFrame) -> pd.DataFrame:
    """Precision on test by criterion and pruning epoch, means over seeds with their 95 % interval, as text.

    Args:
        table: of :func:`detector_runs`.
    """
    dense = table[table["pruned"] == "dense"].set_index("seed")["test"]
    rows = []
    for criterion, pruned, runs in _groups(table):
        lost = (dense - runs.set_index("seed")["test"]).dropna()
        rows.append(
            {
                "criterion": criterion or "–",
                "pruned": pruned,
                "epoch": "–" if pruned == "dense" else f"{runs['epoch'].mean():.1f}",
                "mAP": interval(runs["test"]).text(),
                "mAP at 0.5": interval(runs["half"]).text(),
                "less than dense": "–" if pruned == "dense" or lost.empty else interval(lost).text(),
                "multiply-accumulates": f"{runs['macs'].mean():.0f} %",
                "seeds": len(runs),
            }
        )
    return pd.DataFrame(rows)


def _groups(table: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    for (criterion, pruned), runs in table.groupby(["criterion", "pruned"], sort=False):
        yield str(criterion), str(pruned), runs


def detector_differences(table: pd.DataFrame) -> pd.DataFrame:
    """EPI minus each fixed epoch and minus the best, in points of mAP on test, paired by seed.

    Args:
        table: of :func:`detector_runs`.

    Returns:
        One row a seed, criterion and ``against`` with the ``difference``; nothing where runs are missing.
    """
    pruned = table[table["criterion"] != ""]
    wide = pruned.pivot_table(index=["criterion", "seed"], columns="pruned", values="test", sort=False)
    if "EPI" not in wide:
        return pd.DataFrame(columns=["criterion", "seed", "against", "difference"])
    others = wide.drop(columns="EPI")
    differences = others.rsub(wide["EPI"], axis=0).rename_axis(columns="against")
    return differences.reset_index().melt(["criterion", "seed"], value_name="difference").dropna()


def detector_differences_table(table: pd.DataFrame) -> pd.DataFrame:
    """:func:`detector_differences` as text: mean over seeds with its 95 % interval, uncorrected."""
    wide = detector_differences(table).groupby(["criterion", "against"], sort=False)["difference"]
    return wide.apply(lambda values: interval(values).text()).unstack().rename_axis(columns=None)


def detector_removal(table: pd.DataFrame) -> pd.DataFrame:
    """Precision on validation right before and right after the pruning epoch, and at the end, as text.

    Args:
        table: of :func:`detector_runs`.
    """
    runs = table[(table["criterion"] != "") & (table["pruned"] != BEST)]
    names = {"before": "before pruning", "after": "after removal", "validation": "at the end"}
    rows = [
        {
            "criterion": criterion,
            "pruned": pruned,
            **{name: interval(own[key].dropna()).plus_minus() for key, name in names.items()},
        }
        for criterion, pruned, own in _groups(runs)
    ]
    return pd.DataFrame(rows)


def detector_indicator_values(records: Iterable[DetectionRecord]) -> pd.DataFrame:
    """EPI over the epochs of the dense runs: ``seed``, ``criterion``, ``epoch``, ``value`` (if defined)."""
    rows = [
        (record.run.seed, criterion, epoch, value)
        for record in records
        if record.run.kind == "dense"
        for criterion, values in _followed(record).items()
        for epoch, value in enumerate(values)
        if value is not None
    ]
    return pd.DataFrame(rows, columns=["seed", "criterion", "epoch", "value"])


def _followed(record: DetectionRecord) -> dict[str, list[float | None]]:
    """EPI of each epoch of a dense run by criterion, as a detector that EPI prunes would have seen it."""
    values: dict[str, list[float | None]] = {}
    for criterion in record.run.scale.criteria:
        indicator = EarlyPruningIndicator(threshold=1)
        for epoch in record.outcome.history:
            indicator.update(epoch.counts[criterion])
        values[criterion] = indicator.values
    return values


def detector_triggers(records: Sequence[DetectionRecord]) -> pd.DataFrame:
    """When EPI triggers with the thresholds of classification, and which thresholds would have in time.

    Returns:
        One row a criterion, texts: ``threshold``; ``triggered`` (runs of how many, before the fall-back
        epoch); ``epoch`` (mean pruning epoch of those, with the range); ``highest in time`` (the highest
        threshold that prunes before the fall-back epoch: mean over the dense runs, with the range).
    """
    rows = []
    own = [record for record in records if record.run.kind == "epi"]
    for criterion in dict.fromkeys(record.run.criterion for record in own):
        runs = [record for record in own if record.run.criterion == criterion]
        epochs = [r.outcome.prune_epoch for r in runs if r.triggered and r.outcome.prune_epoch is not None]
        highest = [
            value
            for record in records
            if record.run.kind == "dense" and criterion is not None
            if (value := _highest(_followed(record)[criterion], record.run.scale.fallback)) is not None
        ]
        rows.append(
            {
                "criterion": criterion,
                "threshold": f"{runs[0].run.threshold:g}",
                "triggered": f"{len(epochs)} of {len(runs)}",
                "epoch": _range(epochs, 1),
                "highest in time": _range(highest, 3),
            }
        )
    return pd.DataFrame(rows)


def _highest(values: Sequence[float | None], latest: int) -> float | None:
    """The highest threshold that prunes in an epoch or before; None if no threshold does."""
    try:
        return highest_threshold(values, latest)
    except ValueError:
        return None


def _range(values: Sequence[float], digits: int) -> str:
    if not values:
        return "–"
    mean, low, high = (f"{v:.{digits}f}" for v in (sum(values) / len(values), min(values), max(values)))
    return f"{mean} ({low} to {high})"
