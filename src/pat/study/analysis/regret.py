"""When to prune (Table 1, Sec. 4.2): what each policy picks, and what it loses against the oracle."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from pat.criteria import Criterion
from pat.study.analysis.grid import Cell, Key, accuracy_at, cells, pruned_in
from pat.study.analysis.picks import Pick, at_threshold, pick, picks_of, tunable, tune
from pat.study.plan.profile import Profile
from pat.study.plan.settings import Window
from pat.study.plan.spec import Spec
from pat.study.store.record import Record

POLICIES = ("oracle", "random", "init", "predefined", "epi", "tuned")
"""Those of Table 1, and EPI with the threshold that is tuned on the profile's own runs."""

NETWORKS = ("bottleneck", "basic", "mobilenet")
"""Roles of a profile's architectures, in their order: stand-ins of ResNet50, ResNet34 and MobileNetV1."""

_BY_EPI = ("epi", "tuned", "scaled")

_COLUMNS = [
    "architecture", "criterion", "ratio", "seed", "policy", "epoch", "triggered", "accuracy", "regret",
    "regret_on_test",
]  # fmt: skip


def picks_specs(
    records: Iterable[Record],
    profile: Profile,
    thresholds: Iterable[Mapping[Criterion, float]] | None = None,
    preset: str = "full",
) -> list[Spec]:
    """The runs that the policies need beside an oracle sweep: their epochs that are not on its grid.

    Args:
        records: the sweep's, all of them.
        profile, preset: see :func:`~pat.study.analysis.grid.cells`.
        thresholds: tau by criterion, several times; by default the paper's and the tuned ones.
    """
    every = cells(records, profile, preset)
    picks = picks_of(every, profile)
    given = [profile.tau, _tuned(every, picks, profile)] if thresholds is None else [*thresholds]
    wanted = []
    for cell in every:
        epochs = {0, cell.predefined}
        epochs |= {
            at_threshold(picks[cell.key], tau[cell.criterion]).epoch for tau in given if cell.criterion in tau
        }
        wanted += [
            pruned_in(cell.dense, cell.criterion, cell.ratio, p) for p in sorted(epochs - set(cell.grid))
        ]
    return wanted


def _tuned(
    every: Iterable[Cell], picks: Mapping[Key, Sequence[tuple[float, Pick]]], profile: Profile
) -> dict[Criterion, float]:
    """Thresholds as of :func:`~pat.study.analysis.picks.tuned_thresholds`, from the cells of all networks."""
    return tune(tunable(cell for cell in every if cell.architecture == profile.architectures[0]), picks)


def pick_in_window(cell: Cell, profile: Profile, window: Window) -> Pick:
    """When EPI with the paper's tau, and another look-back and patience, prunes."""
    return pick(
        cell.dense,
        cell.criterion,
        cell.ratio,
        threshold=profile.tau[cell.criterion],
        profile=profile,
        look_back=window.look_back,
        patience=window.patience,
    )


def regrets(
    records: Iterable[Record],
    profile: Profile,
    preset: str = "full",
    *,
    architecture: str | None = None,
    criterion: Criterion | None = None,
    window: Window | None = None,
) -> pd.DataFrame:
    """What each policy loses against the oracle, one row a network, criterion, ratio, seed and policy.

    The oracle is the grid's best epoch on validation, for each seed by itself, and test accuracy is what it
    is compared in; so a regret can be negative. ``random`` is the exact mean over the profile's random epochs
    (linear between the grid's), or without them over the grid's epochs from 0 to the pre-defined one;
    ``init`` prunes in epoch 0, ``predefined`` after a third of the schedule, ``epi`` by the paper's tau and
    ``tuned`` by :func:`tuned_thresholds`. A pick that is not on the grid counts by the
    run that prunes in it (:func:`picks_specs`).

    Args:
        records: the sweep's, and those of the picks.
        profile, preset: see :func:`~pat.study.analysis.grid.cells`.
        architecture, criterion: leave out all others.
        window: add the policy ``scaled``, EPI with this look-back and patience and the paper's tau.

    Returns:
        Columns ``architecture``, ``criterion``, ``ratio``, ``seed``, ``policy`` (of :data:`POLICIES`),
        ``epoch`` (NaN for ``random``), ``triggered`` (None where nothing can trigger), ``accuracy`` (test, in
        percent; NaN where the run is missing), ``regret`` and ``regret_on_test`` (the paper's way: against
        the grid's best test accuracy, a maximum over noise), both in points.
    """
    every = cells(records, profile, preset, criterion=criterion)
    picks = picks_of(every, profile)
    tuned, rows = _tuned(every, picks, profile), []
    for cell in every:
        if architecture in (None, cell.architecture):
            best, chosen = max(cell.test.values()), cell.test[cell.oracle]
            decisions = _decisions(cell, picks[cell.key], profile, tuned, window)
            for policy, epoch, triggered, accuracy in decisions:
                regret = (accuracy, chosen - accuracy, best - accuracy)
                rows.append((*cell.key, policy, epoch, triggered, *regret))
    numbers = ["epoch", "accuracy", "regret", "regret_on_test"]
    return pd.DataFrame(rows, columns=_COLUMNS).astype(dict.fromkeys(numbers, float))


