"""The rules' decisions as tables: means over seeds with their intervals."""

from collections.abc import Callable, Iterator

import pandas as pd

from pat.study.analysis.intervals import interval
from pat.study.analysis.regret import by_seed
from pat.study.experiments.rival_triggers.decisions import INITIALISATION, ORACLE
from pat.study.plan.profile import Profile

REFERENCE = "EPI"
"""The paper's rule with its published thresholds, that all others are held against."""

_CELL = ["architecture", "criterion", "ratio", "seed"]


def labelled(table: pd.DataFrame) -> pd.DataFrame:
    """Decisions with a column ``policy``: the rule's name, and that its threshold is tuned, in a fixed order.

    Args:
        table: of :func:`~pat.study.experiments.rival_triggers.decisions.rival_decisions`.

    Returns:
        The rules as they are asked, then initialisation and the oracle.
    """
    tuned = table["thresholds"] == "tuned"
    named = table.assign(policy=table["rule"] + tuned.map({True: ", tuned", False: ""}))
    rank = {name: place for place, name in enumerate(dict.fromkeys(named["rule"]))}
    rank |= {INITIALISATION: len(rank), ORACLE: len(rank) + 1}
    order = named.assign(rank=named["rule"].map(rank), tuned=tuned)
    return order.sort_values(["rank", "tuned"], kind="stable").drop(columns=["rank", "tuned"])


def mostly_silent(table: pd.DataFrame) -> bool:
    """Whether a rule triggers in less than half of its runs: its regret is then the pre-defined epoch's."""
    return 2 * int(table["triggered"].sum()) < len(table)


def rival_summary(table: pd.DataFrame) -> pd.DataFrame:
    """What each rule does, over all ratios that the sweep prunes: a row a network, criterion and rule.

    Args:
        table: of :func:`~pat.study.experiments.rival_triggers.decisions.rival_decisions`.

    Returns:
        Columns ``network``, ``criterion``, ``rule``, ``epoch`` (mean over the runs that triggered),
        ``triggered`` (how many of how many), ``regret`` (points: mean over ratios, then over seeds, with its
        95 % interval), ``more than EPI`` (the same, paired by seed) and ``training`` (multiply-accumulates in
        percent of the dense training's, mean over ratios and seeds). Texts.
    """
    rows = []
    for network, criterion, policy, own, seeds in _each_rule(table):
        fired = own.loc[own["triggered"], "epoch"]
        epoch = f"{fired.mean():.1f}" if len(fired) else "–"
        told = f"{len(fired)} of {len(own)}"
        regret = interval(seeds["regret"]).text() if len(seeds) else "–"
        more = _against_epi(table, network, criterion, seeds) if policy not in (REFERENCE, ORACLE) else ""
        rows.append((network, criterion, policy, epoch, told, regret, more, f"{own['training'].mean():.0f}"))
    columns = ["network", "criterion", "rule", "epoch", "triggered", "regret", "more than EPI", "training"]
    return pd.DataFrame(rows, columns=columns)


def _each_rule(table: pd.DataFrame) -> Iterator[tuple[str, str, str, pd.DataFrame, pd.DataFrame]]:
    """Network, criterion and rule, its rows and its mean regret by seed."""
    for (network, criterion), part in labelled(table).groupby(["architecture", "criterion"], sort=False):
        seeds = by_seed(part)
        for policy, own in part.groupby("policy", sort=False):
            yield str(network), str(criterion), str(policy), own, seeds[seeds["policy"] == policy]


def _against_epi(table: pd.DataFrame, network: str, criterion: str, seeds: pd.DataFrame) -> str:
    """What a rule loses more than EPI with its published thresholds, paired by seed."""
    reference = table[
        (table["architecture"] == network)
        & (table["criterion"] == criterion)
        & (table["rule"] == REFERENCE)
        & (table["thresholds"] == "published")
    ]
    lost = by_seed(reference.assign(policy=REFERENCE)).set_index("seed")["regret"]
    difference = (seeds.set_index("seed")["regret"] - lost).dropna()
    return interval(difference).text() if len(difference) else ""


def rival_epochs(table: pd.DataFrame) -> pd.DataFrame:
    """When each rule prunes, by ratio, as text: the mean epoch of the runs that trigger, and how many do.

    Args:
        table: as :func:`rival_summary`.

    Returns:
        Indexed by network, criterion and rule; one column a ratio that the sweep prunes.
    """

    def text(runs: pd.DataFrame) -> str:
        fired = runs.loc[runs["triggered"], "epoch"]
        mean = f"{fired.mean():.1f}" if len(fired) else "–"
        return mean if len(fired) == len(runs) else f"{mean} ({len(fired)} of {len(runs)})"

    return _by_ratio(table, text)


def rival_regrets(table: pd.DataFrame) -> pd.DataFrame:
    """What each rule loses, by ratio, as text: mean over seeds ± half the 95 % interval, in points.

    Args and returns as :func:`rival_epochs`; a star where the rule is silent in more than half of the runs.
    """

    def text(runs: pd.DataFrame) -> str:
        return interval(runs["regret"]).plus_minus() + ("*" if mostly_silent(runs) else "")

    return _by_ratio(table[table["rule"] != ORACLE], text)


def _by_ratio(table: pd.DataFrame, text: Callable[[pd.DataFrame], str]) -> pd.DataFrame:
    texts = {
        (*key, policy, ratio): text(runs)
        for key, part in table.groupby(["architecture", "criterion"], sort=False)
        for (policy, ratio), runs in labelled(part).groupby(["policy", "ratio"], sort=False)
    }
    long = pd.Series(texts, dtype=object)
    long.index = pd.MultiIndex.from_tuples(list(texts), names=["network", "criterion", "rule", "ratio"])
    order = list(dict.fromkeys(key[:3] for key in texts))
    wide = long.unstack("ratio").reindex(order).fillna("")
    return wide.rename(columns=lambda ratio: f"{100 * ratio:g} %").rename_axis(columns=None)


def same_cells(table: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """The decisions of a table in the cells that another has, so that both can be compared."""
    return table.merge(other[_CELL].drop_duplicates(), on=_CELL)


def instability_spent(profile: Profile, preset: str) -> tuple[int, float]:
    """What it would take to know the instability at every epoch of the first network's finest grid.

    Returns:
        How many epochs those are, and the trainings from them on, two each, in dense trainings.
    """
    from pat.rivals.instability import training_spent

    epochs = profile.recipe.epochs
    grids: dict[tuple[object, ...], set[int]] = {}
    for spec in profile.sweep(preset):
        if spec.prune_epoch is not None and spec.pruning is not None:
            key = (spec.architecture, spec.pruning.criterion, spec.pruning.ratio)
            grids.setdefault(key, set()).add(spec.prune_epoch)
    finest = max(
        (grid for key, grid in grids.items() if key[0] == profile.architectures[0]), key=len, default=set()
    )
    return len(finest), sum(training_spent(epoch, epochs) for epoch in finest)
