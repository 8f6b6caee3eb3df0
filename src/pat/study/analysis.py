"""Analysis: records in, tidy tables and intervals out; nothing here trains or draws."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from pat.stability import EarlyPruningIndicator, similarity
from pat.study.profile import Contrast, Profile
from pat.study.record import Record

CONFIDENCE = 0.95
MEASURES = {
    "EPI": "psi",
    "Spearman": "spearman",
    "Kendall": "kendall",
    "mask Hamming": "hamming",
    "mask Jaccard": "jaccard",
}
"""Name in tables and figures, and key in a record's ``tracked``."""


_COLUMNS = [
    "id", "profile", "dataset", "architecture", "criterion", "ratio", "pruning", "policy",
    "prune_epoch", "seed", "status", "test_accuracy", "validation_accuracy", "macs", "macs_share",
    "parameters_share", "training_share", "seconds", "hardware", "commit",
]  # fmt: skip


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % confidence interval (Student's t over independent values).

    Attributes:
        mean, low, high: in the values' unit; low and high are None for a single value.
        n: number of values.
    """

    mean: float
    low: float | None
    high: float | None
    n: int

    def plus_minus(self, digits: int = 1) -> str:
        """``mean ± half-width`` for wide tables."""
        mean = f"{self.mean:.{digits}f}"
        return mean if self.high is None else f"{mean} ± {self.high - self.mean:.{digits}f}"

    def text(self, digits: int = 1, unit: str = "") -> str:
        """``mean [low, high]`` for tables."""
        mean = f"{self.mean:.{digits}f}{unit}"
        if self.low is None or self.high is None:
            return f"{mean} (one value)"
        return f"{mean} [{self.low:.{digits}f}, {self.high:.{digits}f}]"


def interval(values: Iterable[float]) -> Interval:
    """Mean and t-interval of some values.

    Raises:
        ValueError: if there is none, or one is not finite.
    """
    data = np.asarray(list(values), dtype=float)
    if data.size == 0 or not np.isfinite(data).all():
        raise ValueError(f"an interval needs finite values, got {data.tolist()}")
    mean = float(data.mean())
    if data.size == 1:
        return Interval(mean, None, None, 1)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, data.size - 1) * stats.sem(data))
    return Interval(mean, mean - half, mean + half, int(data.size))


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
        "pruning": f"{pruning.criterion} {100 * pruning.ratio:g} %" if pruning else "dense",
        "policy": pruning.policy.kind if pruning else "dense",
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


def stability_table(records: Iterable[Record]) -> pd.DataFrame:
    """What was watched in dense runs, one row per epoch, criterion, ratio and measure.

    Returns:
        Columns ``architecture``, ``seed``, ``epoch``, ``criterion``, ``ratio``, ``measure`` (a key of
        :data:`MEASURES`), ``value`` (mean over the look-back window, NaN until it is full) and ``previous``
        (against the previous epoch alone). Rank correlations do not depend on the ratio; they are repeated.
    """
    rows = []
    for record in records:
        if record.spec.pruning is not None:
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
    dense = {r.id: r for r in records if r.spec.pruning is None}
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


def contrasts(table: pd.DataFrame, contrast: Contrast) -> list[tuple[str, str, str, Interval]]:
    """What pruning at initialisation and late costs against a few epochs in, paired over seeds.

    The three epochs stand in the profile; they are not chosen from the runs in the table.

    Returns:
        Network, pruning, side (``first`` or ``last``) and difference in percentage points, over the seeds
        that have both runs; nothing where none has.
    """
    found = []
    pruned = table[table["policy"] == "epoch"].dropna(subset=["test_accuracy"])
    for (network, pruning), part in pruned.groupby(["architecture", "pruning"], sort=True):
        seeds = {epoch: set(runs["seed"]) for epoch, runs in part.groupby("prune_epoch")}
        for side, epoch in (("first", contrast.first), ("last", contrast.last)):
            if seeds.get(epoch, set()) & seeds.get(contrast.reference, set()):
                by = paired_difference(part, {"prune_epoch": epoch}, {"prune_epoch": contrast.reference})
                found.append((str(network), str(pruning), side, by))
    return found


def early_and_late(table: pd.DataFrame, contrast: Contrast) -> pd.DataFrame:
    """:func:`contrasts` as text.

    Returns:
        Columns ``network``, ``pruning``, ``first`` and ``last``; empty text where no seed has both runs.
    """
    found = {(network, pruning, side): by.text() for network, pruning, side, by in contrasts(table, contrast)}
    pruned = table[table["policy"] == "epoch"]
    rows = []
    for (network, pruning), _ in pruned.groupby(["architecture", "pruning"], sort=True):
        key = str(network), str(pruning)
        rows.append((*key, found.get((*key, "first"), ""), found.get((*key, "last"), "")))
    return pd.DataFrame(rows, columns=["network", "pruning", "first", "last"])


def oracle(table: pd.DataFrame) -> pd.DataFrame:
    """The grid's best epoch, chosen on validation, and beside it the paper's way, the best on test.

    A maximum over noisy values is biased upwards; ``bias`` is how much higher the second way comes out.

    Returns:
        One row per network and pruning: ``chosen`` (epoch), ``accuracy`` (its mean test accuracy),
        ``best on test`` (epoch), ``its accuracy`` and ``bias``, in percentage points.
    """
    rows = []
    pruned = table[table["policy"] == "epoch"].dropna(subset=["validation_accuracy", "test_accuracy"])
    for (network, pruning), part in pruned.groupby(["architecture", "pruning"], sort=True):
        means = part.groupby("prune_epoch")[["validation_accuracy", "test_accuracy"]].mean()
        accuracy = {float(str(epoch)): value for epoch, value in means["test_accuracy"].items()}
        chosen = float(str(means["validation_accuracy"].idxmax()))
        best = max(accuracy, key=lambda epoch: accuracy[epoch])
        rows.append(
            {
                "network": network,
                "pruning": pruning,
                "chosen": f"p = {chosen:g}",
                "accuracy": accuracy[chosen],
                "best on test": f"p = {best:g}",
                "its accuracy": accuracy[best],
                "bias": accuracy[best] - accuracy[chosen],
            }
        )
    columns = ["network", "pruning", "chosen", "accuracy", "best on test", "its accuracy", "bias"]
    return pd.DataFrame(rows, columns=columns)


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
        values = [
            float(stats.spearmanr(at["ratio"], at["value"]).statistic)
            for _, at in run.groupby("epoch")
            if at["value"].nunique() > 1
        ]
        if values:
            rows.append((architecture, criterion, seed, float(np.mean(values))))
    return pd.DataFrame(rows, columns=["architecture", "criterion", "seed", "rho"])


def epi_epochs(records: Iterable[Record], profile: Profile) -> pd.DataFrame:
    """Where EPI would have pruned each dense run, one row per architecture, criterion and tracked ratio.

    Returns:
        Columns ``architecture``, ``criterion``, ``threshold``, ``ratio`` and ``epochs`` (text: one a seed).
    """
    dense = [record for record in records if record.spec.pruning is None]
    rows = []
    for architecture in dict.fromkeys(record.spec.architecture for record in dense):
        own = [record for record in dense if record.spec.architecture == architecture]
        for criterion, threshold in profile.tau.items():
            for ratio in profile.tracking.ratios:
                settings = (criterion, ratio, threshold, profile.tracking.look_back, profile.patience)
                found = [epi_epoch(record, *settings) for record in own]
                rows.append(
                    {
                        "architecture": architecture,
                        "criterion": criterion,
                        "threshold": f"{threshold:g}",
                        "ratio": f"{100 * ratio:g} %",
                        "epochs": ", ".join("–" if epoch is None else str(epoch) for epoch in found),
                    }
                )
    return pd.DataFrame(rows)
