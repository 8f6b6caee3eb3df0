"""What the chapter on stability finds, in a sentence."""

import pandas as pd

from pat.criteria import Criterion
from pat.study import wording
from pat.study.analysis.intervals import interval
from pat.study.analysis.stability import epi_epoch
from pat.study.experiments.evidence import Evidence
from pat.study.experiments.stability.statistics import structure_motion, structure_settling


def finding(evidence: Evidence, ratio: float = 0.5) -> str:
    """How far the structure settles, and when EPI says so."""
    contrast = evidence.profile.contrast
    texts, behind = [], []
    for criterion in ("gradient", "magnitude"):
        motion = structure_motion(evidence, criterion, ratio).values
        settling = structure_settling(evidence, criterion, ratio).values
        if motion and settling:
            moves = wording.difference(motion.values(), "{} more", "{} less", unit="", digits=3)
            nearer = wording.difference(settling.values(), "{} nearer", "{} farther", unit="", digits=3)
            texts.append(
                f"With the {criterion} criterion the structure moves {moves} per epoch, in 1 − Ψ, in the "
                f"first third of the training than in the last; pruning in epoch {contrast.reference} leaves "
                f"one that is {nearer}, in Ψ, to that of pruning in epoch {contrast.last} than pruning at "
                f"initialisation does; {_when(evidence, criterion, ratio)}"
            )
            behind += [motion, settling]
    if not texts:
        return wording.NOT_RUN
    return (
        f"`{evidence.architecture('bottleneck')}`, {wording.percent(ratio)} pruned, {wording.seeds(behind)}. "
        f"{'. '.join(texts)}."
    )


def _when(evidence: Evidence, criterion: Criterion, ratio: float) -> str:
    """In which epochs EPI would prune the dense runs."""
    profile, dense = evidence.profile, evidence.dense("bottleneck")
    settings = (profile.tau[criterion], profile.tracking.look_back, profile.patience)
    epochs = pd.Series([epi_epoch(record, criterion, ratio, *settings) for record in dense], dtype=float)
    known = epochs.dropna()
    if known.empty:
        return f"EPI stays silent in all {len(epochs)} runs"
    when = f"in epoch {wording.amount(interval(known), '', 0)} of {profile.recipe.epochs}"
    silent = f" where it triggers, in {len(known)} of {len(epochs)} runs" if len(known) < len(epochs) else ""
    return f"EPI prunes {when}{silent}"
