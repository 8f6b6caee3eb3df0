"""The rules that are asked: every registered policy that watches, and shares of the schedule beside them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import pandas as pd

from pat.criteria import Criterion
from pat.policy import EPI, POLICIES, NamedPolicy
from pat.rivals.triggers import ShareOfSchedule
from pat.rivals.triggers.masks import MaskRule
from pat.rivals.triggers.threshold import Threshold
from pat.study.analysis.grid import Cell
from pat.study.experiments.rival_triggers.told import NotRecorded, replay
from pat.study.plan.profile import Profile

EARLYBERT_PROGRAM = 1 / 15
"""EarlyBERT's program draws after 0.2 of the first of three epochs."""


@dataclass(frozen=True)
class Rule:
    """A policy with its settings, as it is asked here.

    Attributes:
        name: for people.
        policy: with its published settings, or with a threshold that stands in until one is tuned.
        published: whether its threshold is its authors'.
        difference: what is not as its authors do it.
        origin: where it comes from, if not where the policy does.
    """

    name: str
    policy: NamedPolicy
    published: bool = True
    difference: str = ""
    origin: str = ""

    @property
    def tunable(self) -> bool:
        """Whether it has a threshold that can be tuned on dense runs."""
        return isinstance(self.policy, Threshold | EPI)


def rules(profile: Profile, criterion: Criterion) -> tuple[list[Rule], dict[str, str]]:
    """The rules for a criterion, and why others that are registered cannot be asked, by their names.

    Args:
        profile: gives the settings that it has values for, as EPI's threshold and look-back.
        criterion: what would be pruned by.
    """
    found, refused = [], {}
    for kind, entry in POLICIES.items():
        if not entry.watches:
            continue
        missing = [name for name, needed in entry.takes().items() if needed and name not in entry.usual]
        bounds = entry.bounds if issubclass(entry, Threshold) else (0.0, 1.0)
        try:
            policy = profile.policy(kind, criterion, dict.fromkeys(missing, bounds[0]))
        except ValueError as error:
            refused[entry.title] = str(error)
            continue
        if missing not in ([], ["threshold"]):
            refused[entry.title] = f"no value of {', '.join(missing)} is published"
        else:
            found.append(Rule(entry.title, policy, published=not missing))
    return [*found, *shares()], refused


def shares() -> list[Rule]:
    """The rules that look at nothing."""
    program = Rule(
        "EarlyBERT's share",
        ShareOfSchedule(EARLYBERT_PROGRAM),
        difference="on BERT 0.2 of the first of three epochs, by its authors' program",
        origin="Chen et al. 2021 (ACL), program",
    )
    return [Rule("a third of the schedule", ShareOfSchedule()), program]


def askable(profile: Profile, cell: Cell) -> tuple[list[Rule], dict[str, str]]:
    """The rules that a record can answer, and why it cannot answer the others, by their names.

    A rule of masks further apart than one epoch is asked of successive ones instead, under a name that says
    so.

    Args:
        profile: of the run.
        cell: whose dense run, criterion and ratio are tried.
    """
    wanted, refused = rules(profile, cell.criterion)
    found: list[Rule] = []
    for rule in wanted:
        for tried in (rule, *_nearer(rule)):
            try:
                replay(tried.policy, cell.dense, cell.criterion, cell.ratio)
            except NotRecorded as error:
                refused[tried.name] = str(error)
            else:
                found.append(tried)
                break
    return found, refused


def _nearer(rule: Rule) -> Iterator[Rule]:
    if isinstance(rule.policy, MaskRule) and rule.policy.apart > 1:
        apart = f"masks one epoch apart, not {rule.policy.apart}"
        yield Rule(f"{rule.name}, 1 apart", replace(rule.policy, apart=1), rule.published, apart)


def rival_rules(profile: Profile, cells: Iterable[Cell], tuned: pd.DataFrame) -> pd.DataFrame:
    """The rules in words.

    Args:
        profile: of the runs.
        cells: of a sweep; the first of each criterion is asked.
        tuned: of :func:`~pat.study.experiments.rival_triggers.decisions.tuned_rivals`.

    Returns:
        Columns ``rule``, ``source``, ``earliest`` (the first epoch that it can prune in), ``published`` and
        ``tuned`` (thresholds as text, one a criterion where they differ; a dash where there is none) and
        ``replayed`` (what is not as its authors do it, or why it cannot be asked).
    """
    first = {cell.criterion: cell for cell in reversed(list(cells))}
    known = {criterion: askable(profile, cell) for criterion, cell in sorted(first.items())}
    keys = zip(tuned["criterion"], tuned["rule"], strict=True)
    thresholds: dict[tuple[str, str], float] = dict(zip(keys, tuned["threshold"], strict=True))
    rows: dict[str, tuple[str, ...]] = {}
    for found, _ in known.values():
        for rule in found:
            same = [other for own, _ in known.values() for other in own if other.name == rule.name]
            given = [getattr(other.policy, "threshold", None) for other in same if other.published]
            rows[rule.name] = (
                rule.name,
                rule.origin or rule.policy.source,
                str(_earliest(rule.policy, profile)),
                _texts(given if rule.tunable else ()),
                _texts(thresholds.get((criterion, rule.name)) for criterion in known),
                (rule.difference or "as published") if rule.published else "no threshold is published",
            )
    sources = {entry.title: entry.source for entry in POLICIES.values()}
    for _, refused in known.values():
        rows |= {
            name: (name, sources.get(name, ""), "", "", "", f"not asked: {why}")
            for name, why in refused.items()
        }
    columns = ["rule", "source", "earliest", "published", "tuned", "replayed"]
    return pd.DataFrame(list(rows.values()), columns=columns)


def _texts(thresholds: Iterable[float | None]) -> str:
    texts = [f"{value:.4g}" for value in thresholds if value is not None]
    return " / ".join(dict.fromkeys(texts)) or "–"


def _earliest(policy: NamedPolicy, profile: Profile) -> int | None:
    return policy.earliest if policy.watches else policy.build(0, profile.recipe.epochs).prune_epoch
