"""EPI with another look-back and patience, such as fit a short schedule (Eq. 6, Algorithm 2)."""

from collections.abc import Iterable

import pandas as pd

from pat.study.analysis.grid import cells, pruned_in
from pat.study.analysis.intervals import interval
from pat.study.analysis.regret import by_seed, pick_in_window, regrets
from pat.study.plan.profile import Profile
from pat.study.plan.settings import Window
from pat.study.plan.spec import Spec
from pat.study.store.record import Record

_SHOWN = ("predefined", "epi", "scaled")


def window_specs(
    records: Iterable[Record], profile: Profile, window: Window, preset: str = "full"
) -> list[Spec]:
    """The runs that EPI with another window needs beside an oracle sweep: its epochs off the grid.

    Args:
        records, profile, preset: see :func:`~pat.study.analysis.grid.cells`.
        window: look-back and patience.
    """
    found = []
    for cell in cells(records, profile, preset):
        epoch = pick_in_window(cell, profile, window).epoch
        if epoch not in cell.grid:
            found.append(pruned_in(cell.dense, cell.criterion, cell.ratio, epoch))
    return found


def window_regrets(
    records: Iterable[Record], profile: Profile, window: Window, preset: str = "full"
) -> pd.DataFrame:
    """What EPI loses with another window, beside the study's own and the pre-defined epoch.

    Args:
        records: the sweep's, and those of :func:`window_specs` and of the policies.
        profile, window, preset: as there.

    Returns:
        The columns of :func:`~pat.study.analysis.regret.regrets`; policies ``predefined``, ``epi`` and
        ``scaled``, all with the paper's tau. A pick whose run is missing has no accuracy (NaN).
    """
    table = regrets(records, profile, preset, window=window)
    return table[table["policy"].isin(_SHOWN)].reset_index(drop=True)


def window_regret_table(table: pd.DataFrame, profile: Profile, window: Window) -> pd.DataFrame:
    """:func:`window_regrets` as text.

    Returns:
        Indexed by criterion, network, and way to choose the epoch: EPI with the study's window, EPI with the
        other one, the pre-defined epoch. ``epoch``: the mean of the runs that EPI triggered in, and
        ``triggered`` how many those are; ``regret``: mean over ratios, then over seeds, ± half the 95 %
        interval, in points; and what the other window loses more than this way, over paired seeds. Empty
        where runs are missing.
    """
    names = {
        "epi": _named(profile.tracking.look_back, profile.patience),
        "scaled": _named(window.look_back, window.patience),
        "predefined": "pre-defined",
    }
    regret, rows, index = _by_policy(table), [], []
    for architecture, criterion in _pairs(table, profile):
        seeds = regret.loc[[(criterion, architecture)]]
        for policy, name in names.items():
            runs, fired = (of(table, criterion, architecture, policy) for of in (_of, _fired))
            known, paired = seeds[policy].dropna(), (seeds["scaled"] - seeds[policy]).dropna()
            rows.append(
                {
                    "epoch": f"{fired['epoch'].mean():.1f}" if len(fired) else "–",
                    "triggered": "" if policy == "predefined" else f"{len(fired)} of {len(runs)}",
                    "regret": interval(known).plus_minus(2) if len(known) else "",
                    f"{names['scaled']}, minus this": ""
                    if policy == "scaled" or paired.empty
                    else interval(paired).text(2),
                }
            )
            index.append((criterion, architecture, name))
    levels = ["criterion", "network", "epoch chosen by"]
    return pd.DataFrame(rows, pd.MultiIndex.from_tuples(index, names=levels)) if rows else pd.DataFrame()


def _named(look_back: int, patience: int) -> str:
    return f"EPI, r = {look_back}, m = {patience}"


def _pairs(table: pd.DataFrame, profile: Profile) -> list[tuple[str, str]]:
    """Networks and criteria that have a complete seed, in the profile's order."""
    known = {(name, criterion) for criterion, name in _by_policy(table).index}
    return [(n, c) for c in sorted(profile.tau) for n in profile.architectures if (n, c) in known]


def _by_policy(table: pd.DataFrame) -> pd.DataFrame:
    """Mean regret over the ratios by criterion and network (several rows each: the seeds) and policy."""
    keys = ["criterion", "architecture"]
    wide = by_seed(table).pivot(index=[*keys, "seed"], columns="policy", values="regret")
    return wide.reindex(columns=list(_SHOWN)).droplevel("seed").sort_index()


def _of(table: pd.DataFrame, criterion: str, architecture: str, policy: str) -> pd.DataFrame:
    wanted = {"criterion": criterion, "architecture": architecture, "policy": policy}
    return table[(table[list(wanted)] == pd.Series(wanted)).all(axis="columns")]


def _fired(table: pd.DataFrame, criterion: str, architecture: str, policy: str) -> pd.DataFrame:
    """The policy's runs without those in which EPI stayed silent, which count at the pre-defined epoch."""
    own = _of(table, criterion, architecture, policy)
    return own[own["triggered"] != False]  # noqa: E712
