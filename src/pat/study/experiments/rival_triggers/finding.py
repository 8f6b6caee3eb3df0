"""What the chapter on others' rules finds, in a sentence."""

from dataclasses import replace

import pandas as pd

from pat.criteria import Criterion
from pat.study import wording
from pat.study.analysis.intervals import interval
from pat.study.analysis.regret import by_seed
from pat.study.experiments.evidence import Evidence
from pat.study.experiments.rival_triggers.decisions import (
    INITIALISATION,
    ORACLE,
    TUNED,
    rival_decisions,
    swept,
)
from pat.study.experiments.rival_triggers.summaries import labelled, mostly_silent


def finding(evidence: Evidence) -> str:
    """What each rule loses on the bottleneck network as it is published, by criterion.

    Its regrets are interpolated between the grid's epochs, so that the policies' chapter has others.
    """
    name = evidence.architecture("bottleneck")
    sweep = swept(evidence.sweep, evidence.profile, evidence.sweep_name)
    own = [cell for cell in sweep.cells if cell.architecture == name]
    if not own:
        return wording.NOT_RUN
    table = rival_decisions(replace(sweep, cells=own), pd.DataFrame(columns=TUNED))
    texts = [
        text
        for criterion in ("gradient", "magnitude")
        if (text := _of(table[table["criterion"] == criterion], criterion))
    ]
    seeds = wording.seeds([table["seed"]])
    return (
        f"Points of accuracy lost against the oracle on `{name}`, with published thresholds, mean over the "
        f"ratios: {'; '.join(texts)} ({seeds}). Between the grid's epochs accuracy is interpolated here; the "
        "chapter on policies, which trained the very epochs, has other numbers, and its word decides."
    )


def _of(table: pd.DataFrame, criterion: Criterion) -> str:
    told, silent = [], []
    for rule, runs in labelled(table).groupby("rule", sort=False):
        seeds = by_seed(runs)
        if rule in (INITIALISATION, ORACLE) or seeds.empty:
            continue
        if mostly_silent(runs):
            silent.append(str(rule))
        else:
            lost = wording.amount(interval(seeds["regret"]), "")
            epoch = runs.loc[runs["triggered"], "epoch"].mean()
            told.append(f"{rule} {lost} in epoch {f'{epoch:.1f}'.removesuffix('.0')}")
    if not told:
        return ""
    quiet = f", while in most runs {wording.listed(silent)} would not have fired" if silent else ""
    return f"by the {criterion} criterion {wording.listed(told)}{quiet}"
