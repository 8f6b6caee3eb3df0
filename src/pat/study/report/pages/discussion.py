"""The discussion's numbers: what EPI watches and what is left, rules held against each other, and scales."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from pat.study import audit, wording
from pat.study.analysis.intervals import Interval, interval
from pat.study.analysis.regret import by_seed
from pat.study.analysis.stability import one_shot_similarity
from pat.study.claims.verdicts import Study
from pat.study.experiments.oracle_sweep.statistics import accuracy_share
from pat.study.experiments.policies.finding import WORDS

NONE = "No scale has the runs for this."
_MANY = 3
"""So many pairs of network and criterion are no longer named."""


def facts(studies: Sequence[Study], book: Path) -> dict[str, Any]:
    """Texts and tables of the page.

    Args:
        studies: of each profile.
        book: folder with the paper's values.

    Returns:
        ``moments`` (rows: when EPI prunes the bottleneck network, and when the oracle does), ``watched``
        (rows: similarity of the structure watched and the one left), ``rules`` (sentences) and
        ``rules_table`` (rows: mean regret by scale, network and criterion), ``scale`` (sentences) and
        ``audit`` (a sentence).
    """
    found = [(study, table) for study in studies if not (table := policy_means(study)).empty]
    rows = [row for study, table in found for row in _rows(study, table)]
    return {
        "moments": [row for study in studies for row in _moments(study)] or NONE,
        "watched": _watched(studies) or NONE,
        "rules": "\n".join(f"- {_rules(study, table)}" for study, table in found) or NONE,
        "rules_table": rows or NONE,
        "scale": "\n".join(f"- {text}" for study in studies if (text := _initialisation(study))) or NONE,
        "audit": _audit(book),
    }


def policy_means(study: Study) -> pd.DataFrame:
    """Regret by seed of the policies that need no tuning: mean over the ratios, all networks and criteria.

    Returns:
        Columns ``architecture``, ``criterion``, ``policy``, ``seed`` and ``regret`` (points); only pairs of
        network and criterion that all policies have seeds of.
    """
    table = by_seed(study.evidence.regrets)
    table = table[table["policy"].isin(WORDS)]
    complete = table.groupby(["architecture", "criterion"])["policy"].transform("nunique") == len(WORDS)
    return table[complete]


def _moments(study: Study) -> list[dict[str, str]]:
    """Epochs of EPI and the oracle on the bottleneck network, by criterion and ratio."""
    table = study.evidence.regrets
    own = table[table["architecture"] == study.evidence.architecture("bottleneck")]
    rows = []
    for (criterion, ratio), cell in own.groupby(["criterion", "ratio"]):
        by_policy = {policy: part.set_index("seed") for policy, part in cell.groupby("policy")}
        epi, oracle, third = (by_policy[policy] for policy in ("epi", "oracle", "predefined"))
        fired = epi[epi["triggered"].astype(bool)]
        rows.append(
            {
                "Scale": study.profile.name,
                "Criterion": str(criterion),
                "Pruned": wording.percent(float(str(ratio))),
                "EPI fires": f"{len(fired)} of {len(epi)}",
                "In epoch": _epoch(fired["epoch"]),
                "The oracle's epoch": _epoch(oracle["epoch"]),
                "EPI's regret less a third's": wording.known(epi["regret"] - third["regret"]),
            }
        )
    return rows


def _epoch(epochs: "pd.Series[float]") -> str:
    return f"{epochs.mean():.0f} ({epochs.min():.0f} to {epochs.max():.0f})" if len(epochs) else "–"


def _watched(studies: Sequence[Study]) -> list[dict[str, str]]:
    """Psi between the last structure that EPI looked at and the one that Algorithm 1 left, by ratio."""
    rows = []
    for study in studies:
        table = one_shot_similarity(study.evidence.sweep)
        if table.empty:
            continue
        own = table[table["architecture"] == study.evidence.architecture("bottleneck")]
        means = own.groupby(["criterion", "ratio", "seed"])["psi"].mean()
        for criterion, part in means.groupby("criterion"):
            cells = {
                wording.percent(float(str(ratio))): wording.amount(interval(values), "", 2)
                for ratio, values in part.groupby("ratio")
            }
            rows.append({"Scale": study.profile.name, "Criterion": str(criterion), **cells})
    known = sorted({name for row in rows for name in row if "%" in name}, key=lambda name: float(name[:-2]))
    return [
        {"Scale": row["Scale"], "Criterion": row["Criterion"], **{name: row.get(name, "–") for name in known}}
        for row in rows
    ]


def _less(part: pd.DataFrame) -> Interval:
    """EPI's regret less a fixed third's, over the seeds of one network and criterion."""
    wide = part.pivot(index="seed", columns="policy", values="regret")
    return interval((wide["epi"] - wide["predefined"]).dropna())


def _rules(study: Study, table: pd.DataFrame) -> str:
    """Where EPI is better than the rule that looks at nothing, where worse, and where neither is seen."""
    better: list[str] = []
    worse: list[str] = []
    neither: list[str] = []
    for (network, criterion), part in table.groupby(["architecture", "criterion"], sort=False):
        found = _less(part)
        low, high = (found.mean if end is None else end for end in (found.low, found.high))
        kind = better if high < 0 else worse if low > 0 else neither
        kind.append(f"`{network}` by {criterion}")
    seen = f"the other {len(neither)} pairs" if len(neither) >= _MANY else " and ".join(neither)
    return (
        f"**{study.profile.title}** ({wording.seeds([table['seed']])}, 95 % intervals of the paired "
        f"difference): EPI loses less than a fixed third on {wording.listed(better or ['no pair'])}, more on "
        f"{wording.listed(worse or ['none'])}" + (f"; no difference is seen on {seen}." if neither else ".")
    )


def _rows(study: Study, table: pd.DataFrame) -> list[dict[str, str]]:
    rows = []
    for (network, criterion), part in table.groupby(["architecture", "criterion"], sort=False):
        cells = {
            words[0].upper() + words[1:]: wording.amount(
                interval(part.loc[part["policy"] == policy, "regret"]), ""
            )
            for policy, words in WORDS.items()
        }
        named = {"Scale": study.profile.name, "Network": str(network), "Criterion": str(criterion)}
        rows.append(named | cells | {"EPI's less a third's": wording.amount(_less(part), "")})
    return rows


def _initialisation(study: Study) -> str:
    """What pruning at initialisation leaves of the dense accuracy, by criterion."""
    texts = []
    for criterion in ("magnitude", "gradient"):
        sample = accuracy_share(study.evidence, "bottleneck", criterion, 0.5, "first")
        if sample.values:
            share = interval(100 * value for value in sample.values.values())
            texts.append(f"{wording.amount(share, ' %', 0)} by {criterion}")
    return f"**{study.profile.title}**: {wording.listed(texts)}." if texts else ""


def _audit(book: Path) -> str:
    if not (book / "networks.yaml").is_file():
        return NONE
    found = Counter(check.verdict for check in audit.checks(book))
    held = found.total() - found["implied"] - found["cannot be recomputed"]
    return (
        f"Of {held} printed numbers and statements that can be worked out anew from other ones of the "
        f"paper, {found['comes out']} come out, {found['only with another input']} only with another input "
        f"than the one named, and {found['does not come out']} do not."
    )
