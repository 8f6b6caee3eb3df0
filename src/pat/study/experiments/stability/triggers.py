"""When each measure of stability would have pruned, at what regret: published and tuned thresholds."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

import pandas as pd

from pat.criteria import Criterion
from pat.study import wording
from pat.study.analysis.grid import Cell, accuracy_at, cells, dense_runs
from pat.study.analysis.intervals import interval
from pat.study.analysis.picks import (
    TUNED_UP_TO,
    Pick,
    at_threshold,
    best_threshold,
    picks_by_threshold,
    scores_by_threshold,
)
from pat.study.analysis.regret import by_seed
from pat.study.analysis.stability import MEASURES, epi_epoch
from pat.study.experiments.stability.signals import rule_picks, rules, signal_table
from pat.study.plan.profile import Profile
from pat.study.store.record import Record

FIXED = "pre-defined epoch"
"""Beside the measures: prune after a third of the schedule, where silent runs count as well."""

# Architecture, criterion, ratio, seed and measure.
Key = tuple[str, Criterion, float, int, str]

# Every pick of a run, with the highest threshold that gives it.
Picks = dict[Key, list[tuple[float, Pick]]]

_COLUMNS = [
    "architecture", "criterion", "ratio", "seed", "measure", "thresholds", "threshold", "epoch", "triggered",
    "accuracy", "regret",
]  # fmt: skip


def _picks(dense: Sequence[Record], profile: Profile) -> Picks:
    """At all watched ratios; EPI by Algorithm 2's own trigger."""
    runs = {(record.spec.architecture, record.spec.seed): record for record in dense}
    by_key: dict[Key, dict[int, float]] = {}
    for row in signal_table(dense, profile).to_dict("records"):
        key = (row["architecture"], row["criterion"], row["ratio"], row["seed"], row["measure"])
        by_key.setdefault(key, {})[row["epoch"]] = row["signal"]
    found: Picks = {}
    for key, signal in by_key.items():
        architecture, criterion, ratio, seed, measure = key
        run = runs[architecture, seed]
        if measure == "EPI":
            found[key] = picks_by_threshold(run, criterion, ratio, profile=profile)
        else:
            found[key] = rule_picks(run, signal)
    return found


def _tuned(own: Iterable[Cell], picks: Picks) -> dict[str, dict[Criterion, float]]:
    by_criterion: dict[Criterion, list[Cell]] = {}
    for cell in own:
        if cell.ratio <= TUNED_UP_TO:
            by_criterion.setdefault(cell.criterion, []).append(cell)
    found: dict[str, dict[Criterion, float]] = {measure: {} for measure in MEASURES}
    for criterion, tuned_on in by_criterion.items():
        for measure in MEASURES:
            scores = scores_by_threshold(tuned_on, [picks[(*cell.key, measure)] for cell in tuned_on])
            found[measure][criterion] = best_threshold(scores)
    return found


def trigger_table(records: Iterable[Record], profile: Profile, preset: str = "full") -> pd.DataFrame:
    """When each measure would have pruned each dense run of a sweep, and what it would have lost.

    A run in which a rule stays silent counts at the pre-defined epoch. An epoch between two of the grid
    counts linearly between them, for all measures alike. The oracle is the grid's best epoch on validation,
    for each seed by itself.

    Args:
        records, profile, preset: see :func:`~pat.study.analysis.grid.cells`.

    Returns:
        One row a dense run, criterion, watched ratio, measure and kind of threshold: ``architecture``,
        ``criterion``, ``ratio``, ``seed``, ``measure`` (of
        :func:`~pat.study.experiments.stability.signals.rules`, or :data:`FIXED`), ``thresholds``
        (``published``, ``tuned``, or empty), ``threshold`` (of the signal), ``epoch``,
        ``triggered``, ``accuracy`` (test, in percent) and ``regret`` (in points), the last two NaN at ratios
        that the sweep does not prune.
    """
    records = list(records)
    own = {cell.key: cell for cell in cells(records, profile, preset)}
    wanted = {(block.architecture, seed) for block in profile.sweeps[preset] for seed in block.seeds}
    dense = [r for r in dense_runs(records, profile) if (r.spec.architecture, r.spec.seed) in wanted]
    picks = _picks(dense, profile)
    tuned = _tuned((cell for cell in own.values() if cell.architecture == profile.architectures[0]), picks)
    rows = []
    for (architecture, criterion, ratio, seed, measure), by_threshold in picks.items():
        key = (architecture, criterion, ratio, seed)
        for name, kind, threshold, pick in _chosen(criterion, measure, by_threshold, profile, tuned):
            lost = _lost(own.get(key), pick)
            rows.append((*key, name, kind, threshold, pick.epoch, pick.triggered, *lost))
    return pd.DataFrame(rows, columns=_COLUMNS)


