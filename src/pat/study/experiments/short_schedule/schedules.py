"""Two schedules over the same images: where in each EPI prunes, and what that costs against the oracle."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from pat.study.analysis.intervals import interval
from pat.study.analysis.regret import regrets
from pat.study.plan.profile import Profile
from pat.study.store.record import Record
from pat.study.wording import amount, percent

CELL = ["architecture", "criterion", "ratio"]


@dataclass(frozen=True)
class Schedule:
    """A profile's runs of its oracle sweep, with those that the policies picked beside it.

    Attributes:
        profile: its recipe is the schedule.
        records: the runs.
        grid: name of the sweep.
    """

    profile: Profile
    records: Sequence[Record]
    grid: str

    @property
    def epochs(self) -> int:
        return self.profile.recipe.epochs

    @property
    def label(self) -> str:
        """``90 epochs``."""
        return f"{self.epochs} epochs"

    @property
    def first(self) -> float:
        """The first epoch that EPI can prune in, in percent of the schedule."""
        return 100 * (self.profile.tracking.look_back + self.profile.patience + 1) / self.epochs

    @cached_property
    def table(self) -> pd.DataFrame:
        """Of :func:`~pat.study.analysis.regret.regrets`; ``share`` is the epoch in percent."""
        found = regrets(self.records, self.profile, self.grid)
        return found.assign(share=100 * found["epoch"] / self.epochs)


def on_both(schedules: Sequence[Schedule]) -> pd.DataFrame:
    """What the policies picked and lost, of the networks, criteria and ratios that all schedules have.

    Returns:
        The schedules' tables one below the other, with a column ``schedule`` (:attr:`Schedule.label`).
    """
    known = [set(map(tuple, schedule.table[CELL].to_numpy().tolist())) for schedule in schedules]
    common = set.intersection(*known) if known else set()
    parts = [schedule.table.assign(schedule=schedule.label) for schedule in schedules]
    whole = pd.concat(parts, ignore_index=True)
    return whole[whole[CELL].apply(tuple, axis=1).isin(common)] if common else whole.iloc[:0]


def schedule_table(both: pd.DataFrame) -> pd.DataFrame:
    """When EPI prunes on each schedule and what it loses there, beside a fixed third.

    Args:
        both: of :func:`on_both`.

    Returns:
        Text, one row a network, criterion, ratio and schedule: mean epoch that EPI pruned in, in percent of
        the schedule, over the runs in which it did; how many did; regret in points of EPI with the paper's
        threshold and of the pre-defined epoch, with 95 % intervals over seeds.
    """
    rows = []
    for (network, criterion, ratio), schedule, part in _rows(both):
        epi, third = (part[part["policy"] == policy] for policy in ("epi", "predefined"))
        fired = epi[epi["triggered"].astype(bool)]
        rows.append(
            {
                "network": network,
                "criterion": criterion,
                "ratio": percent(float(str(ratio))),
                "schedule": schedule,
                "EPI prunes after": f"{fired['share'].mean():.0f} %" if len(fired) else "–",
                "in": f"{len(fired)} of {len(epi)}",
                "EPI": _lost(epi),
                "a fixed third": _lost(third),
            }
        )
    return pd.DataFrame(rows)


def _rows(both: pd.DataFrame) -> Iterator[tuple[Any, Any, pd.DataFrame]]:
    """Cell after cell, in each schedule after schedule."""
    for cell, runs in both.groupby(CELL, sort=False):
        for schedule, part in runs.groupby("schedule", sort=False):
            yield cell, schedule, part


def _lost(runs: pd.DataFrame) -> str:
    values = runs["regret"].dropna()
    return amount(interval(values), "") if len(values) else "–"
