"""The epochs that EPI picks in dense runs, by threshold, and the thresholds tuned on them (Sec. 4.2)."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pat.criteria import Criterion
from pat.stability import leading
from pat.study.analysis.grid import Cell, Key, accuracy_at, cells, predefined_epoch
from pat.study.analysis.stability import epi, epi_epoch
from pat.study.plan.profile import Profile
from pat.study.store.record import Record

TUNED_UP_TO = 0.5
"""The highest ratio that thresholds are tuned on (Sec. 4.2: 10 % to 50 %)."""


@dataclass(frozen=True)
class Pick:
    """The pruning epoch that EPI chooses in a dense run.

    Attributes:
        epoch: when it prunes, counted from 0.
        triggered: False if EPI stayed silent; the run then counts at the pre-defined epoch.
    """

    epoch: int
    triggered: bool


def pick(
    record: Record,
    criterion: str,
    ratio: float,
    *,
    threshold: float,
    profile: Profile,
    look_back: int | None = None,
    patience: int | None = None,
) -> Pick:
    """When EPI prunes a dense run.

    Args:
        record: the dense run, with the structures that were watched in it.
        criterion, ratio: what would be pruned.
        threshold: tau.
        profile: its scale.
        look_back, patience: r of Eq. 6, and how many earlier values EPI must not be under; the profile's by
            default.

    Raises:
        ValueError: if the run did not watch that criterion and ratio, or a parameter is out of range.
    """
    window = _window(profile, look_back, patience)
    found = epi_epoch(record, criterion, ratio, threshold, *window)
    return Pick(predefined_epoch(record), False) if found is None else Pick(found, True)


def picks_by_threshold(
    record: Record,
    criterion: str,
    ratio: float,
    *,
    profile: Profile,
    look_back: int | None = None,
    patience: int | None = None,
) -> list[tuple[float, Pick]]:
    """Every pick that some threshold gives, with the highest threshold that gives it, ascending up to 1.

    Raises:
        ValueError: as :func:`pick`.
    """
    look_back, patience = _window(profile, look_back, patience)
    return picks_of_values(record, epi(record, criterion, ratio, look_back), patience)


def picks_of_values(
    record: Record, values: Sequence[float | None], patience: int
) -> list[tuple[float, Pick]]:
    """:func:`picks_by_threshold` from EPI's values in the run (:func:`~pat.study.analysis.stability.epi`)."""
    last = record.spec.recipe.epochs - 1
    found: list[tuple[float, Pick]] = []
    highest = -1.0
    for epoch, value in leading(values, patience).items():
        if value > highest and epoch < last:  # after the last epoch there is none left to prune in
            found.append((value, Pick(epoch + 1, True)))
            highest = value
    return found if highest == 1 else [*found, (1.0, Pick(predefined_epoch(record), False))]


def _window(profile: Profile, look_back: int | None, patience: int | None) -> tuple[int, int]:
    return (
        profile.tracking.look_back if look_back is None else look_back,
        profile.patience if patience is None else patience,
    )


def picks_of(own: Iterable[Cell], profile: Profile) -> dict[Key, list[tuple[float, Pick]]]:
    """Every pick that some threshold gives in each of some cells, see :func:`picks_by_threshold`."""
    return {
        cell.key: picks_by_threshold(cell.dense, cell.criterion, cell.ratio, profile=profile) for cell in own
    }


def scores_by_threshold(own: Sequence[Cell], picks: Sequence[Sequence[tuple[float, Pick]]]) -> pd.DataFrame:
    """What every threshold that changes a pick would give on validation, ascending.

    Args:
        own: cells of the sweep.
        picks: of each of them, as :func:`picks_by_threshold` has them.

    Returns:
        Columns ``threshold``, ``accuracy`` (mean over the cells, in percent; a pick between two epochs of the
        grid counts linearly between them) and ``triggered`` (share of the cells).
    """
    rows = []
    for threshold in sorted({highest for by_threshold in picks for highest, _ in by_threshold}):
        chosen = [at_threshold(by_threshold, threshold) for by_threshold in picks]
        accuracy = [accuracy_at(cell.validation, p.epoch) for cell, p in zip(own, chosen, strict=True)]
        rows.append((threshold, np.mean(accuracy), np.mean([p.triggered for p in chosen])))
    return pd.DataFrame(rows, columns=["threshold", "accuracy", "triggered"], dtype=float)


