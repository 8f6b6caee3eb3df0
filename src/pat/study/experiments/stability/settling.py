"""Does the first network's structure settle (Sec. 3.2, 3.3, 4.5)? One number a seed for each statement."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pandas as pd
from scipy import stats

from pat.criteria import Criterion
from pat.stability import similarity
from pat.study.analysis.grid import dense_runs, pruned_in
from pat.study.analysis.intervals import interval
from pat.study.analysis.stability import epi_against_ratio, epi_epoch, stability_table, structures
from pat.study.plan.profile import Profile
from pat.study.store.record import Record


@dataclass(frozen=True)
class Settling:
    """One dense run watched at one criterion and ratio.

    Attributes:
        structure: channels that would be kept; rows are epochs, columns layers.
        epi: EPI by epoch, NaN while the look-back window is not full.
        threshold: tau of the criterion.
        epoch: in which EPI would have pruned, or None if it did not trigger in time.
    """

    criterion: Criterion
    ratio: float
    seed: int
    structure: pd.DataFrame
    epi: pd.Series
    threshold: float
    epoch: int | None


def settling_of(record: Record, criterion: Criterion, ratio: float, profile: Profile) -> Settling:
    """What a dense run watched, and when EPI would have pruned it.

    Raises:
        ValueError: if the run did not watch that criterion and ratio.
    """
    structure, tau = structures(record, criterion, ratio), profile.tau[criterion]
    watched = [epoch for epoch in record.history if epoch.tracked]
    values = [
        epoch.tracked[criterion]["ratios"][f"{ratio:g}"]["psi"][0] for epoch in watched if epoch.tracked
    ]
    epi = pd.Series(values, index=structure.index, dtype=float, name="epi")
    found = epi_epoch(record, criterion, ratio, tau, profile.tracking.look_back, profile.patience)
    return Settling(criterion, ratio, record.spec.seed, structure, epi, tau, found)


def structure_settling(
    records: Iterable[Record], profile: Profile, criterion: Criterion, ratio: float, preset: str = "full"
) -> pd.Series:
    """How much more alike are the final structures of two pruning epochs once some epochs have passed.

    Psi(reference, next) - Psi(first, reference) of the structures that Algorithm 1 leaves: first and
    reference are the epochs of the profile's contrast, next is the grid's next one.

    Args:
        records: the sweep's; others are passed over.
        profile, preset: say what the grid is.
        criterion, ratio: what was pruned.

    Returns:
        By seed, without those whose runs are missing or collapsed; empty if the grid has no next epoch.

    Raises:
        ValueError: for an unknown preset, listing the known ones.
    """
    if preset not in profile.sweeps:
        known = ", ".join(profile.sweeps) or "none"
        raise ValueError(f"profile {profile.name!r} has no sweep {preset!r}; it has {known}")
    records, name, reference = list(records), profile.architectures[0], profile.contrast.reference
    blocks = [b for b in profile.sweeps[preset] if (b.architecture, b.criterion) == (name, criterion)]
    later = [p for block in blocks if ratio in block.ratios for p in block.epochs if p > reference]
    by_spec, values = {record.spec: record for record in records}, {}
    for dense in _first_network(records, profile) if later else []:
        epochs = (profile.contrast.first, reference, min(later))
        left = [_left(by_spec.get(pruned_in(dense, criterion, ratio, epoch))) for epoch in epochs]
        first, settled, after = left
        if first and settled and after:
            values[dense.spec.seed] = similarity(settled, after) - similarity(first, settled)
    return _series(values)


def structure_motion(
    records: Iterable[Record], profile: Profile, criterion: Criterion, ratio: float
) -> pd.Series:
    """How much more the structure moves in the first third of a dense run than in its last third.

    An epoch's motion is 1 - Psi(N_t, N_{t-1}) of the one-shot structures; the mean over each third.
    """
    third = profile.recipe.epochs // 3

    def value(run: pd.DataFrame) -> float:
        moved = 1 - run["previous"]
        early, late = moved[run["epoch"] < third], moved[run["epoch"] >= profile.recipe.epochs - third]
        return float(early.mean() - late.mean())

    return _by_seed(_watched(records, profile, criterion, ratio, "EPI"), value)


def epi_trend(records: Iterable[Record], profile: Profile, criterion: Criterion, ratio: float) -> pd.Series:
    """Spearman's rank correlation of EPI and the epoch over a dense run; 0 if EPI never changes."""

    def value(run: pd.DataFrame) -> float:
        known = run.dropna(subset=["value"])
        if len(known) < 3:
            return math.nan
        changes = known["value"].nunique() > 1
        return float(stats.spearmanr(known["epoch"], known["value"]).statistic) if changes else 0.0

    return _by_seed(_watched(records, profile, criterion, ratio, "EPI"), value)


