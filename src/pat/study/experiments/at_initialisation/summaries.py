"""What each way to prune leaves, reaches and costs: records in, a row a run, and tables over seeds, out."""

from collections.abc import Iterable

import pandas as pd

from pat.study.analysis.intervals import Interval, interval
from pat.study.analysis.remains import layers_at_start
from pat.study.experiments.at_initialisation.cells import DENSE, WAYS, algorithm1, ratio_of, way_of
from pat.study.store.record import Record
from pat.study.store.speeds import final_structure

REFERENCE = algorithm1("gradient")
"""What the others are held against: the paper's method at initialisation, by its own criterion."""

_COLUMNS = [
    "way", "ratio", "seed", "status", "accuracy", "epoch", "macs", "parameters", "training", "emptied",
]  # fmt: skip
_NUMBERS = ["ratio", "accuracy", "epoch", "macs", "parameters", "training", "emptied"]


def initialisation_table(records: Iterable[Record]) -> pd.DataFrame:
    """One row a run of the comparison.

    Args:
        records: of :func:`~pat.study.experiments.at_initialisation.cells.initialisation_specs`.

    Returns:
        ``way`` (one of ``WAYS``), ``ratio`` (NaN: dense), ``seed``, ``status``, ``accuracy`` (test, in
        percent, at the last epoch; that of a constant answer if the network collapsed), ``epoch`` of pruning
        (0 of all rules at initialisation, NaN of dense runs), ``macs``, ``parameters`` and ``training``
        (multiply-accumulates of an image, parameters, and multiply-accumulates of the whole training, in
        percent of the dense network's; NaN if it collapsed) and ``emptied``, the layers without a channel.
    """
    table = pd.DataFrame([_row(record) for record in records], columns=_COLUMNS)
    table = table.astype(dict.fromkeys(_NUMBERS, float))
    rank = table["way"].map({way: place for place, way in enumerate(WAYS)})
    order = table.assign(rank=rank).sort_values(["rank", "ratio", "seed"], kind="stable")
    return order.drop(columns="rank").reset_index(drop=True)


def _row(record: Record) -> tuple[object, ...]:
    spec, result, cost, left = record.spec, record.result, record.cost, final_structure(record)
    epoch = 0 if spec.method is not None else result.prune_epoch if result else spec.prune_epoch
    return (
        way_of(spec),
        ratio_of(spec),
        spec.seed,
        record.status,
        result.test_accuracy if result else None,
        epoch,
        100 * cost.macs / cost.dense_macs if cost else None,
        100 * cost.parameters / cost.dense_parameters if cost else None,
        100 * cost.training_share if cost else None,
        None if left is None else sum(width == 0 for width in left.values()),
    )


def more_than(table: pd.DataFrame, way: str, other: str, ratio: float) -> pd.Series:
    """Test accuracy of one way minus another's at a ratio, in points, over the seeds that have both.

    Args:
        table: of :func:`initialisation_table`.
        way, other: what they are called there; dense runs count at every ratio.
        ratio: share of neurons removed.

    Returns:
        Indexed by seed.
    """
    sides = [
        table[(table["way"] == name) & ((table["ratio"] == ratio) | (name == DENSE))]
        .set_index("seed")["accuracy"]
        .dropna()
        for name in (way, other)
    ]
    return (sides[0] - sides[1]).dropna().rename("difference")


def ways_at(table: pd.DataFrame, ratio: float) -> list[tuple[str, pd.DataFrame]]:
    """The runs of each way that has some at a ratio, dense ones first, in the order of ``WAYS``."""
    own = table[(table["ratio"] == ratio) | (table["way"] == DENSE)]
    return [(str(way), runs) for way, runs in own.groupby("way", sort=False)]


def initialisation_summary(table: pd.DataFrame, ratio: float) -> pd.DataFrame:
    """Accuracy, size and cost of every way at a ratio, as text.

    Args:
        table: of :func:`initialisation_table`.
        ratio: share of neurons removed.

    Returns:
        One row a way: ``way``, ``test accuracy`` (percent), ``minus the reference`` (points, paired by seed,
        with the 95 % interval; see :data:`REFERENCE`), ``pruning epoch``, ``MACs``, ``parameters`` and
        ``training MACs`` (percent of the dense network's), ``emptied layers`` and ``collapsed`` (how many of
        how many runs). Means over seeds ± half the 95 % interval.
    """
    rows = []
    for way, runs in ways_at(table, ratio):
        gap = more_than(table, way, REFERENCE, ratio) if way != REFERENCE else pd.Series(dtype=float)
        lost = int((runs["status"] == "collapsed").sum())
        rows.append(
            {
                "way": way,
                "test accuracy": _mean(runs["accuracy"]),
                "minus the reference": interval(gap).text() if len(gap) else "",
                "pruning epoch": _epoch(runs["epoch"]),
                "MACs": _mean(runs["macs"]),
                "parameters": _mean(runs["parameters"]),
                "training MACs": _mean(runs["training"]),
                "emptied layers": "–" if way == DENSE else _mean(runs["emptied"]),
                "collapsed": f"{lost} of {len(runs)}",
            }
        )
    columns = ["way", "test accuracy", "minus the reference", "pruning epoch", "MACs", "parameters",
               "training MACs", "emptied layers", "collapsed"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def widths_left(records: Iterable[Record], ratio: float) -> pd.DataFrame:
    """Which layers each way makes narrow: the mean share of their channels that it keeps.

    Args:
        records: as :func:`initialisation_table`.
        ratio: share of neurons removed.

    Returns:
        Indexed by layer, in the network's order: ``channels`` of the dense layer, then a column a way, in
        percent, mean over the seeds whose network did not collapse. Empty without any run.
    """
    found: dict[str, list[dict[str, int]]] = {}
    network = None
    for record in records:
        left = final_structure(record)
        if left is not None and ratio_of(record.spec) == ratio:
            found.setdefault(way_of(record.spec), []).append(left)
            network = record.spec.dataset, record.spec.architecture
    if network is None:
        return pd.DataFrame()
    channels = layers_at_start(*network)["channels"]
    shares = {way: 100 * pd.DataFrame(found[way]).mean() / channels for way in WAYS if way in found}
    return pd.DataFrame({"channels": channels} | shares).reindex(channels.index).dropna()


def known(values: "pd.Series[float]") -> Interval | None:
    """The interval of those values that there are; None without any."""
    there = values.dropna()
    return interval(there) if len(there) else None


def _mean(values: "pd.Series[float]") -> str:
    found = known(values)
    return "–" if found is None else found.plus_minus()


def _epoch(epochs: "pd.Series[float]") -> str:
    there = epochs.dropna()
    return "–" if there.empty else f"{there.mean():.1f}".removesuffix(".0")