def _decisions(
    cell: Cell,
    by_threshold: Sequence[tuple[float, Pick]],
    profile: Profile,
    tuned: Mapping[Criterion, float],
    window: Window | None,
) -> Iterator[tuple[str, float, bool | None, float]]:
    """Policy, pruning epoch, whether EPI triggered, and test accuracy."""
    yield "random", math.nan, None, _random(cell, profile)
    picks = {
        "oracle": Pick(cell.oracle, True),
        "init": Pick(0, True),
        "predefined": Pick(cell.predefined, True),
        "epi": at_threshold(by_threshold, profile.tau[cell.criterion]),
    }
    if cell.criterion in tuned:
        picks["tuned"] = at_threshold(by_threshold, tuned[cell.criterion])
    if window is not None:
        picks["scaled"] = pick_in_window(cell, profile, window)
    runs = cell.runs
    for policy, chosen in picks.items():
        accuracy = runs[chosen.epoch].test_accuracy if chosen.epoch in runs else math.nan
        yield policy, chosen.epoch, chosen.triggered if policy in _BY_EPI else None, accuracy


def _random(cell: Cell, profile: Profile) -> float:
    """Mean test accuracy over the epochs that a random policy draws from."""
    if profile.random_epochs is not None:
        low, high = profile.random_epochs
        return float(np.mean([accuracy_at(cell.test, epoch) for epoch in range(low, high + 1)]))
    early = [accuracy for epoch, accuracy in cell.test.items() if epoch <= cell.predefined]
    return float(np.mean(early)) if early else math.nan


def by_seed(table: pd.DataFrame, value: str = "regret") -> pd.DataFrame:
    """Mean over the ratios of each seed, where all of them have a value.

    Args:
        table: of :func:`regrets`.
        value: the column.

    Returns:
        Columns ``architecture``, ``criterion``, ``policy``, ``seed`` and ``value``.
    """
    keys = ["architecture", "criterion", "policy", "seed"]
    ratios = table.groupby(["architecture", "criterion"])["ratio"].nunique()
    found = table.dropna(subset=[value]).groupby(keys)[value].agg(["mean", "size"]).reset_index()
    expected = [ratios[key] for key in zip(found["architecture"], found["criterion"], strict=True)]
    return found[found["size"] == expected].rename(columns={"mean": value})[[*keys, value]]


def policy_regret(
    table: pd.DataFrame,
    profile: Profile,
    network: str,
    criterion: Criterion,
    policy: str,
    preset: str = "full",
    ratios: Iterable[float] | None = None,
) -> pd.Series:
    """A policy's regret in points, mean over some ratios or all of the sweep's, by seed.

    Args:
        table: of :func:`regrets`, which has at least this network and criterion.
        profile, preset: of the table.
        network: a role of :data:`NETWORKS`.
        criterion: gradient or magnitude.
        policy: one of :data:`POLICIES`.
        ratios: those to take the mean over; by default all of the sweep's.

    Returns:
        Indexed by seed, without the seeds that lack a run; empty if the sweep has no such network or
        criterion, or a ratio has no complete seed.

    Raises:
        ValueError: for an unknown network, criterion or policy, listing the known ones.
    """
    for what, given, known in (
        ("network", network, NETWORKS),
        ("criterion", criterion, tuple(profile.tau)),
        ("policy", policy, POLICIES),
    ):
        if given not in known:
            raise ValueError(f"unknown {what} {given!r}; known are {', '.join(known)}")
    role = NETWORKS.index(network)
    empty = pd.Series(dtype=float, name="regret", index=pd.Index([], name="seed", dtype=int))
    if role >= len(profile.architectures):
        return empty
    name = profile.architectures[role]
    blocks = [b for b in profile.sweeps[preset] if (b.architecture, b.criterion) == (name, criterion)]
    cell = table[(table["architecture"] == name) & (table["criterion"] == criterion)]
    wanted = {ratio for block in blocks for ratio in block.ratios} if ratios is None else set(ratios)
    if not wanted <= set(cell["ratio"]):
        return empty
    own = by_seed(cell[cell["ratio"].isin(wanted)])
    found = own[own["policy"] == policy].set_index("seed")["regret"]
    return empty if found.empty else found


def regret_difference(
    table: pd.DataFrame,
    profile: Profile,
    network: str,
    criterion: Criterion,
    first: str,
    second: str,
    preset: str = "full",
) -> pd.Series:
    """Regret of the policy ``first`` minus that of ``second`` by seed; arguments as :func:`policy_regret`."""
    both = [policy_regret(table, profile, network, criterion, policy, preset) for policy in (first, second)]
    return (both[0] - both[1]).dropna().rename("regret")