def epi_ratio_trend(records: Iterable[Record], profile: Profile, criterion: Criterion) -> pd.Series:
    """Spearman's rank correlation of EPI and the pruning ratio, mean over a dense run's epochs."""
    found = epi_against_ratio(stability_table(_first_network(records, profile)))
    own = found[found["criterion"] == criterion]
    return _series({int(seed): float(rho) for seed, rho in zip(own["seed"], own["rho"], strict=True)})


def structure_minus_mask(
    records: Iterable[Record], profile: Profile, criterion: Criterion, ratio: float
) -> pd.Series:
    """Similarity of structures minus Jaccard index of masks, once structures have had time to settle.

    Both between an epoch and the one before it; mean over the second half of a dense run's epochs.
    """
    records = list(records)
    similar = _watched(records, profile, criterion, ratio, "EPI")
    masks = _watched(records, profile, criterion, ratio, "mask Jaccard")
    keys = ["seed", "epoch"]
    both = similar.merge(masks, on=keys, suffixes=("", "_mask"))
    late = both[both["epoch"] >= profile.recipe.epochs / 2]
    return _by_seed(late, lambda run: float((run["previous"] - run["previous_mask"]).mean()))


def settling_table(
    records: Iterable[Record], profile: Profile, ratios: Iterable[float], preset: str = "full"
) -> pd.DataFrame:
    """The numbers of this module as text, mean over seeds with its 95 % interval.

    Args:
        records, profile, preset: see :func:`structure_settling`.
        ratios: pruning ratios.

    Returns:
        Columns ``criterion``, ``ratio``, ``settling``, ``motion``, ``EPI and epoch`` and ``Ψ − Jaccard``;
        empty text where no seed has a value.
    """
    records = list(records)
    rows = []
    for criterion in profile.tau:
        for ratio in ratios:
            found = [
                structure_settling(records, profile, criterion, ratio, preset),
                structure_motion(records, profile, criterion, ratio),
                epi_trend(records, profile, criterion, ratio),
                structure_minus_mask(records, profile, criterion, ratio),
            ]
            texts = ["" if values.empty else interval(values).text(3) for values in found]
            rows.append((criterion, f"{100 * ratio:g} %", *texts))
    columns = ["criterion", "ratio", "settling", "motion", "EPI and epoch", "Ψ − Jaccard"]
    return pd.DataFrame(rows, columns=columns)


def _first_network(records: Iterable[Record], profile: Profile) -> list[Record]:
    runs = dense_runs(records, profile)
    return [record for record in runs if record.spec.architecture == profile.architectures[0]]


def _left(record: Record | None) -> dict[str, int] | None:
    """Channels per layer that Algorithm 1 left."""
    history = record.history if record else ()
    return next((epoch.structure for epoch in history if epoch.phase == "prune"), None)


def _watched(
    records: Iterable[Record], profile: Profile, criterion: Criterion, ratio: float, measure: str
) -> pd.DataFrame:
    """Rows of the stability table of the first network's dense runs."""
    table = stability_table(_first_network(records, profile))
    wanted = (table["criterion"] == criterion) & (table["ratio"] == ratio) & (table["measure"] == measure)
    return table[wanted]


def _by_seed(table: pd.DataFrame, value: Callable[[pd.DataFrame], float]) -> pd.Series:
    return _series({int(str(seed)): value(run) for seed, run in table.groupby("seed")})


def _series(values: dict[int, float]) -> pd.Series:
    index = pd.Index(sorted(values), name="seed", dtype=int)
    return pd.Series([values[seed] for seed in index], index=index, dtype=float).dropna()
