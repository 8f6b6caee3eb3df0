"""Sec. 4.1: what the pruning epoch does to the final accuracy."""

import math
from typing import Literal

from scipy import stats

from pat.criteria import Criterion
from pat.study.analysis.grid import cells
from pat.study.experiments.evidence import Evidence, Network, Sample, correlates, paired, reaches
from pat.study.plan.settings import Ratio
from pat.study.store.record import Record

Moment = Literal["first", "reference", "early", "last"]
"""A pruning epoch of the profile's contrast; ``early`` is the mean over the grid's epochs in its range."""

Against = Literal["reference", "dense"]
"""What pruning at initialisation is held against: the contrast's reference epoch, or the dense run."""


def accuracy_difference(
    evidence: Evidence,
    network: Network,
    criterion: Criterion,
    ratio: Ratio,
    first: Moment | Literal["oracle", "dense"],
    second: Moment | Literal["oracle", "dense"],
) -> Sample:
    """Test accuracy of ``first`` minus ``second``, in points.

    Each is a pruning epoch of the profile's contrast, ``oracle``, the grid's best epoch on validation, a seed
    at a time, or ``dense``, the run that is not pruned.
    """
    sides = [_accuracy(evidence, network, criterion, ratio, at) for at in (first, second)]
    return paired(lambda a, b: a - b, *sides)


@reaches(lambda profile: (0.0, math.inf))
def accuracy_share(
    evidence: Evidence, network: Network, criterion: Criterion, ratio: Ratio, at: Moment
) -> Sample:
    """Test accuracy of a pruned run as a share of the dense run's."""
    pruned = _accuracy(evidence, network, criterion, ratio, at)
    return paired(lambda a, b: a / b, pruned, _accuracy(evidence, network, criterion, ratio, "dense"))


def initialisation_loss_by_criterion(
    evidence: Evidence, network: Network, ratio: Ratio, against: Against = "reference"
) -> Sample:
    """How much more pruning at initialisation costs with magnitude than with the gradient, in points.

    What it costs is the accuracy of ``against`` minus that of the contrast's first epoch.
    """
    losses = [_initialisation_loss(evidence, network, by, ratio, against) for by in ("magnitude", "gradient")]
    return paired(lambda magnitude, gradient: magnitude - gradient, *losses)


@correlates
def initialisation_loss_trend(
    evidence: Evidence, network: Network, criterion: Criterion, against: Against = "reference"
) -> Sample:
    """Spearman's rank correlation of the ratio and what pruning at initialisation costs, held ``against``.

    Over all ratios of the sweep, if they are three or more; 0 if it costs the same at all of them.
    """
    ratios = list(evidence.grid(network, criterion))
    if len(ratios) < 3:
        return Sample()
    losses = [_initialisation_loss(evidence, network, criterion, ratio, against) for ratio in ratios]
    return paired(lambda *values: trend(ratios, values), *losses)


def trend(x: list[float], y: tuple[float, ...] | list[float]) -> float:
    """Spearman's rank correlation; 0 where y does not change at all."""
    return float(stats.spearmanr(x, y).statistic) if len(set(y)) > 1 else 0.0


def _initialisation_loss(
    evidence: Evidence, network: Network, criterion: Criterion, ratio: Ratio, against: Against
) -> Sample:
    return accuracy_difference(evidence, network, criterion, ratio, first=against, second="first")


def _accuracy(
    evidence: Evidence,
    network: Network,
    criterion: Criterion,
    ratio: Ratio,
    at: Moment | Literal["oracle", "dense"],
) -> Sample:
    """Test accuracy in percent; failed runs have none."""
    if at == "dense":
        return _of(evidence.dense(network))
    if at == "oracle":
        return _oracle(evidence, network, criterion, ratio)
    grid, contrast = evidence.grid(network, criterion).get(ratio, {}), evidence.profile.contrast
    if at == "early":
        low, high = contrast.early or (contrast.reference, contrast.reference)
        inside = [_of(records) for epoch, records in grid.items() if low <= epoch <= high]
        return paired(lambda *values: sum(values) / len(values), *inside) if inside else Sample()
    return _of(grid.get(getattr(contrast, at), []))


def _of(records: list[Record]) -> Sample:
    done = [record for record in records if record.result is not None]
    return Sample.of({r.spec.seed: r.result.test_accuracy for r in done if r.result}, done)


def _oracle(evidence: Evidence, network: Network, criterion: Criterion, ratio: Ratio) -> Sample:
    """Of seeds that have all of the grid's runs."""
    name, sweep = evidence.architecture(network), evidence.sweep
    found = cells(sweep, evidence.profile, evidence.sweep_name, architecture=name, criterion=criterion)
    values = {cell.seed: cell.test[cell.oracle] for cell in found if cell.ratio == ratio}
    grid = evidence.grid(network, criterion).get(ratio, {})
    return Sample.of(values, [record for runs in grid.values() for record in runs])
