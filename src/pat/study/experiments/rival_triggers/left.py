"""An exploration: EPI on the structure that Algorithm 1 really leaves, instead of the one-shot one.

Algorithm 2 watches a one-shot top-k of an epoch's scores. A loop could instead rehearse Algorithm 1 on copies
of weights and scores in every epoch and watch what that leaves. Records know it for the epochs of the
oracle's grid: there Algorithm 1 did run.
"""

import math
from collections.abc import Iterable, Mapping

import pandas as pd

from pat.criteria import Criterion
from pat.stability import similarity
from pat.study.analysis.grid import Cell, pruned_in
from pat.study.analysis.intervals import interval
from pat.study.analysis.picks import Pick, at_threshold, best_threshold, scores_by_threshold, tunable
from pat.study.analysis.regret import by_seed
from pat.study.analysis.stability import structures
from pat.study.experiments.rival_triggers.decisions import COLUMNS, Sweep
from pat.study.experiments.stability.signals import rule_picks
from pat.study.plan.spec import Spec
from pat.study.store.record import Record

LEFT = "EPI on what Algorithm 1 leaves"
ONE_SHOT = "EPI on the one-shot structure, same epochs"
"""The control: the paper's structure, seen in the grid's epochs alone."""

Structures = Mapping[int, Mapping[str, int]]
"""Channels per layer, by epoch."""

Key = tuple[str, Criterion, float, int]


def grid_signal(seen: Structures, look_back: int, patience: int) -> dict[int, float]:
    """EPI of structures that are known in some epochs only, where it leads those before it.

    Eq. 6 over the epochs of the look-back that are known, at least one; Algorithm 2's condition over the
    values of the patience that are known.

    Args:
        seen: the structures.
        look_back, patience: in epochs.

    Returns:
        By epoch, without those in which the value is not defined or under one of those before it.
    """
    values: dict[int, float] = {}
    leading = {}
    for epoch in sorted(seen):
        before = [seen[at] for at in seen if epoch - look_back <= at < epoch]
        if before:
            value = math.fsum(similarity(seen[epoch], past) for past in before) / len(before)
            if all(value >= past for at, past in values.items() if at >= epoch - patience):
                leading[epoch] = value
            values[epoch] = value
    return leading


def left_decisions(records: Iterable[Record], sweep: Sweep) -> pd.DataFrame:
    """When EPI would prune if it watched what Algorithm 1 leaves, and its control.

    Both with the paper's thresholds and with tuned ones. A structure that an epoch would leave is known when
    the epoch has ended, so that the next one prunes.

    Args:
        records: the sweep's.
        sweep: see :func:`~pat.study.experiments.rival_triggers.decisions.swept`.

    Returns:
        As :func:`~pat.study.experiments.rival_triggers.decisions.rival_decisions`; without the cells whose
        grid has no two epochs within a look-back.
    """
    profile = sweep.profile
    by_spec = {record.spec: record for record in records}
    window = (profile.tracking.look_back, profile.patience)
    picks: dict[tuple[Key, str], list[tuple[float, Pick]]] = {}
    kept: list[Cell] = []
    for cell in sweep.cells:
        signals = {LEFT: _left(cell, by_spec), ONE_SHOT: _one_shot(cell)}
        common = signals[LEFT].keys() & signals[ONE_SHOT].keys()
        if any(0 < b - a <= window[0] for a in common for b in common):
            kept.append(cell)
            for rule, seen in signals.items():
                signal = grid_signal({at: seen[at] for at in sorted(common)}, *window)
                picks[cell.key, rule] = rule_picks(cell.dense, signal)
    tuned_on = tunable(cell for cell in kept if cell.architecture == profile.architectures[0])
    rows = []
    for rule in (LEFT, ONE_SHOT):
        for criterion in dict.fromkeys(cell.criterion for cell in kept):
            thresholds = {"published": profile.tau[criterion]}
            if own := [cell for cell in tuned_on if cell.criterion == criterion]:
                scores = scores_by_threshold(own, [picks[cell.key, rule] for cell in own])
                thresholds["tuned"] = best_threshold(scores)
            for cell in kept:
                for kind, threshold in thresholds.items() if cell.criterion == criterion else ():
                    pick = at_threshold(picks[cell.key, rule], threshold)
                    rows.append(sweep.row(cell, rule, kind, threshold, pick))
    return pd.DataFrame(rows, columns=COLUMNS)


def left_against_one_shot(left: pd.DataFrame) -> pd.DataFrame:
    """What watching Algorithm 1's structure loses more than watching the one-shot one, paired by seed.

    Args:
        left: of :func:`left_decisions`.

    Returns:
        Columns ``network``, ``criterion``, ``thresholds`` and ``more than one-shot`` (text: points, mean over
        the ratios, then over the seeds, with its 95 % interval; negative where it loses less).
    """
    rows = []
    for key, own in left.groupby(["architecture", "criterion", "thresholds"], sort=False):
        lost = [
            by_seed(own[own["rule"] == rule].assign(policy=rule)).set_index("seed")["regret"]
            for rule in (LEFT, ONE_SHOT)
        ]
        rows.append((*key, interval((lost[0] - lost[1]).dropna()).text()))
    return pd.DataFrame(rows, columns=["network", "criterion", "thresholds", "more than one-shot"])


def _left(cell: Cell, by_spec: Mapping[Spec, Record]) -> dict[int, Mapping[str, int]]:
    """What Algorithm 1 left in the grid's epochs; a run that collapsed in it left nothing."""
    found: dict[int, Mapping[str, int]] = {}
    for epoch in cell.grid:
        record = by_spec[pruned_in(cell.dense, cell.criterion, cell.ratio, epoch)]
        structure = next((e.structure for e in record.history if e.phase == "prune"), None)
        if structure is not None:
            found[epoch] = structure
    return found


def _one_shot(cell: Cell) -> dict[int, Mapping[str, int]]:
    rows = structures(cell.dense, cell.criterion, cell.ratio).to_dict("index")
    return {at: {str(layer): int(n) for layer, n in rows[at].items()} for at in cell.grid if at in rows}
