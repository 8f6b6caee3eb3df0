"""EPI with another look-back and patience, such as fit a short schedule (Eq. 6, Algorithm 2)."""

from collections.abc import Iterable

import pandas as pd

from pat.study.analysis.grid import Cell, cells, pruned_in
from pat.study.analysis.intervals import interval
from pat.study.analysis.picks import Pick, pick
from pat.study.analysis.policies import by_seed, regrets
from pat.study.profile import Profile
from pat.study.record import Record
from pat.study.settings import Window
from pat.study.spec import Spec

_BESIDE = ("predefined", "epi")


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
        epoch = _pick(cell, profile, window).epoch
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
        The columns of :func:`~pat.study.analysis.policies.regrets`; policies ``predefined``, ``epi`` and
        ``scaled``, all with the paper's tau. A pick whose run is missing has no accuracy (NaN).
    """
    records = list(records)
    known = regrets(records, profile, preset)
    rows = []
    for cell in cells(records, profile, preset):
        found, runs, best = _pick(cell, profile, window), cell.runs, max(cell.test.values())
        accuracy = runs[found.epoch].test_accuracy if found.epoch in runs else float("nan")
        regret = (accuracy, cell.test[cell.oracle] - accuracy, best - accuracy)
        rows.append((*cell.key, "scaled", float(found.epoch), found.triggered, *regret))
    scaled = pd.DataFrame(rows, columns=known.columns)
    return pd.concat([known[known["policy"].isin(_BESIDE)], scaled], ignore_index=True)


def window_regret_table(table: pd.DataFrame, profile: Profile, window: Window) -> pd.DataFrame:
    """:func:`window_regrets` as text.

    Returns:
        Indexed by criterion and network. For EPI with the study's window, EPI with the other one and the
        pre-defined epoch: the mean epoch, and the regret (mean over ratios, then over seeds, ± half the 95 %
        interval, points). Then what the other window loses more than each of them, over paired seeds.
    """
    own = _named(profile.tracking.look_back, profile.patience)
    names = {"epi": own, "scaled": _named(window.look_back, window.patience), "predefined": "pre-defined"}
    keys = ["criterion", "architecture"]
    regret = by_seed(table).pivot(index=[*keys, "seed"], columns="policy", values="regret")
    regret = regret.reindex(columns=list(names))
    epochs = table.groupby([*keys, "policy"])["epoch"].mean().to_dict()
    rows, index = [], []
    for (criterion, architecture), seeds in regret.groupby(keys, sort=False):
        row = {}
        for policy, name in names.items():
            row[name, "epoch"] = f"{epochs[criterion, architecture, policy]:.1f}"
            known = seeds[policy].dropna()
            row[name, "regret"] = interval(known).plus_minus(2) if len(known) else ""
        for policy in ("epi", "predefined"):
            paired = (seeds["scaled"] - seeds[policy]).dropna()
            row[f"{names['scaled']}, minus", names[policy]] = interval(paired).text(2) if len(paired) else ""
        rows.append(row)
        index.append((criterion, architecture))
    if not rows:
        return pd.DataFrame()
    shown = pd.DataFrame(rows, pd.MultiIndex.from_tuples(index, names=["criterion", "network"]))
    return shown.set_axis(pd.MultiIndex.from_tuples(list(rows[0])), axis="columns")


def _named(look_back: int, patience: int) -> str:
    return f"EPI, r = {look_back}, m = {patience}"


def _pick(cell: Cell, profile: Profile, window: Window) -> Pick:
    return pick(
        cell.dense,
        cell.criterion,
        cell.ratio,
        threshold=profile.tau[cell.criterion],
        profile=profile,
        look_back=window.look_back,
        patience=window.patience,
    )