def _chosen(
    criterion: Criterion,
    measure: str,
    picks: Sequence[tuple[float, Pick]],
    profile: Profile,
    tuned: Mapping[str, Mapping[Criterion, float]],
) -> Iterator[tuple[str, str, float, Pick]]:
    """Measure, kind of threshold, threshold and pick; with EPI comes the fixed epoch."""
    for kind, by in (("published", rules(profile)[measure].published), ("tuned", tuned[measure])):
        if criterion in by:
            yield measure, kind, by[criterion], at_threshold(picks, by[criterion])
    if measure == "EPI":
        yield FIXED, "", math.nan, Pick(profile.recipe.epochs // 3, False)


def _lost(cell: Cell | None, pick: Pick) -> tuple[float, float]:
    """Test accuracy of a pick, and what it loses against the oracle."""
    if cell is None:
        return math.nan, math.nan
    accuracy = accuracy_at(cell.test, pick.epoch)
    return accuracy, cell.test[cell.oracle] - accuracy


def thresholds(table: pd.DataFrame, profile: Profile) -> dict[str, dict[str, Mapping[Criterion, float]]]:
    """Thresholds of the measures' signals: published ones, and those tuned as EPI's is
    (:func:`~pat.study.analysis.picks.tuned_thresholds`).

    Args:
        table: of :func:`trigger_table`.
        profile: of the table.

    Returns:
        By kind (``published``, ``tuned``), measure and criterion; tuned ones without the criteria that the
        sweep does not have on the first network at ratios up to 50 %.
    """
    tuned: dict[str, dict[Criterion, float]] = {measure: {} for measure in MEASURES}
    kinds = table[table["thresholds"] == "tuned"].drop_duplicates(["measure", "criterion"])
    for row in kinds.to_dict("records"):
        tuned[row["measure"]][row["criterion"]] = row["threshold"]
    published = {measure: rule.published for measure, rule in rules(profile).items()}
    return {"published": published, "tuned": {**tuned}}


def rules_table(profile: Profile, tuned: Mapping[str, Mapping[Criterion, float]]) -> pd.DataFrame:
    """The rules in words, with their thresholds.

    Args:
        profile: says the windows.
        tuned: of :func:`thresholds`.

    Returns:
        Columns ``measure``, ``signal``, ``published``, ``tuned`` (magnitude and gradient; a dash where there
        is none) and ``difference``.
    """
    rows = [
        (measure, rule.signal, _both(rule.published), _both(tuned.get(measure, {})), rule.difference)
        for measure, rule in rules(profile).items()
    ]
    return pd.DataFrame(rows, columns=["measure", "signal", "published", "tuned", "difference"])


def _both(thresholds: Mapping[Criterion, float]) -> str:
    order: tuple[Criterion, ...] = ("magnitude", "gradient")
    texts = [f"{thresholds[name]:.3f}" if name in thresholds else "–" for name in order]
    return " / ".join(dict.fromkeys(texts))


def trigger_epochs(table: pd.DataFrame) -> pd.DataFrame:
    """:func:`trigger_table` of one network as text: mean epoch of the runs that triggered, and how many did.

    Returns:
        Indexed by criterion, measure and thresholds; one column a watched ratio.
    """
    rows = []
    for key, runs in table[table["measure"] != FIXED].groupby(_BY_RATIO, sort=False):
        fired = runs.loc[runs["triggered"], "epoch"]
        mean = f"{fired.mean():.1f}" if len(fired) else "–"
        rows.append((*key, mean if len(fired) == len(runs) else f"{mean} ({len(fired)} of {len(runs)})"))
    return _wide(rows)


def regret_by_ratio(table: pd.DataFrame) -> pd.DataFrame:
    """Regret of :func:`trigger_table` of one network as text: mean over seeds ± half the 95 % interval.

    Returns:
        Indexed by criterion, measure and thresholds; one column a ratio that the sweep prunes.
    """
    runs_at = table.dropna(subset=["regret"]).groupby(_BY_RATIO, sort=False)
    return _wide([(*key, interval(runs["regret"]).plus_minus()) for key, runs in runs_at])


_BY_RATIO = ["criterion", "measure", "thresholds", "ratio"]


def _wide(rows: Sequence[tuple[object, ...]]) -> pd.DataFrame:
    long = pd.DataFrame(rows, columns=[*_BY_RATIO, "text"])
    wide = long.pivot(index=_BY_RATIO[:-1], columns="ratio", values="text").fillna("")
    rank = {name: place for place, name in enumerate([*MEASURES, FIXED])}
    wide = wide.sort_index(key=lambda level: level.map(rank) if level.name == "measure" else level)
    return wide.rename(columns=lambda ratio: f"{100 * ratio:g} %").rename_axis(columns=None)


def overall_regret(table: pd.DataFrame) -> pd.DataFrame:
    """Regret of :func:`trigger_table` by network, mean over the ratios that the sweep prunes.

    Returns:
        Columns ``network``, ``criterion``, ``measure``, ``thresholds``, ``regret`` (text: mean over seeds
        with its 95 % interval, in points) and ``triggered`` (text: how many runs of how many; empty for
        :data:`FIXED`), by ascending mean regret within network and criterion. Rules that are silent in more
        than half of the runs come last: their regret is the pre-defined epoch's.
    """
    networks, rows = ["architecture", "criterion"], []
    for (measure, kind), own in table.dropna(subset=["regret"]).groupby(["measure", "thresholds"]):
        for key, seeds in by_seed(own.assign(policy=str(measure))).groupby(networks):
            found = interval(seeds["regret"])
            fired = own.loc[(own[networks] == list(key)).all(axis=1), "triggered"]
            told = "" if measure == FIXED else f"{fired.sum()} of {len(fired)}"
            silent = measure != FIXED and 2 * fired.sum() < len(fired)
            rows.append((*key, silent, found.mean, measure, kind, found.text(), told))
    columns = ["network", "criterion", "silent", "mean", "measure", "thresholds", "regret", "triggered"]
    ordered = pd.DataFrame(rows, columns=columns).sort_values(columns[:4], kind="stable")
    return ordered.drop(columns=["silent", "mean"])


def widest_gaps(profile: Profile, preset: str) -> dict[str, int]:
    """The largest number of epochs between two neighbours of a sweep's grid, by network.

    What a rule would lose between two epochs of the grid is interpolated, which a wide gap does not allow.
    """
    epochs: dict[str, set[int]] = {}
    for spec in profile.sweep(preset):
        if spec.prune_epoch is not None:
            epochs.setdefault(spec.architecture, set()).add(spec.prune_epoch)
    return {
        name: max((b - a for a, b in pairwise(sorted(grid))), default=profile.recipe.epochs)
        for name, grid in epochs.items()
    }


def epi_epochs(records: Iterable[Record], profile: Profile) -> pd.DataFrame:
    """Where EPI would have pruned each dense run, one row per architecture, criterion and tracked ratio.

    Returns:
        Columns ``architecture``, ``criterion``, ``threshold``, ``ratio`` and ``epochs``
        (:func:`~pat.study.wording.epochs` over the seeds).
    """
    dense = [record for record in records if record.spec.experiment == "dense"]
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
                        "epochs": wording.epochs((epoch, None) for epoch in found),
                    }
                )
    return pd.DataFrame(rows)
