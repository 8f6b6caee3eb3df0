"""Table 1 and what stands behind it, as text: regrets beside the paper's, thresholds, picks."""

from collections.abc import Iterable

import pandas as pd

from pat.study import wording
from pat.study.analysis.grid import cells
from pat.study.analysis.intervals import interval
from pat.study.analysis.picks import at_threshold, picks_of, tunable, tune
from pat.study.analysis.regret import POLICIES, by_seed
from pat.study.paper.networks import LABELS
from pat.study.paper.numbers import Paper
from pat.study.plan.profile import Profile
from pat.study.store.record import Record

POLICY_NAMES = {
    "oracle": "oracle",
    "random": "random",
    "init": "initialisation",
    "predefined": "pre-defined",
    "epi": "EPI, paper's τ",
    "tuned": "EPI, tuned τ",
    "latency": "EPI, latency-aware",
}
"""Names of the policies for people."""

OVERALL = "all networks"


def paper_regrets(profile: Profile, paper: Paper) -> pd.DataFrame:
    """Table 1 as the paper prints it (ImageNet), laid on the profile's stand-ins.

    Returns:
        Columns ``architecture`` (the stand-in, or :data:`OVERALL`), ``network`` (the paper's), ``criterion``,
        ``policy`` and ``text`` (as printed, in points of top-1); nothing where it prints a dash.
    """
    stands_for = dict(zip(LABELS, profile.architectures, strict=False)) | {"overall": OVERALL}
    rows = []
    for name, architecture in stands_for.items():
        for criterion in profile.tau:
            for policy in paper.names(f"table1.{criterion}.{name}"):
                number = paper.optional(f"table1.{criterion}.{name}.{policy}")
                if number is not None:
                    rows.append((architecture, LABELS.get(name, "overall"), criterion, policy, number.text))
    return pd.DataFrame(rows, columns=["architecture", "network", "criterion", "policy", "text"])


def policy_table(table: pd.DataFrame, profile: Profile, paper: Paper, value: str = "regret") -> pd.DataFrame:
    """Table 1: ours over the seeds, and under each row the paper's.

    Args:
        table: of :func:`~pat.study.analysis.regret.regrets`.
        profile, paper: their scale, and what to set beside.
        value: ``regret`` or ``regret_on_test``.

    Returns:
        Indexed by criterion and network, a column a policy: mean ± half the 95 % interval over seeds of the
        mean over ratios, in points; for all networks the mean over them of the seeds that all have.
    """
    printed = paper_regrets(profile, paper)
    seeds = by_seed(table, value)
    everywhere = seeds.groupby(["criterion", "policy", "seed"])[value].agg(["mean", "size"]).reset_index()
    networks = everywhere["criterion"].map(seeds.groupby("criterion")["architecture"].nunique())
    whole = everywhere[(everywhere["size"] == networks) & (networks > 1)]
    overall = whole.rename(columns={"mean": value}).assign(architecture=OVERALL)
    both = pd.concat([seeds, overall.drop(columns="size")], ignore_index=True)
    shown = [p for p in POLICIES if p != "oracle" or value != "regret"]
    rows, index = [], []
    for criterion in profile.tau:
        for architecture in (*profile.architectures, OVERALL):
            own = both[(both["criterion"] == criterion) & (both["architecture"] == architecture)]
            if own.empty:
                continue
            texts = own.groupby("policy")[value].agg(lambda values: interval(values).plus_minus(2))
            rows.append([texts.get(policy, "") for policy in shown])
            index.append((criterion, architecture))
            part = printed[(printed["criterion"] == criterion) & (printed["architecture"] == architecture)]
            if not part.empty:
                by_policy = dict(zip(part["policy"], part["text"], strict=True))
                rows.append([by_policy.get(policy, "") for policy in shown])
                index.append((criterion, f"{part['network'].iloc[0]}, ImageNet (paper)"))
    names = [POLICY_NAMES[policy] for policy in shown]
    return pd.DataFrame(
        rows, pd.MultiIndex.from_tuples(index, names=["criterion", "network"]) if index else None, names
    )


