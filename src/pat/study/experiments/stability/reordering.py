"""Does a criterion's ranking move at all in training? And how much weight decay there is to move it."""

from collections.abc import Iterable, Sequence

import pandas as pd

from pat.study.analysis.intervals import interval
from pat.study.analysis.stability import stability_table
from pat.study.plan.profile import Profile
from pat.study.store.record import Record
from pat.training.data import load_manifest


def ranking_motion(records: Iterable[Record]) -> pd.DataFrame:
    """How far the ranking of all channels moves from epoch to epoch of dense runs.

    Returns:
        One row a run and criterion: ``architecture``, ``criterion``, ``seed``, ``lowest`` and ``median``
        (Spearman's correlation with the epoch before) and ``motion`` (sum over the epochs of one minus it);
        without runs whose scores were constant throughout.
    """
    table = stability_table(records)
    ranks = table[table["measure"] == "Spearman"].dropna(subset=["previous"])
    ranks = ranks.drop_duplicates(["architecture", "criterion", "seed", "epoch"])
    ranks["moved"] = 1 - ranks["previous"]
    runs = ranks.groupby(["architecture", "criterion", "seed"], sort=False)
    return runs.agg(
        lowest=("previous", "min"), median=("previous", "median"), motion=("moved", "sum")
    ).reset_index()


def motion_table(motion: pd.DataFrame) -> pd.DataFrame:
    """:func:`ranking_motion` as text.

    Returns:
        Columns ``network``, ``criterion``, ``lowest``, ``median`` and ``motion``: means over seeds, the last
        with its 95 % interval.
    """
    rows = []
    for key, runs in motion.groupby(["architecture", "criterion"], sort=False):
        lowest, median = (f"{runs[name].mean():.3f}" for name in ("lowest", "median"))
        rows.append((*key, lowest, median, interval(runs["motion"]).text(2)))
    return pd.DataFrame(rows, columns=["network", "criterion", "lowest", "median", "motion"])


def iterations(profile: Profile) -> int:
    """Optimizer steps of a dense run."""
    recipe = profile.recipe
    whole = max(1, load_manifest(profile.dataset).splits["train"].count // recipe.batch_size)
    return whole // recipe.slices * recipe.epochs


def decay_table(profiles: Sequence[Profile]) -> pd.DataFrame:
    """Learning rate times weight decay times iterations: how far weight decay alone shrinks a weight.

    Weights without a gradient shrink by about the exponential of minus that, and the criterion that ranks
    norms can reorder channels only if it is not small against 1.

    Returns:
        One row a profile: ``profile``, ``learning rate`` (the highest), ``weight decay``, ``iterations``,
        ``product`` (with the highest rate) and ``over the schedule`` (with each epoch's own rate).
    """
    rows = []
    for profile in profiles:
        recipe, steps = profile.recipe, iterations(profile)
        mean = sum(recipe.rate(epoch) for epoch in range(recipe.epochs)) / recipe.epochs
        peak, decay = recipe.learning_rate, recipe.weight_decay
        rows.append((profile.name, peak, decay, steps, peak * decay * steps, mean * decay * steps))
    columns = ["profile", "learning rate", "weight decay", "iterations", "product", "over the schedule"]
    return pd.DataFrame(rows, columns=columns)
