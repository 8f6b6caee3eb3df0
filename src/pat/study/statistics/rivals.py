"""Sec. 4.4, Table 2: pruning by EPI against other methods that prune in training."""

from pat.study.analysis import in_training
from pat.study.evidence import Evidence, Sample


def rival_difference(evidence: Evidence, value: in_training.Value) -> Sample:
    """Pruning by EPI minus PruneTrain: test accuracy in points, or the share of the training that is saved.

    See :func:`~pat.study.analysis.in_training.rival_difference`.
    """
    runs = evidence.experiment("prunetrain")
    values = in_training.rival_difference(runs, evidence.profile, evidence.preset, value)
    return Sample.of(values, runs)