def best_threshold(scores: pd.DataFrame) -> float:
    """The threshold that :func:`tuned_thresholds` takes among those of :func:`scores_by_threshold`."""
    reached = scores[scores["triggered"] == scores["triggered"].max()]
    best = reached["accuracy"].round(9).idxmax()  # of equal ones the first, which is the lowest
    return float(reached.loc[best, "threshold"])


def at_threshold(picks: Sequence[tuple[float, Pick]], threshold: float) -> Pick:
    """What a threshold in [0, 1] picks among :func:`picks_by_threshold`."""
    return next(chosen for highest, chosen in picks if threshold <= highest)


def tuned_thresholds(
    records: Iterable[Record], profile: Profile, preset: str = "full", seed: int | None = None
) -> dict[Criterion, float]:
    """tau of each criterion, tuned as in Sec. 4.2: on the first network, at ratios up to 50 %.

    The threshold with the best mean validation accuracy over ratios and seeds (:func:`scores_by_threshold`),
    of the seeds that have all of those ratios.
    Of thresholds that give the same picks in every run the highest stands for all; of equally good ones
    the lowest is taken, which prunes earliest. Only thresholds that the most runs reach are looked at,
    normally all runs: one that leaves networks unpruned must not win by the epoch that they count at instead.

    Args:
        records, profile, preset: see :func:`~pat.study.analysis.grid.cells`.
        seed: tune on the runs of this seed alone.

    Returns:
        Without the criteria that the sweep does not have on that network at these ratios.
    """
    own = tunable(cells(records, profile, preset, architecture=profile.architectures[0]))
    return tune(own, picks_of(own, profile), seed)


def tunable(own: Iterable[Cell]) -> list[Cell]:
    """The cells that thresholds are tuned on: up to 50 %, of the seeds that have all of a criterion's ratios.

    So every ratio has the same weight in a mean over the cells.
    """
    ratios: dict[Criterion, set[float]] = defaultdict(set)
    have: dict[tuple[Criterion, int], set[float]] = defaultdict(set)
    low = [cell for cell in own if cell.ratio <= TUNED_UP_TO]
    for cell in low:
        ratios[cell.criterion].add(cell.ratio)
        have[cell.criterion, cell.seed].add(cell.ratio)
    return [cell for cell in low if have[cell.criterion, cell.seed] == ratios[cell.criterion]]


def tune(
    own: Iterable[Cell],
    picks: Mapping[Key, Sequence[tuple[float, Pick]]],
    seed: int | None = None,
) -> dict[Criterion, float]:
    """:func:`tuned_thresholds` from :func:`tunable` cells and their picks, of one seed or of all."""
    by_criterion: dict[Criterion, list[Cell]] = defaultdict(list)
    for cell in own:
        if seed in (None, cell.seed):
            by_criterion[cell.criterion].append(cell)
    return {
        criterion: best_threshold(scores_by_threshold(tuned_on, [picks[cell.key] for cell in tuned_on]))
        for criterion, tuned_on in by_criterion.items()
    }


def threshold_difference(records: Iterable[Record], profile: Profile, preset: str = "full") -> pd.Series:
    """Tuned threshold of magnitude minus that of gradient, each tuned on the runs of one seed, by seed.

    Arguments as :func:`tuned_thresholds`; without the seeds that lack runs of a criterion.
    """
    own = tunable(cells(records, profile, preset, architecture=profile.architectures[0]))
    picks, found = picks_of(own, profile), {}
    for seed in sorted({cell.seed for cell in own}):
        tau = tune(own, picks, seed)
        if {"magnitude", "gradient"} <= set(tau):
            found[seed] = tau["magnitude"] - tau["gradient"]
    return pd.Series(found, dtype=float, name="threshold").rename_axis("seed")
