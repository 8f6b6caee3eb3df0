"""A rule for every measure of stability: what it holds against a threshold, and when that is reached."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pandas as pd

from pat.criteria import Criterion
from pat.study.analysis.grid import predefined_epoch
from pat.study.analysis.picks import Pick
from pat.study.analysis.stability import stability_table
from pat.study.plan.profile import Profile
from pat.study.store.record import Record


@dataclass(frozen=True)
class Rule:
    """When a measure says that it is time: its signal, up means stable, has reached a threshold.

    Attributes:
        signal: what is held against the threshold, in words.
        published: the threshold that its authors use, by criterion; empty if the literature has none.
        difference: what is not as its authors do it, because of what records hold.
    """

    signal: str
    published: Mapping[Criterion, float] = field(default_factory=dict)
    difference: str = ""


def rules(profile: Profile) -> dict[str, Rule]:
    """The rule of every measure, by its name in :data:`~pat.study.analysis.stability.MEASURES`.

    EPI's is the paper's (Algorithm 2). The correlations have none in the literature; theirs is EPI's
    without patience. Hamming: Early-Bird (You et al. 2020), the largest of the last five distances is at
    most 0.1; the signal is one minus that. Jaccard: OCSPruner (Ghimire et al. 2026), a mean of three is at
    least 0.98. Five is the look-back r here, so that short schedules shorten it; three is r if that is less.
    """
    r, three = profile.tracking.look_back, _three(profile)
    window = f"mean over the {r} epochs before"
    return {
        "EPI": Rule(f"Ψ, {window}; not under its {profile.patience} values before", profile.tau),
        "Spearman": Rule(f"ρ, {window}"),
        "Kendall": Rule(f"τ-b, {window}"),
        "mask Hamming": Rule(
            f"1 − the largest of the last {r} distances",
            {"magnitude": 0.9, "gradient": 0.9},
            "distances of successive epochs, as the paper's text has it; its code compares the newest mask "
            "with each of the four before it",
        ),
        "mask Jaccard": Rule(
            f"mean of the last {three} indices",
            {"magnitude": 0.98, "gradient": 0.98},
            "masks one epoch apart, not two, which agree more; criterion and regularisation are not its own",
        ),
    }


def _three(profile: Profile) -> int:
    return min(3, profile.tracking.look_back)


def signal_table(records: Iterable[Record], profile: Profile) -> pd.DataFrame:
    """What each rule holds against its threshold, in dense runs.

    Returns:
        :func:`~pat.study.analysis.stability.stability_table` with a column ``signal``, NaN where it is not
        defined. Rounded to the records' six digits, so that a mean of equal values is equal to them.
    """
    table = stability_table(records)
    table["signal"] = table["value"]
    for measure, window in (("mask Hamming", profile.tracking.look_back), ("mask Jaccard", _three(profile))):
        own = table[table["measure"] == measure]
        runs = own.groupby(["architecture", "seed", "criterion", "ratio"])["previous"].rolling(window)
        signal = 1 - runs.max() if measure == "mask Hamming" else runs.mean()
        table.loc[own.index, "signal"] = signal.droplevel([0, 1, 2, 3])
    return table.round({"signal": 6})


def rule_picks(record: Record, signal: Mapping[int, float]) -> list[tuple[float, Pick]]:
    """Every pick that some threshold on a signal gives, with the highest threshold that gives it, ascending.

    The counterpart of :func:`~pat.study.analysis.picks.picks_by_threshold` for rules without patience: a
    threshold fires after the first epoch that reaches it, and the run is pruned in the next one.

    Args:
        record: the dense run.
        signal: by epoch, at most 1; NaN where undefined.
    """
    last = record.spec.recipe.epochs - 1
    found: list[tuple[float, Pick]] = []
    highest = -math.inf
    for epoch in sorted(signal):
        if epoch < last and signal[epoch] > highest:
            highest = signal[epoch]
            found.append((highest, Pick(epoch + 1, True)))
    return found if highest >= 1 else [*found, (1.0, Pick(predefined_epoch(record), False))]
