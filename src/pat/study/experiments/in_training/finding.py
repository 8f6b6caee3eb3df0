"""What the chapter on other pruning in training finds, in a sentence."""

from pat.study import wording
from pat.study.experiments.evidence import Evidence
from pat.study.experiments.in_training.statistics import rival_difference


def finding(evidence: Evidence) -> str:
    """Pruning by EPI against PruneTrain, in accuracy and in what of the training is saved."""
    accuracy, saving = (dict(rival_difference(evidence, value).values) for value in ("accuracy", "saving"))
    if not accuracy or not saving:
        return wording.NOT_RUN
    more = [100 * value for value in saving.values()]
    return (
        f"Against PruneTrain with about as many filters removed, pruning by EPI "
        f"{wording.difference(accuracy.values(), 'gains {}', 'loses {}', ' points of accuracy')} and "
        f"{wording.difference(more, 'saves {} more', 'saves {} less', ' percentage points')} of the training "
        f"({wording.seeds([accuracy, saving])})."
    )
