"""The practitioner's numbers: what each ratio costs and saves, and where pruning saves nothing."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from pat.study import wording
from pat.study.analysis.intervals import interval
from pat.study.claims.verdicts import Study
from pat.study.experiments.speed.runs import speed_table
from pat.study.store.speeds import speeds_of

NONE = "No scale has the runs for this."


def facts(studies: Sequence[Study]) -> dict[str, Any]:
    """Texts and tables of the page.

    Returns:
        ``ratios`` (rows: accuracy lost and computation saved by ratio) and ``slower`` (sentences: the ratios
        whose pruned step is measured to be no faster).
    """
    tables = [(study, table) for study in studies if not (table := _by_epi(study)).empty]
    return {
        "ratios": [row for study, table in tables for row in _rows(study, table)] or NONE,
        "slower": "\n".join(f"- {text}" for pair in tables if (text := _slower(*pair))) or NONE,
    }


def _by_epi(study: Study) -> pd.DataFrame:
    """The first network's runs pruned in EPI's epoch by the gradient, with their dense runs' accuracy."""
    evidence = study.evidence
    speeds = speeds_of(evidence.store.root, study.profile.recorded, evidence.records)
    table = speed_table(evidence.records, study.profile, speeds)
    dense = {r.id: r.result.test_accuracy for r in evidence.records if r.result and r.spec.pruning is None}
    own = table[table["choice"] == "epi"]
    return own.assign(lost=own["dense"].map(dense) - own["test_accuracy"])


def _rows(study: Study, table: pd.DataFrame) -> list[dict[str, str]]:
    rows = []
    for ratio, part in table.groupby("ratio"):
        rows.append(
            {
                "Scale": study.profile.name,
                "Pruned": wording.percent(float(str(ratio))),
                "EPI fires": f"{(part['triggered'] == True).sum()} of {len(part)}",  # noqa: E712 - or None
                "Points of accuracy lost": wording.known(part["lost"], 1),
                "Multiply-accumulates left, %": wording.known(100 * part["macs_share"], 0),
                "Measured step, % of the dense one": wording.known(100 * part["step_share"], 0),
                "Saved of the training: multiply-accumulates, %": wording.known(
                    100 * (1 - part["training_share"]), 0
                ),
                "Time, %": wording.known(100 * (1 - part["step_training_share"]), 0),
            }
        )
    return rows


def _slower(study: Study, table: pd.DataFrame) -> str:
    """The ratios at which the step's interval is not all under the dense step."""
    slower: list[str] = []
    equal: list[str] = []
    measured = False
    for ratio, part in table.groupby("ratio"):
        shares = part["step_share"].dropna()
        if shares.empty:
            continue
        measured = True
        step = interval(shares)
        low, high = (step.mean if end is None else end for end in (step.low, step.high))
        if high >= 1:
            (slower if low > 1 else equal).append(wording.percent(float(str(ratio))))
    if not measured:
        return ""
    hardware = speeds_of(study.evidence.store.root, study.profile.recorded, study.evidence.records)
    where = f", measured on {hardware.hardware}" if hardware else ""
    texts = [f"slower than the dense one at {wording.listed(slower)}"] if slower else []
    texts += [f"no faster than the dense one at {wording.listed(equal)}"] if equal else []
    said = wording.listed(texts) if texts else "faster than the dense one at every ratio"
    return f"**{study.profile.title}**{where}: a step of the pruned network is {said}."
