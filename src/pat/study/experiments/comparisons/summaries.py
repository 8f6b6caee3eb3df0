"""What each way to train leaves, reaches and costs: cells and records in, tables over seeds out."""

from collections.abc import Iterable

import pandas as pd

from pat.study.analysis.intervals import Interval, interval
from pat.study.analysis.remains import layers_at_start
from pat.study.experiments.comparisons.comparison import DENSE, Cell
from pat.study.store.record import Record
from pat.study.store.speeds import final_structure
from pat.study.wording import many

_COLUMNS = [
    "panel", "way", "seed", "status", "accuracy", "epoch", "macs", "parameters", "training", "emptied",
]  # fmt: skip
FEWEST = 3
"""Values that an interval is shown of: from two it says nothing but that they are two."""
_NUMBERS = ["accuracy", "epoch", "macs", "parameters", "training", "emptied"]


def comparison_table(cells: Iterable[Cell], records: Iterable[Record]) -> pd.DataFrame:
    """One row a cell that has its record.

    Args:
        cells: of :meth:`~pat.study.experiments.comparisons.comparison.Comparison.cells`.
        records: of their runs, in any order.

    Returns:
        ``panel``, ``way``, ``seed``, ``status``, ``accuracy`` (test, in percent, at the last epoch; that of a
        constant answer if the network collapsed), ``epoch`` of pruning (0 of all rules at initialisation, the
        first of several, NaN of dense runs), ``macs``, ``parameters`` and ``training``
        (multiply-accumulates of an image, parameters, and multiply-accumulates of the whole training, in
        percent of the dense network's; NaN if it collapsed) and ``emptied``, the layers without a channel.
        Panels and ways are in the order of the cells.
    """
    known = {record.spec: record for record in records}
    listed = list(cells)
    rows = [(cell.panel, cell.way, *_row(known[cell.spec])) for cell in listed if cell.spec in known]
    table = pd.DataFrame(rows, columns=_COLUMNS).astype(dict.fromkeys(_NUMBERS, float))
    places = {
        name: {value: place for place, value in enumerate(dict.fromkeys(getattr(c, name) for c in listed))}
        for name in ("panel", "way")
    }
    ranks = {f"{name} rank": table[name].map(places[name]) for name in places}
    order = table.assign(**ranks).sort_values([*ranks, "seed"], kind="stable")
    return order.drop(columns=list(ranks)).reset_index(drop=True)


def _row(record: Record) -> tuple[object, ...]:
    spec, result, cost, left = record.spec, record.result, record.cost, final_structure(record)
    return (
        spec.seed,
        record.status,
        result.test_accuracy if result else None,
        _pruned_in(record),
        100 * cost.macs / cost.dense_macs if cost else None,
        100 * cost.parameters / cost.dense_parameters if cost else None,
        100 * cost.training_share if cost else None,
        None if left is None else sum(width == 0 for width in left.values()),
    )


def _pruned_in(record: Record) -> int | None:
    found = record.result.prune_epoch if record.result else record.spec.prune_epoch
    return 0 if found is None and record.spec.method is not None else found


def panels_of(table: pd.DataFrame) -> list[str]:
    """Those that have a run."""
    return [str(panel) for panel in table["panel"].unique()]


def ways_of(table: pd.DataFrame, panel: str) -> list[tuple[str, pd.DataFrame]]:
    """The runs of each way that has some in a panel, in their order."""
    own = table[table["panel"] == panel]
    return [(str(way), runs) for way, runs in own.groupby("way", sort=False)]


def more_than(table: pd.DataFrame, way: str, other: str, panel: str) -> pd.Series:
    """Test accuracy of one way minus another's in a panel, in points, over the seeds that have both.

    Args:
        table: of :func:`comparison_table`.
        way, other: what they are called there.
        panel: where.

    Returns:
        Indexed by seed.
    """
    own = table[table["panel"] == panel]
    sides = [own[own["way"] == name].set_index("seed")["accuracy"].dropna() for name in (way, other)]
    return (sides[0] - sides[1]).dropna().rename("difference")


def comparison_summary(table: pd.DataFrame, panel: str, reference: str) -> pd.DataFrame:
    """Accuracy, size and cost of every way in a panel, as text.

    Args:
        table: of :func:`comparison_table`.
        panel: where.
        reference: the way that the others are held against.

    Returns:
        One row a way: ``way``, ``test accuracy`` (percent), ``minus the reference`` (points, paired by seed,
        with the 95 % interval), ``pruning epoch``, ``MACs``, ``parameters`` and ``training MACs`` (percent of
        the dense network's), ``emptied layers`` and ``collapsed`` (how many of how many runs). Means over
        seeds ± half the 95 % interval, or with the number of values if there are fewer than :data:`FEWEST`.
    """
    rows = []
    for way, runs in ways_of(table, panel):
        gap = more_than(table, way, reference, panel) if way != reference else pd.Series(dtype=float)
        lost = int((runs["status"] == "collapsed").sum())
        rows.append(
            {
                "way": way,
                "test accuracy": _mean(runs["accuracy"]),
                "minus the reference": _paired(gap),
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


def widths_left(cells: Iterable[Cell], records: Iterable[Record], panel: str) -> pd.DataFrame:
    """Which layers each way makes narrow: the mean share of their channels that it keeps.

    Args:
        cells, records: as in :func:`comparison_table`.
        panel: where; its runs are of one network.

    Returns:
        Indexed by layer, in the network's order: ``channels`` of the dense layer, then a column a way, in
        percent, mean over the seeds whose network did not collapse. Empty without any run.
    """
    known = {record.spec: record for record in records}
    found: dict[str, list[dict[str, int]]] = {}
    network = None
    for cell in cells:
        if cell.panel != panel or cell.way == DENSE or cell.spec not in known:
            continue
        left = final_structure(known[cell.spec])
        if left is not None:
            found.setdefault(cell.way, []).append(left)
            network = cell.spec.dataset, cell.spec.architecture
    if network is None:
        return pd.DataFrame()
    channels = layers_at_start(*network)["channels"]
    shares = {way: 100 * pd.DataFrame(own).mean() / channels for way, own in found.items()}
    return pd.DataFrame({"channels": channels} | shares).reindex(channels.index).dropna()


def known_interval(values: "pd.Series[float]") -> Interval | None:
    """The interval of those values that there are; None without any."""
    there = values.dropna()
    return interval(there) if len(there) else None


def _mean(values: "pd.Series[float]") -> str:
    found = known_interval(values)
    if found is None:
        return "–"
    return found.plus_minus() if found.n >= FEWEST else _few(found)


def _paired(gap: "pd.Series[float]") -> str:
    found = known_interval(gap)
    if found is None:
        return ""
    return found.text() if found.n >= FEWEST else _few(found)


def _few(found: Interval) -> str:
    """The mean, and of how many values it is."""
    alone = Interval(found.mean, None, None, found.n)
    return f"{alone.plus_minus()} ({many(found.n, 'value')})"


def _epoch(epochs: "pd.Series[float]") -> str:
    there = epochs.dropna()
    return "–" if there.empty else f"{there.mean():.1f}".removesuffix(".0")
