"""Sec. 4.2, Table 1: what policies lose against the oracle."""

from typing import Annotated, Literal

from pydantic import Field

from pat.criteria import Criterion
from pat.study.analysis import picks, regret
from pat.study.experiments.evidence import Evidence, Network, Sample, correlates, paired
from pat.study.plan.settings import Ratio
from pat.study.store.record import Record

# Names as in pat.study.analysis.regret.POLICIES.
Policy = Literal["random", "init", "predefined", "epi", "tuned"]


Ratios = tuple[Ratio, ...]


def policy_regret(
    evidence: Evidence,
    network: Network,
    criterion: Criterion,
    policy: Policy,
    ratios: Ratios | list[Ratio] | None = None,
) -> Sample:
    """What a policy loses against the oracle, in points, mean over some ratios or all of the sweep's.

    See :func:`~pat.study.analysis.regret.policy_regret`. ``tuned`` hangs on the thresholds too, which are
    tuned on the bottleneck network's runs of all seeds.
    """
    values = regret.policy_regret(
        evidence.regrets, evidence.profile, network, criterion, policy, evidence.sweep_name, ratios
    )
    behind = _of(evidence, network, criterion, ratios)
    if policy == "tuned":
        behind += _of(evidence, "bottleneck", criterion)
    return Sample.of(values, behind)


def regret_difference(
    evidence: Evidence, network: Network, criterion: Criterion, first: Policy, second: Policy
) -> Sample:
    """What the policy ``first`` loses minus what ``second`` does, in points, mean over the sweep's ratios."""
    sides = [policy_regret(evidence, network, criterion, policy) for policy in (first, second)]
    return paired(lambda a, b: a - b, *sides)


def regret_margin(
    evidence: Evidence,
    network: Network,
    criterion: Criterion,
    ratios: Ratios | list[Ratio],
    policy: Policy,
    share: Annotated[float, Field(gt=0, le=1)],
    of: Policy,
) -> Sample:
    """A share of what the policy ``of`` loses against the oracle, minus what ``policy`` does, in points.

    Above 0 where ``policy`` loses less than that share. Unlike a quotient it is defined where there is little
    to lose. Mean over the ratios.
    """
    sides = [policy_regret(evidence, network, criterion, which, ratios) for which in (of, policy)]
    return paired(lambda most, lost: share * most - lost, *sides)


@correlates
def threshold_difference(evidence: Evidence) -> Sample:
    """Tuned threshold of magnitude minus that of gradient, each tuned on the bottleneck runs of one seed."""
    values = picks.threshold_difference(evidence.picked, evidence.profile, evidence.sweep_name)
    behind = [
        record
        for criterion in evidence.profile.tau
        for record in _of(evidence, "bottleneck", criterion)
        if record.spec.pruning is None or record.spec.pruning.ratio <= picks.TUNED_UP_TO
    ]
    return Sample.of(values, behind)


def _of(
    evidence: Evidence,
    network: Network,
    criterion: Criterion,
    ratios: Ratios | list[Ratio] | None = None,
) -> list[Record]:
    """A network's dense runs, and those that were pruned by a criterion, at some ratios or all."""
    name = evidence.architecture(network)
    return [
        record
        for record in evidence.picked
        if record.spec.architecture == name
        and (
            record.spec.pruning is None
            or (
                record.spec.pruning.criterion == criterion
                and (ratios is None or record.spec.pruning.ratio in ratios)
            )
        )
    ]
