"""What the chapter on the pruning epoch finds, in a sentence."""

from pat.criteria import Criterion
from pat.study import wording
from pat.study.experiments.evidence import Evidence
from pat.study.experiments.oracle_sweep.statistics import accuracy_difference


def finding(evidence: Evidence, ratio: float = 0.5) -> str:
    """Pruning at initialisation and pruning late, each against the contrast's reference epoch."""
    contrast, network = evidence.profile.contrast, evidence.architecture("bottleneck")
    texts, behind = [], []
    for criterion in ("gradient", "magnitude"):
        early, late = _against_reference(evidence, criterion, ratio)
        if early and late:
            texts.append(
                f"with the {criterion} criterion pruning at initialisation instead "
                f"{wording.difference(early.values(), 'loses {}', 'gains {}')}, and pruning in epoch "
                f"{contrast.last} {wording.difference(late.values(), 'loses {}', 'gains {}')}"
            )
            behind += [early, late]
    if not texts:
        return wording.NOT_RUN
    return (
        f"Of `{network}`, {wording.percent(ratio)} of the filters were pruned in epoch "
        f"{contrast.reference} of {evidence.profile.recipe.epochs}: {'; '.join(texts)} "
        f"({wording.seeds(behind)})."
    )


def _against_reference(
    evidence: Evidence, criterion: Criterion, ratio: float
) -> tuple[dict[int, float], dict[int, float]]:
    first, last = (
        dict(accuracy_difference(evidence, "bottleneck", criterion, ratio, "reference", at).values)
        for at in ("first", "last")
    )
    return first, last
