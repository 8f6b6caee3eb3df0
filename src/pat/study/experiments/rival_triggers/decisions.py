"""When each rule would have pruned a sweep's dense runs, what it loses, what the training costs then."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd

from pat.criteria import Criterion
from pat.policy import EPI, NamedPolicy
from pat.rivals.triggers.threshold import Threshold, Told
from pat.stability import Structure
from pat.study.analysis.grid import Cell, accuracy_at, cells
from pat.study.analysis.picks import (
    Pick,
    best_threshold,
    picks_by_threshold,
    scores_by_threshold,
    tunable,
)
from pat.study.experiments.rival_triggers.rules import Rule, askable
from pat.study.experiments.rival_triggers.told import Replay, epochs_told, replay
from pat.study.experiments.stability.signals import rule_picks
from pat.study.plan.profile import Profile
from pat.study.store.record import Record

ORACLE = "oracle"
"""Beside the rules: the grid's best epoch on validation."""

INITIALISATION = "initialisation"
"""Beside the rules: epoch 0, where the grid has it."""

COLUMNS = [
    "architecture", "criterion", "ratio", "seed", "rule", "thresholds", "threshold", "epoch", "triggered",
    "accuracy", "regret", "training",
]  # fmt: skip

TUNED = ["criterion", "rule", "threshold"]

Shares = Mapping[tuple[str, Criterion, float, int], Mapping[int, float]]
"""By cell and pruning epoch: multiply-accumulates of the training as a share of the dense one's."""


@dataclass(frozen=True)
class Sweep:
    """The cells of a sweep, and what pruning in each of their epochs made of the training's cost."""

    profile: Profile
    cells: Sequence[Cell]
    training: Shares
    _told: dict[tuple[str, Criterion, float, int], Sequence[tuple[Structure, Told]]] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )

    def replay(self, rule: NamedPolicy, cell: Cell) -> Replay:
        """When a rule would have pruned a cell's dense run."""
        if cell.key not in self._told:
            self._told[cell.key] = tuple(epochs_told(cell.dense, cell.criterion, cell.ratio))
        return replay(rule, cell.dense, cell.criterion, cell.ratio, self._told[cell.key])

    def row(self, cell: Cell, rule: str, thresholds: str, threshold: float, pick: Pick) -> tuple[object, ...]:
        """A row of :data:`COLUMNS`. Between two epochs that were run all is linear."""
        accuracy = accuracy_at(cell.test, pick.epoch)
        spent = self.training.get(cell.key, {})
        training = 100 * accuracy_at(spent, pick.epoch) if spent else math.nan
        lost = cell.test[cell.oracle] - accuracy
        return (*cell.key, rule, thresholds, threshold, pick.epoch, pick.triggered, accuracy, lost, training)


def swept(records: Iterable[Record], profile: Profile, preset: str = "full") -> Sweep:
    """A sweep as far as its records are there; arguments as :func:`~pat.study.analysis.grid.cells`."""
    records = list(records)
    shares: dict[tuple[str, Criterion, float, int], dict[int, float]] = defaultdict(dict)
    for record in records:
        pruning, epoch = record.spec.pruning, record.spec.prune_epoch
        if pruning is None or epoch is None or record.cost is None or record.spec.experiment != "sweep":
            continue
        key = (record.spec.architecture, pruning.criterion, pruning.ratio, record.spec.seed)
        shares[key][epoch] = record.cost.training_share
    return Sweep(profile, cells(records, profile, preset), shares)


