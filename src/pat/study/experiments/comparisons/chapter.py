"""What the chapters of comparisons have in common: runs opened or trained, and texts and tables of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import pandas as pd
from pandas.io.formats.style import Styler

from pat.study.experiments.comparisons.comparison import Cell, Comparison
from pat.study.experiments.comparisons.finding import finding
from pat.study.experiments.comparisons.summaries import (
    FEWEST,
    comparison_summary,
    comparison_table,
    panels_of,
)
from pat.study.experiments.evidence import Evidence
from pat.study.plan.profile import Profile, load_profile
from pat.study.runs.following import progress
from pat.study.runs.sweep import How
from pat.study.store import AnyStore, open_store
from pat.study.store.record import Record
from pat.study.style import captioned
from pat.study.wording import many


@dataclass(frozen=True)
class Chapter:
    """A comparison with its records.

    Attributes:
        comparison: what is compared.
        profile: the scale.
        preset: how much of it.
        store: where the records are.
        records: those that there are.
    """

    comparison: Comparison
    profile: Profile
    preset: str
    store: AnyStore
    records: list[Record]

    @cached_property
    def cells(self) -> list[Cell]:
        """All that the preset has, run or not."""
        return self.comparison.cells(self.profile, self.preset)

    @cached_property
    def table(self) -> pd.DataFrame:
        """See :func:`~pat.study.experiments.comparisons.summaries.comparison_table`."""
        return comparison_table(self.cells, self.records)

    @property
    def panels(self) -> list[str]:
        """Those that have a run."""
        return panels_of(self.table)

    def lead(self) -> str:
        """The finding, and how many runs are missing."""
        text = f"**Finding.** {finding(self.comparison, Evidence(self.profile, self.preset, self.store))}"
        asked = len({cell.spec for cell in self.cells})
        if len(self.records) < asked:
            missing = asked - len(self.records)
            text += f"\n\n*{missing} of {asked} runs of this comparison are not run yet.*"
        return text

    def scale(self) -> str:
        """On what it was made, and that it decides nothing."""
        seeds = self.comparison.extent(self.preset).seeds
        networks = ", ".join(dict.fromkeys(cell.spec.architecture for cell in self.cells))
        return (
            f"**Scale.** {self.profile.title}; {networks}; {self.profile.recipe.epochs} epochs; "
            f"{many(len(seeds), 'seed')} from {seeds[0]} on, which are in no sweep of any profile. **This is "
            "exploration**: no claim is decided from these runs, and none of the deciding runs is shown "
            f"here. {self.profile.purpose}"
        )

    def summaries(self) -> Iterator[Styler]:
        """A table a panel, with its caption."""
        way, called = self.comparison.reference
        for panel in self.panels:
            yield captioned(
                comparison_summary(self.table, panel, way),
                f"{panel[0].upper()}{panel[1:]}. Test accuracy in percent; its difference to {called} in "
                "points, paired by seed [95 % interval, uncorrected]; mean pruning epoch, the first of "
                "several; multiply-accumulates of an image, parameters, and multiply-accumulates of the "
                "whole training in percent of the dense network's; layers without a channel; networks "
                "without a path from input to output. Means over seeds ± half the 95 % interval; fewer than "
                f"{FEWEST} values have none.",
                index=False,
            )

    def cost(self) -> str:
        """What its runs took."""
        seconds = sum(record.provenance.seconds for record in self.records)
        return (
            f"**Cost.** {many(len(self.records), 'run')}, {seconds / 60:.0f} minutes of training (one "
            "thread per run)."
        )


def open_chapter(comparison: Comparison, profile: str, preset: str, store: str, jobs: int) -> Chapter:
    """A comparison's records, trained where the store lacks some and trains.

    Raises:
        ValueError: for an unknown profile or preset, or runs that cannot start.
    """
    scale, opened = load_profile(profile), open_store(store)
    with progress.in_notebook() as bar:
        records = comparison.records(scale, preset, opened, How(jobs=jobs, on_progress=bar))
    return Chapter(comparison, scale, preset, opened, records)
