"""Sec. 4.3, Fig. 5: what a step of the pruned bottleneck network takes, and what its training costs."""

from dataclasses import replace
from typing import Literal

import pandas as pd

from pat.cost import training_share
from pat.study.experiments.evidence import Evidence, Sample, correlates, reaches
from pat.study.experiments.speed import runs as speed
from pat.study.plan.profile import Profile
from pat.study.plan.settings import Ratio
from pat.study.store.measured import speed_folder
from pat.study.store.speeds import Speeds, speeds_of

By = Literal["macs", "steps"]
"""What training costs by: multiply-accumulates, or measured training steps."""


@correlates
def macs_difference(evidence: Evidence, ratio: Ratio) -> Sample:
    """Multiply-accumulates of what pruning at initialisation leaves minus EPI's, as shares of the dense ones.

    See :func:`~pat.study.experiments.speed.runs.macs_difference`.
    """
    table = _table(evidence)
    return _of(evidence, speed.macs_difference(table, ratio), table, ratio, "init", "epi")


def step_difference(evidence: Evidence, ratio: Ratio, first: speed.Choice, second: speed.Choice) -> Sample:
    """Measured time of a training step of ``first`` minus that of ``second``, in dense steps.

    See :func:`~pat.study.experiments.speed.runs.step_difference`; of latency-aware runs those with the
    preset's first weight.
    """
    table = _table(evidence)
    found = _of(evidence, speed.step_difference(table, ratio, first, second), table, ratio, first, second)
    return _measured(evidence, "steps", found)


@reaches(lambda profile: (0.0, 1 - training_share(1, 0, profile.recipe.epochs, profile.first_trigger + 2)))
def training_saving(evidence: Evidence, ratio: Ratio, by: By = "macs") -> Sample:
    """Share of the dense training that pruning by EPI saves.

    See :func:`~pat.study.experiments.speed.runs.training_saving`.
    """
    table = _table(evidence)
    values = speed.training_saving(table, ratio, "training_share" if by == "macs" else "step_training_share")
    return _measured(evidence, by, _of(evidence, values, table, ratio, "epi"))


def _cost_ratios(profile: Profile) -> tuple[float, float]:
    """From EPI in the last epoch to EPI as early as can be, if the pruned network cost nothing."""
    epochs = profile.recipe.epochs
    finetuned = 1 + training_share(1, 0, epochs, 1)
    return finetuned, finetuned / training_share(1, 0, epochs, profile.first_trigger + 2)


@reaches(_cost_ratios)
def cost_ratio(evidence: Evidence, ratio: Ratio, by: By = "macs") -> Sample:
    """What train, prune, finetune costs divided by what pruning in training by EPI does.

    See :func:`~pat.study.experiments.speed.runs.cost_ratio`.
    """
    table = _table(evidence)
    values = speed.cost_ratio(table, ratio, "macs_share" if by == "macs" else "step_share")
    return _measured(evidence, by, _of(evidence, values, table, ratio, "epi"))


def _table(evidence: Evidence) -> pd.DataFrame:
    """The runs of Fig. 5, with the step times that the store has."""
    table = speed.speed_table(evidence.records, evidence.profile, _speeds(evidence))
    latency = evidence.settings and evidence.settings.latency
    aware = table["choice"] == "latency"
    return table[~aware | (table["weight"] == latency.weights[0])] if latency else table[~aware]


def _speeds(evidence: Evidence) -> Speeds | None:
    return speeds_of(evidence.store.root, evidence.profile.recorded, evidence.records)


def _measured(evidence: Evidence, by: By, found: Sample) -> Sample:
    """With the file of step times, where the values hang on it."""
    speeds = _speeds(evidence) if by == "steps" and found.values else None
    if speeds is None:
        return found
    folder = speed_folder(evidence.store.root, evidence.profile.recorded)
    return replace(found, files=(folder / speeds.file,))


def _of(
    evidence: Evidence, values: "pd.Series[float]", table: pd.DataFrame, ratio: float, *choices: speed.Choice
) -> Sample:
    """With the runs of these choices and their dense runs behind the values."""
    part = table[(table["ratio"] == ratio) & table["choice"].isin(choices)]
    ids = {*part["id"], *part["dense"]}
    return Sample.of(values, [record for record in evidence.records if record.id in ids])
