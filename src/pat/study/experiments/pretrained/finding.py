"""What the chapter on trained networks finds, in a sentence."""

from pat.study import wording
from pat.study.experiments.evidence import Evidence
from pat.study.experiments.tickets.statistics import pretrained_difference

_TIMES = " Times were set equal beforehand, from measured epochs of the other runs."


def finding(evidence: Evidence) -> str:
    """EPI against training, pruning and finetuning, at equal epochs and at equal time."""
    texts, behind, timed = [], [], False
    for budget, words in (
        ("epochs", "the same number of epochs"),
        ("time", "nominally the same training time"),
    ):
        values = dict(pretrained_difference(evidence, budget).values)  # type: ignore[arg-type]
        if values:
            texts.append(f"{wording.difference(values.values(), 'gains {}', 'loses {}')} with {words}")
            behind.append(values)
            timed = budget == "time"
    if not texts:
        return wording.NOT_RUN
    return (
        "Pruning by EPI in training, against training to the end, pruning and finetuning, "
        f"{wording.listed(texts)} (mean over the ratios, {wording.seeds(behind)}).{_TIMES if timed else ''}"
    )
