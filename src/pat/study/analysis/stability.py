"""Structures over time: what was watched in dense runs, and when EPI would have pruned them."""

from collections.abc import Iterable, Sequence

import pandas as pd

from pat.stability import EarlyPruningIndicator, similarity
from pat.study.store.record import Record
from pat.study.store.rows import runs_table

MEASURES = {
    "EPI": "psi",
    "Spearman": "spearman",
    "Kendall": "kendall",
    "mask Hamming": "hamming",
    "mask Jaccard": "jaccard",
}
"""Name in tables and figures, and key in a record's ``tracked``."""


def stability_table(records: Iterable[Record]) -> pd.DataFrame:
    """What was watched in dense runs, one row per epoch, criterion, ratio and measure.

    Returns:
        Columns ``architecture``, ``seed``, ``epoch``, ``criterion``, ``ratio``, ``measure`` (a key of
        :data:`MEASURES`), ``value`` (mean over the look-back window, NaN until it is full) and ``previous``
        (against the previous epoch alone). Rank correlations do not depend on the ratio; they are repeated.
    """
    rows = []
    for record in records:
        if record.spec.experiment != "dense":
            continue
        for epoch in record.history:
            for criterion, tracked in (epoch.tracked or {}).items():
                for ratio, at in tracked["ratios"].items():
                    for measure, key in MEASURES.items():
                        value, previous = at[key] if key in at else tracked[key]
                        rows.append(
                            (record.spec.architecture, record.spec.seed, epoch.epoch, criterion)
                            + (float(ratio), measure, value, previous)
                        )
    columns = ["architecture", "seed", "epoch", "criterion", "ratio", "measure", "value", "previous"]
    return pd.DataFrame(rows, columns=columns).astype({"value": float, "previous": float})


def structures(record: Record, criterion: str, ratio: float) -> pd.DataFrame:
    """The one-shot structures N_t of a dense run: rows are epochs, columns layers, values channels.

    Raises:
        ValueError: if the run did not watch that criterion and ratio.
    """
    key, rows = f"{ratio:g}", {}
    for epoch in record.history:
        if epoch.tracked:
            if key not in epoch.tracked.get(criterion, {}).get("ratios", {}):
                raise ValueError(f"{record.spec.title} did not watch {criterion} at ratio {key}")
            rows[epoch.epoch] = epoch.tracked[criterion]["ratios"][key]["counts"]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=list(record.layers))
    return table.rename_axis(index="epoch", columns="layer")


def epi(record: Record, criterion: str, ratio: float, look_back: int = 5) -> list[float | None]:
    """EPI_t of a dense run by epoch, None where undefined: no threshold and no patience is asked for it.

    Raises:
        ValueError: if the run did not watch that criterion and ratio, or the look-back is out of range.
    """
    indicator = EarlyPruningIndicator(1, look_back)
    for row in structures(record, criterion, ratio).to_numpy().tolist():
        indicator.update(row)
    return indicator.values


def epi_epoch(
    record: Record, criterion: str, ratio: float, threshold: float, look_back: int = 5, patience: int = 5
) -> int | None:
    """The epoch in which EPI would have pruned a dense run, or None if it did not trigger in time."""
    indicator = EarlyPruningIndicator(threshold, look_back, patience)
    for row in structures(record, criterion, ratio).to_numpy():
        indicator.update([int(n) for n in row])
    triggered = indicator.trigger_epoch
    last = record.spec.recipe.epochs - 1
    return triggered + 1 if triggered is not None and triggered < last else None


def one_shot_similarity(records: Sequence[Record]) -> pd.DataFrame:
    """Psi between the structure that EPI looked at last and the one that Algorithm 1 left.

    Returns:
        One row per pruned run with a dense run beside it: its columns of :func:`runs_table`, and ``psi``
        between N_{p-1} (one-shot) and the structure after the pruning epoch p.
    """
    dense = {r.id: r for r in records if r.spec.experiment == "dense"}
    rows, values = [], []
    for record in records:
        trunk = dense.get(record.spec.trunk.id)
        pruned = next((e for e in record.history if e.phase == "prune"), None)
        pruning = record.spec.pruning
        if trunk is None or pruning is None or pruned is None or pruned.epoch == 0:
            continue
        if f"{pruning.ratio:g}" not in trunk.history[0].tracked[pruning.criterion]["ratios"]:  # type: ignore[index]
            continue
        seen = structures(trunk, pruning.criterion, pruning.ratio).loc[pruned.epoch - 1]
        assert pruned.structure is not None
        rows.append(record)
        values.append(similarity({str(name): int(n) for name, n in seen.to_dict().items()}, pruned.structure))
    table = runs_table(rows)
    table["psi"] = values
    return table


def epi_against_ratio(stability: pd.DataFrame) -> pd.DataFrame:
    """Does EPI fall as the ratio rises? Spearman's rho of ratio and EPI, mean over a run's epochs.

    Args:
        stability: of :func:`stability_table`.

    Returns:
        Columns ``architecture``, ``criterion``, ``seed`` and ``rho``; -1: in every epoch the higher ratio
        has the lower EPI. Epochs in which all ratios have the same EPI have no ranking and are left out.
    """
    epi = stability[stability["measure"] == "EPI"].dropna(subset=["value"])
    rows = []
    for (architecture, criterion, seed), run in epi.groupby(["architecture", "criterion", "seed"]):
        ranks = run.pivot_table(index="epoch", columns="ratio", values="value").rank(axis=1)
        ranks = ranks[ranks.nunique(axis=1) > 1]
        if len(ranks):
            rho = ranks.corrwith(ranks.columns.to_series().rank(), axis=1)
            rows.append((architecture, criterion, seed, float(rho.mean())))
    return pd.DataFrame(rows, columns=["architecture", "criterion", "seed", "rho"])