def threshold_table(records: Iterable[Record], profile: Profile, preset: str = "full") -> pd.DataFrame:
    """The paper's thresholds and the tuned ones, and how often each triggers where it was tuned.

    Args:
        records, profile, preset: see :func:`~pat.study.analysis.grid.cells`.

    Returns:
        One row a criterion: ``paper``, ``tuned`` (over all seeds), ``by seed`` (tuned on each alone), and
        ``triggered, paper`` and ``triggered, tuned`` (runs of all that it was tuned on), as text.
    """
    own = tunable(cells(records, profile, preset, architecture=profile.architectures[0]))
    every = picks_of(own, profile)
    tuned = tune(own, every)
    alone = {seed: tune(own, every, seed) for seed in sorted({c.seed for c in own})}
    rows = []
    for criterion, threshold in tuned.items():
        picks = [every[c.key] for c in own if c.criterion == criterion]
        fired = [
            sum(at_threshold(by_threshold, tau).triggered for by_threshold in picks)
            for tau in (profile.tau[criterion], threshold)
        ]
        rows.append(
            {
                "criterion": criterion,
                "paper": f"{profile.tau[criterion]:g}",
                "tuned": f"{threshold:.3f}",
                "by seed": ", ".join(f"{tau[criterion]:.3f}" for tau in alone.values() if criterion in tau),
                "triggered, paper": f"{fired[0]} of {len(picks)}",
                "triggered, tuned": f"{fired[1]} of {len(picks)}",
            }
        )
    columns = ["criterion", "paper", "tuned", "by seed", "triggered, paper", "triggered, tuned"]
    return pd.DataFrame(rows, columns=columns)


def picks_table(table: pd.DataFrame) -> pd.DataFrame:
    """The epochs that the oracle and EPI pick.

    Args:
        table: of :func:`~pat.study.analysis.regret.regrets`.

    Returns:
        Indexed by network (in the table's order), criterion and ratio, ascending; columns by policy
        (:func:`~pat.study.wording.epochs` over the seeds).
    """
    keys = ["architecture", "criterion", "ratio"]
    chosen = table[table["policy"].isin(["oracle", "epi", "tuned"])].sort_values("seed")
    texts = {
        (*key, policy): wording.epochs(zip(own["epoch"], own["triggered"], strict=True))
        for (*key, policy), own in chosen.groupby([*keys, "policy"])
    }
    wide = pd.Series(texts).rename_axis([*keys, "policy"]).unstack("policy")
    networks = list(table["architecture"].unique())
    order = sorted(
        table[keys].drop_duplicates().itertuples(index=False, name=None),
        key=lambda key: (networks.index(key[0]), *key[1:]),
    )
    wide = wide.reindex(pd.MultiIndex.from_tuples(order, names=keys))
    wide = wide[[policy for policy in POLICIES if policy in wide]].fillna("")
    wide.index = pd.MultiIndex.from_tuples(
        [(network, criterion, f"{100 * ratio:g} %") for network, criterion, ratio in wide.index],
        names=["network", "criterion", "ratio"],
    )
    return wide.rename(columns=POLICY_NAMES).rename_axis(columns=None)


def triggered_table(table: pd.DataFrame) -> pd.DataFrame:
    """How many runs EPI triggered in, over ratios and seeds.

    Args:
        table: of :func:`~pat.study.analysis.regret.regrets`.

    Returns:
        Indexed by criterion and network; columns by policy, text.
    """
    fired = table[table["policy"].isin(["epi", "tuned"])].assign(fired=lambda t: t["triggered"].astype(bool))
    keys = ["criterion", "architecture"]
    order = fired[keys].drop_duplicates().sort_values("criterion", kind="stable")
    counts = fired.groupby([*keys, "policy"])["fired"].agg(["sum", "size"])
    text = counts["sum"].astype(str) + " of " + counts["size"].astype(str)
    wide = text.unstack("policy").reindex(pd.MultiIndex.from_frame(order))
    wide = wide.rename_axis(index=["criterion", "network"], columns=None)
    return wide.rename(columns=POLICY_NAMES)
