"""Sec. 4.2, Table 1: what policies lose against the oracle."""

from typing import Literal

from pat.criteria import Criterion
from pat.study.analysis import picks, regrets
from pat.study.experiments.evidence import Evidence, Network, Sample, paired
from pat.study.store.record import Record

# Names as in pat.study.analysis.regrets.POLICIES.
Policy = Literal["random", "init", "predefined", "epi", "tuned"]


def policy_regret(evidence: Evidence, network: Network, criterion: Criterion, policy: Policy) -> Sample:
    """What a policy loses against the oracle, in points, mean over the sweep's ratios.

    See :func:`~pat.study.analysis.regrets.policy_regret`. ``tuned`` hangs on the thresholds too, which are
    tuned on the bottleneck network's runs of all seeds.
    """
    runs = _runs(evidence)
    values = regrets.policy_regret(runs, evidence.profile, network, criterion, policy, evidence.sweep_name)
    behind = _of(runs, evidence, network, criterion)
    if policy == "tuned":
        behind += _of(runs, evidence, "bottleneck", criterion)
    return Sample.of(values, behind)


def regret_difference(
    evidence: Evidence, network: Network, criterion: Criterion, first: Policy, second: Policy
) -> Sample:
    """What the policy ``first`` loses minus what ``second`` does, in points, mean over the sweep's ratios."""
    sides = [policy_regret(evidence, network, criterion, policy) for policy in (first, second)]
    return paired(lambda a, b: a - b, *sides)


def threshold_difference(evidence: Evidence) -> Sample:
    """Tuned threshold of magnitude minus that of gradient, each tuned on the bottleneck runs of one seed."""
    runs = _runs(evidence)
    values = picks.threshold_difference(runs, evidence.profile, evidence.sweep_name)
    behind = [
        record
        for criterion in evidence.profile.tau
        for record in _of(runs, evidence, "bottleneck", criterion)
        if record.spec.pruning is None or record.spec.pruning.ratio <= picks.TUNED_UP_TO
    ]
    return Sample.of(values, behind)


def _runs(evidence: Evidence) -> tuple[Record, ...]:
    """The sweep's runs, and those of the epochs that policies picked beside it."""
    return evidence.experiment("policies") or evidence.sweep


def _of(runs: tuple[Record, ...], evidence: Evidence, network: Network, criterion: Criterion) -> list[Record]:
    """A network's dense runs, and those that were pruned by a criterion."""
    name = evidence.architecture(network)
    return [
        record
        for record in runs
        if record.spec.architecture == name
        and (record.spec.pruning is None or record.spec.pruning.criterion == criterion)
    ]
