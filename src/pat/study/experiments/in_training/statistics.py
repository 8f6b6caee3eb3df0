"""Sec. 4.4, Table 2: pruning by EPI against other methods that prune in training."""

from pat.study.experiments.evidence import Evidence, Sample
from pat.study.experiments.in_training import runs as in_training


def rival_difference(evidence: Evidence, value: in_training.Value) -> Sample:
    """Pruning by EPI minus PruneTrain: test accuracy in points, or the share of the training that is saved.

    See :func:`~pat.study.experiments.in_training.runs.rival_difference`.
    """
    runs = evidence.experiment("prunetrain")
    values = in_training.rival_difference(runs, evidence.profile, evidence.preset, value)
    return Sample.of(values, runs)