def rival_decisions(sweep: Sweep, tuned: pd.DataFrame) -> pd.DataFrame:
    """What every rule that the records can answer would have done.

    A run in which a rule stays silent counts at the pre-defined epoch. Thresholds are the published ones, and
    for every rule that has one the threshold that is tuned as EPI's is.

    Args:
        sweep: the dense runs, and what pruning them gave.
        tuned: of :func:`tuned_rivals`; without rows, published thresholds alone are asked.

    Returns:
        One row a cell, rule and kind of threshold: ``architecture``, ``criterion``, ``ratio``, ``seed``,
        ``rule``, ``thresholds`` (``published``, ``tuned``, or empty where there is none), ``threshold``,
        ``epoch``, ``triggered``, ``accuracy`` (test, in percent), ``regret`` (in points, against the grid's
        best epoch on validation) and ``training`` (multiply-accumulates in percent of the dense training's).
    """
    rows, known = [], _by_criterion(sweep)
    for cell in sweep.cells:
        rows.append(sweep.row(cell, ORACLE, "", math.nan, Pick(cell.oracle, True)))
        if 0 in cell.grid:
            rows.append(sweep.row(cell, INITIALISATION, "", math.nan, Pick(0, True)))
        for rule in known[cell.criterion]:
            for kind, threshold, policy in _asked(rule, cell.criterion, tuned):
                pick = _counted(sweep.replay(policy, cell), cell)
                rows.append(sweep.row(cell, rule.name, kind, threshold, pick))
    return pd.DataFrame(rows, columns=COLUMNS)


def _by_criterion(sweep: Sweep) -> dict[Criterion, list[Rule]]:
    first = {cell.criterion: cell for cell in reversed(sweep.cells)}
    return {criterion: askable(sweep.profile, cell)[0] for criterion, cell in first.items()}


def _asked(rule: Rule, criterion: Criterion, tuned: pd.DataFrame) -> Iterable[tuple[str, float, NamedPolicy]]:
    """Kind of threshold, threshold and policy."""
    if not rule.tunable:
        yield "", math.nan, rule.policy
        return
    if rule.published:
        yield "published", float(rule.policy.threshold), rule.policy  # type: ignore[attr-defined]
    own = tuned[(tuned["criterion"] == criterion) & (tuned["rule"] == rule.name)]["threshold"]
    for threshold in own:
        yield "tuned", threshold, replace(rule.policy, threshold=threshold)  # type: ignore[call-arg]


def _counted(found: Replay, cell: Cell) -> Pick:
    return Pick(cell.predefined, False) if found.epoch is None else Pick(found.epoch, True)


def tuned_rivals(sweep: Sweep) -> pd.DataFrame:
    """Thresholds of all rules that have one, tuned as the paper tunes EPI's (Sec. 4.2).

    On the first network, at ratios up to 50 %, the best mean validation accuracy, see
    :func:`~pat.study.analysis.picks.best_threshold`.

    Returns:
        Columns ``criterion``, ``rule`` and ``threshold``, in the rule's own unit; without the rules that no
        threshold lets prune in time.
    """
    first = sweep.profile.architectures[0]
    own = tunable(cell for cell in sweep.cells if cell.architecture == first)
    rows = []
    for criterion, rules in _by_criterion(sweep).items():
        tuned_on = [cell for cell in own if cell.criterion == criterion]
        for rule in rules if tuned_on else ():
            if rule.tunable:
                scores = scores_by_threshold(tuned_on, [_picks(rule, cell, sweep) for cell in tuned_on])
                if scores["triggered"].max() > 0:
                    rows.append((criterion, rule.name, _sign(rule) * best_threshold(scores)))
    return pd.DataFrame(rows, columns=TUNED)


def _sign(rule: Rule) -> int:
    """-1 where a small signal means that it is time: thresholds are tuned on signals that rise."""
    return -1 if isinstance(rule.policy, Threshold) and not rule.policy.rises else 1


def _picks(rule: Rule, cell: Cell, sweep: Sweep) -> list[tuple[float, Pick]]:
    """Every pick that some threshold gives, see :func:`~pat.study.analysis.picks.picks_by_threshold`."""
    if isinstance(rule.policy, EPI):
        return picks_by_threshold(cell.dense, cell.criterion, cell.ratio, profile=sweep.profile)
    signals = sweep.replay(rule.policy, cell).signals
    risen = {epoch: _sign(rule) * value for epoch, value in enumerate(signals) if value is not None}
    return rule_picks(cell.dense, risen)
